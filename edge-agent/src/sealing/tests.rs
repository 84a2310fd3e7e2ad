//! What sealing promises.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::{
    config::{Sealing, SealingKey},
    health::Status,
};

const PLAIN: &[u8] = b"7ABC123 at 38.58 -121.49";
const HOUR: Duration = Duration::from_secs(3600);

fn config(folder: &Path) -> Sealing {
    Sealing { key: SealingKey::File(folder.join("kek")) }
}

/// A ring in `<folder>/keys` with its key in `<folder>/kek`, on a clock moved by hand.
fn ring(folder: &Path, clock: &Arc<ManualClock>) -> Result<Keyring, SealingError> {
    let kek = Kek::load(&config(folder), true)?;
    Keyring::open_with(kek, &folder.join("keys"), clock.clone())
}

fn kek(folder: &Path, name: &str) -> Kek {
    Kek::load(&Sealing { key: SealingKey::File(folder.join(name)) }, true).unwrap()
}

fn fixture() -> (tempfile::TempDir, Arc<ManualClock>, Keyring) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    let ring = ring(folder.path(), &clock).unwrap();
    (folder, clock, ring)
}

fn files_of(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_of(&path));
        } else {
            files.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    files.sort();
    files
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}

#[test]
fn what_was_sealed_is_read_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("sealing");
    let sealed = Keyring::open(&config(folder.path()), &keys).unwrap().seal(b"a", PLAIN).unwrap();
    let again = Keyring::open(&config(folder.path()), &keys).unwrap();
    assert_eq!(again.unseal(b"a", &sealed).unwrap(), PLAIN);
    assert_eq!(again.keys().len(), 1, "a restart makes no new key");
    assert_eq!(sealed.len(), PLAIN.len() + blob::OVERHEAD_BYTES);
    assert_eq!(Keyring::key_of(&sealed[..blob::HEAD_BYTES]).unwrap(), again.keys()[0].id);
}

#[test]
fn neither_plain_text_nor_keys_are_in_any_file_or_debug_output() {
    let (folder, _, ring) = fixture();
    let sealed = ring.seal(b"a", PLAIN).unwrap();
    let key = {
        let kek = kek(folder.path(), "kek");
        let file = key_file::read(ring.folder(), ring.keys()[0].id).unwrap().unwrap();
        file.open(&kek).unwrap()
    };
    let secret = fs::read(folder.path().join("kek")).unwrap();
    for (path, bytes) in files_of(&folder.path().join("keys")) {
        assert!(!holds(&bytes, key.as_slice()), "{}", path.display());
        assert!(!holds(&bytes, &secret), "{}", path.display());
        assert!(!holds(&bytes, &PLAIN[..7]), "{}", path.display());
    }
    assert!(!holds(&sealed, &PLAIN[..7]));
    let said = format!("{ring:?} {:?} {:?}", kek(folder.path(), "kek"), ring.keys());
    assert!(!said.contains(&format!("{:?}", key.as_slice())), "{said}");
    assert!(!said.contains("cipher"), "{said}");
}

#[test]
fn files_and_folders_are_their_users_alone() {
    let (folder, _, ring) = fixture();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(ring.folder()), 0o700);
    for (path, _) in files_of(folder.path()) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    fs::set_permissions(folder.path().join("kek"), fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Kek::load(&config(folder.path()), false).unwrap_err();
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
}

#[test]
fn a_new_data_key_is_made_every_hour_and_old_ones_go_on_unsealing() {
    let (_folder, clock, ring) = fixture();
    let first = ring.seal(b"a", PLAIN).unwrap();
    assert_eq!(ring.rotate_if_due().unwrap(), None);
    clock.pass(KEY_LIFE);
    let made = ring.rotate_if_due().unwrap().unwrap();
    let second = ring.seal(b"a", PLAIN).unwrap();
    assert_eq!(Keyring::key_of(&second).unwrap(), made);
    assert_ne!(Keyring::key_of(&first), Keyring::key_of(&second));
    assert_eq!(ring.unseal(b"a", &first).unwrap(), PLAIN);
    // Sealing alone does it too.
    clock.pass(KEY_LIFE);
    assert_ne!(Keyring::key_of(&ring.seal(b"a", PLAIN).unwrap()).unwrap(), made);
    assert_eq!(ring.keys().len(), 3);
}

#[test]
fn what_is_written_again_does_not_begin_its_time_anew() {
    let (_folder, clock, ring) = fixture();
    let first = ring.seal(b"a", PLAIN).unwrap();
    clock.pass(KEY_LIFE);
    let again = ring.seal_under(Keyring::key_of(&first).ok(), KeyUse::Data, b"a", b"less").unwrap();
    assert_eq!(Keyring::key_of(&again), Keyring::key_of(&first));
    assert_eq!(ring.unseal(b"a", &again).unwrap(), b"less");
    let held = ring.seal_under(Keyring::key_of(&again).ok(), KeyUse::Hold, b"a", PLAIN).unwrap();
    let released = ring.seal_under(Keyring::key_of(&held).ok(), KeyUse::Data, b"a", PLAIN).unwrap();
    let keys = [&first, &held, &released].map(|blob| Keyring::key_of(blob).unwrap());
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "each use has keys of its own");
    assert_eq!(ring.unseal(b"a", &released).unwrap(), PLAIN);
}

#[test]
fn what_a_destroyed_key_sealed_is_gone_and_nothing_else() {
    let (folder, clock, ring) = fixture();
    let old = ring.seal(b"a", PLAIN).unwrap();
    clock.pass(KEY_LIFE);
    let new = ring.seal(b"a", PLAIN).unwrap();
    let key = Keyring::key_of(&old).unwrap();
    ring.destroy(&[key]).unwrap();
    assert_eq!(ring.unseal(b"a", &old), Err(SealingError::KeyGone { key }));
    assert_eq!(ring.unseal(b"a", &new).unwrap(), PLAIN);
    let again = self::ring(folder.path(), &clock).unwrap();
    assert_eq!(again.unseal(b"a", &old), Err(SealingError::KeyGone { key }));
    again.destroy(&[key]).unwrap();
}

#[test]
fn a_key_that_another_process_destroyed_is_forgotten_at_once() {
    let (_folder, _, ring) = fixture();
    let sealed = ring.seal(b"a", PLAIN).unwrap();
    let key = Keyring::key_of(&sealed).unwrap();
    key_file::destroy(ring.folder(), &[key]).unwrap();
    assert_eq!(ring.unseal(b"a", &sealed), Err(SealingError::KeyGone { key }));
    let next = ring.seal(b"a", PLAIN).unwrap();
    assert_ne!(Keyring::key_of(&next).unwrap(), key, "it seals nothing that nobody could read");
    assert_eq!(ring.unseal(b"a", &next).unwrap(), PLAIN);
}

#[test]
fn held_records_outlive_the_age_but_not_two_years() {
    let (_folder, clock, ring) = fixture();
    let held = ring.seal_for(KeyUse::Hold, b"a", PLAIN).unwrap();
    let sealed = ring.seal(b"a", PLAIN).unwrap();
    clock.pass(7 * 24 * HOUR - HOUR);
    assert_eq!(ring.destroy_aged(7 * 24 * HOUR).unwrap(), []);
    clock.pass(HOUR);
    let gone = Keyring::key_of(&sealed).unwrap();
    assert_eq!(ring.destroy_aged(7 * 24 * HOUR).unwrap(), [gone]);
    assert_eq!(ring.unseal(b"a", &held).unwrap(), PLAIN);
    clock.pass(MAX_KEPT);
    ring.destroy_aged(7 * 24 * HOUR).unwrap();
    assert!(matches!(ring.unseal(b"a", &held), Err(SealingError::KeyGone { .. })));
}

#[test]
fn what_was_sealed_after_a_restart_is_not_made_older_by_the_time_switched_off() {
    let (_folder, clock, ring) = fixture();
    let before = ring.seal(b"a", PLAIN).unwrap();
    clock.restart(3 * 24 * HOUR);
    let after = ring.seal(b"a", PLAIN).unwrap();
    assert_eq!(ring.destroy_aged(3 * 24 * HOUR).unwrap(), [Keyring::key_of(&before).unwrap()]);
    assert_eq!(ring.unseal(b"a", &after).unwrap(), PLAIN);
}

#[test]
fn no_configured_age_keeps_anything_over_two_years() {
    let (_folder, clock, ring) = fixture();
    let sealed = ring.seal(b"a", PLAIN).unwrap();
    clock.pass(MAX_KEPT);
    ring.destroy_aged(Duration::MAX).unwrap();
    assert!(matches!(ring.unseal(b"a", &sealed), Err(SealingError::KeyGone { .. })));
}

#[test]
fn a_key_never_seals_at_an_age_at_which_it_may_be_destroyed() {
    let least = crate::config::keys::find("retention", "max_age_h").unwrap().kind;
    let crate::config::keys::Kind::Whole { min, .. } = least else { panic!("a number") };
    assert!(KEY_LIFE + KEY_GRACE < HOUR * u32::try_from(min).unwrap());
}

#[test]
fn where_no_new_key_can_be_written_the_old_one_goes_on_for_a_while_and_then_sealing_fails() {
    let (_folder, clock, ring) = fixture();
    let old = Keyring::key_of(&ring.seal(b"a", PLAIN).unwrap()).unwrap();
    fs::set_permissions(ring.folder(), fs::Permissions::from_mode(0o500)).unwrap();
    // A thread that lets go of root's right to write anywhere.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let none = rustix::thread::CapabilitySet::empty();
            let (effective, permitted, inheritable) = (none, none, none);
            let sets = rustix::thread::CapabilitySets { effective, permitted, inheritable };
            rustix::thread::set_capabilities(None, sets).unwrap();
            clock.pass(KEY_LIFE);
            assert_eq!(Keyring::key_of(&ring.seal(b"a", PLAIN).unwrap()).unwrap(), old);
            clock.pass(KEY_GRACE);
            assert!(matches!(ring.seal(b"a", PLAIN), Err(SealingError::Io { .. })));
        });
    });
    fs::set_permissions(ring.folder(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_ne!(Keyring::key_of(&ring.seal(b"a", PLAIN).unwrap()).unwrap(), old);
}

#[test]
fn a_wrong_key_is_refused_naming_both_causes_and_nothing_is_deleted() {
    let (folder, clock, ring) = fixture();
    let sealed = ring.seal(b"a", PLAIN).unwrap();
    let before = files_of(ring.folder());
    let other = kek(folder.path(), "other");
    let refused = Keyring::open_with(other, ring.folder(), clock.clone()).unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, SealingError::WrongKek { files: 1, .. }), "{said}");
    assert!(said.contains("not the key") && said.contains("damaged"), "{said}");
    assert_eq!(files_of(ring.folder()), before);
    assert_eq!(self::ring(folder.path(), &clock).unwrap().unseal(b"a", &sealed).unwrap(), PLAIN);
}

#[test]
fn a_missing_key_file_is_not_made_anew_beside_keys_that_need_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("sealing");
    Keyring::open(&config(folder.path()), &keys).unwrap();
    fs::remove_file(folder.path().join("kek")).unwrap();
    let refused = Keyring::open(&config(folder.path()), &keys).unwrap_err();
    assert!(refused.to_string().contains("missing"), "{refused}");
    assert!(!folder.path().join("kek").exists());
}

#[test]
fn a_damaged_key_file_is_named_and_the_others_still_work() {
    let (folder, clock, ring) = fixture();
    let lost = ring.seal(b"a", PLAIN).unwrap();
    clock.pass(KEY_LIFE);
    let good = ring.seal(b"a", PLAIN).unwrap();
    let key = Keyring::key_of(&lost).unwrap();
    let path = key_file::path(ring.folder(), key);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x20;
        fs::write(&path, flipped).unwrap();
        let ring = self::ring(folder.path(), &clock).unwrap();
        let error = ring.unseal(b"a", &lost).unwrap_err();
        // A byte that tells the key-encryption key makes it another one's.
        let named = match &error {
            SealingError::KeyUnusable { key, .. } | SealingError::KeyDamaged { key } => *key,
            other => panic!("{at}: {other}"),
        };
        assert_eq!(named, key);
        // Only what tells whose key-encryption key it is leaves that open.
        let of_kek = (34..42).contains(&at);
        assert_eq!(matches!(error, SealingError::KeyDamaged { .. }), !of_kek, "{at}");
        assert_eq!(ring.unusable(), [error]);
        assert_eq!(ring.unseal(b"a", &good).unwrap(), PLAIN);
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(self::ring(folder.path(), &clock).unwrap().unseal(b"a", &lost).unwrap(), PLAIN);
}

#[test]
fn a_key_file_under_another_name_is_refused() {
    let (folder, clock, ring) = fixture();
    let first = ring.keys()[0].id;
    clock.pass(KEY_LIFE);
    let second = ring.rotate_if_due().unwrap().unwrap();
    let path = |id| key_file::path(ring.folder(), id);
    fs::copy(path(second), path(first)).unwrap();
    let ring = self::ring(folder.path(), &clock).unwrap();
    assert!(
        matches!(&ring.unusable()[..], [SealingError::KeyUnusable { key, .. }] if *key == first)
    );
}

#[test]
fn keys_are_made_older_by_nobody_and_none_is_made_younger_unseen() {
    let (folder, clock, ring) = fixture();
    let key = ring.keys()[0].id;
    let path = key_file::path(ring.folder(), key);
    let mut bytes = fs::read(&path).unwrap();
    bytes[24] ^= 1; // the last byte of `made`, in the open label
    fs::write(&path, bytes).unwrap();
    clock.pass(KEY_LIFE);
    let ring = self::ring(folder.path(), &clock).unwrap();
    assert_eq!(ring.unusable(), [SealingError::KeyDamaged { key }]);
}

#[test]
fn leftovers_of_a_power_cut_are_destroyed_and_the_keys_work() {
    let (folder, clock, ring) = fixture();
    let sealed = ring.seal(b"a", PLAIN).unwrap();
    let unfinished = key_file::path(ring.folder(), KeyId::random().unwrap()).with_extension("tmp");
    fs::write(&unfinished, "half a key").unwrap();
    fs::write(ring.folder().join("notes.key"), "not ours").unwrap();
    let ring = self::ring(folder.path(), &clock).unwrap();
    assert!(!unfinished.exists());
    assert!(ring.folder().join("notes.key").exists(), "files that are not ours stay");
    assert_eq!(ring.unseal(b"a", &sealed).unwrap(), PLAIN);
}

#[test]
fn changing_the_key_encryption_key_may_be_cut_off_at_any_write() {
    for writes in 0..=8 {
        let (folder, clock, ring) = fixture();
        let mut sealed = Vec::new();
        for _ in 0..4 {
            sealed.push(ring.seal(b"a", PLAIN).unwrap());
            clock.pass(KEY_LIFE);
        }
        let (old, new) = (kek(folder.path(), "kek"), kek(folder.path(), "new"));
        let done = ring.rewrap_until(&new, writes);
        assert_eq!(done.is_ok(), writes == 8, "{writes}");
        let opens = |kek: &Kek| {
            let ring = Keyring::open_with(kek.clone(), &folder.path().join("keys"), clock.clone());
            sealed.iter().all(|s| ring.as_ref().is_ok_and(|r| r.unseal(b"a", s).is_ok()))
        };
        // At every moment one of the two opens all.
        assert!(opens(&old) || opens(&new), "{writes}");
        // And doing it again finishes it, from the old key's ring.
        let again = Keyring::open_with(old.clone(), &folder.path().join("keys"), clock.clone());
        match again {
            Ok(again) => drop(again.rewrap(&new).unwrap()),
            Err(error) => assert!(matches!(error, SealingError::WrongKek { .. }) && writes == 8),
        }
        assert!(opens(&new), "{writes}");
        assert!(Keyring::open_with(old, &folder.path().join("keys"), clock.clone()).is_err());
    }
}

#[test]
fn credentials_are_read_raw_or_as_base64_and_faults_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, folder: Option<&Path>| {
        Kek::load_from(Protection::Credential(name.into()), folder, true)
    };
    let raw: Vec<u8> = (1..=32).collect();
    let base64 = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n";
    fs::write(folder.path().join("raw"), &raw).unwrap();
    fs::write(folder.path().join("text"), base64).unwrap();
    fs::write(folder.path().join("short"), &raw[1..]).unwrap();
    fs::write(folder.path().join("zero"), [0; 32]).unwrap();
    let (a, b) = (load("raw", Some(folder.path())), load("text", Some(folder.path())));
    assert_eq!(a.unwrap().check(), b.unwrap().check());
    for (name, dir, remedy) in [
        ("raw", None, "LoadCredentialEncrypted=raw:"),
        ("absent", Some(folder.path()), "LoadCredentialEncrypted=absent:"),
        ("short", Some(folder.path()), "head -c 32"),
        ("zero", Some(folder.path()), "head -c 32"),
    ] {
        let error = load(name, dir).unwrap_err().to_string();
        assert!(error.contains(remedy), "{name}: {error}");
        assert!(error.starts_with("sealing.key credential:"), "{error}");
    }
}

#[test]
fn a_key_file_is_named_as_weak_and_a_credential_is_not() {
    let (status, said) = Protection::KeyFile("/var/lib/milepost/sealing.key".into()).report();
    assert_eq!(status, Status::Warn);
    assert!(said.contains("who takes the box can read it"), "{said}");
    assert_eq!(Protection::Credential("x".into()).report().0, Status::Pass);
}

#[test]
fn several_threads_share_a_ring_while_keys_change() {
    let (_folder, clock, ring) = fixture();
    std::thread::scope(|scope| {
        for worker in 0..4u8 {
            let (ring, clock) = (ring.clone(), clock.clone());
            scope.spawn(move || {
                for round in 0..50 {
                    let sealed = ring.seal(&[worker], PLAIN).unwrap();
                    if round % 10 == 0 {
                        clock.pass(KEY_LIFE);
                    }
                    assert_eq!(ring.unseal(&[worker], &sealed).unwrap(), PLAIN);
                }
            });
        }
    });
}

#[test]
fn a_flipped_byte_anywhere_is_damage_and_never_another_text() {
    let (_folder, _, ring) = fixture();
    let sealed = ring.seal(b"a", PLAIN).unwrap();
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1 << bit;
            let opened = ring.unseal(b"a", &flipped);
            assert!(matches!(opened, Err(SealingError::Damaged(_))), "{at} {bit}: {opened:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_message_comes_back_in_its_own_context_and_in_no_other(
        plain in prop::collection::vec(any::<u8>(), 0..2000),
        context in prop::collection::vec(any::<u8>(), 0..40),
        other in prop::collection::vec(any::<u8>(), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let (_folder, _, ring) = fixture();
        let sealed = ring.seal(&context, &plain).unwrap();
        prop_assert_eq!(&ring.unseal(&context, &sealed).unwrap(), &plain);
        if other != context {
            prop_assert!(matches!(ring.unseal(&other, &sealed), Err(SealingError::Damaged(_))));
        }
        let part = &sealed[..cut.index(sealed.len())];
        prop_assert!(matches!(ring.unseal(&context, part), Err(SealingError::Damaged(_))));
        let again = ring.seal(&context, &plain).unwrap();
        prop_assert_ne!(again, sealed, "no nonce comes twice");
    }

    #[test]
    fn unsealing_anything_at_all_is_an_error_and_no_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        start in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let (_folder, _, ring) = fixture();
        prop_assert!(ring.unseal(b"a", &bytes).is_err());
        let mut sealed = ring.seal(b"a", PLAIN).unwrap();
        let replaced = start.len().min(sealed.len());
        if sealed[..replaced] != start[..replaced] {
            sealed[..replaced].copy_from_slice(&start[..replaced]);
            prop_assert!(ring.unseal(b"a", &sealed).is_err());
        }
        prop_assert!(key_file::KeyFile::from_bytes(&bytes).is_none());
    }
}
