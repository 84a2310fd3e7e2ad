//! The ledger's promises: chain, manifests, restarts, holds, purges, and what comes over from a
//! damaged store.

use std::{fs, path::Path, process::Command, time::Instant};

use milepost_wire::{
    Chain, Epoch, EpochCause, Evicted, Eviction, EvictionCause, Manifest, ManifestClaims, Restart,
    RestartCause, SequenceRange,
};

use super::{
    tests::{SOON, entry, open, open_with, settings, source},
    *,
};
use crate::{
    identity,
    sealing::{KeyUse, Keyring},
};

pub(super) fn ledger_events<T: Data>(outbox: &Outbox) -> Vec<Event<T>> {
    let records = outbox.records(0, 10_000).unwrap();
    records.iter().filter_map(|r| Event::from_json(&r.body).ok()).collect()
}

/// The chain over every body in order, by nothing but the contract.
pub(super) fn chain_over(outbox: &Outbox) -> Chain {
    let start = Chain::start(outbox.position().epoch);
    outbox.records(0, 10_000).unwrap().iter().fold(start, |chain, r| chain.then(&r.body))
}

pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed().as_secs() < 60, "never came: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Puts records on hold, or releases them.
pub(super) fn hold(outbox: &Outbox, held: bool, ids: Vec<Uuid>) -> Held {
    let (by, reason) = ("somebody".into(), "a case".into());
    let command_id = Uuid::now_v7();
    outbox.hold(HoldRequest { held, ids, by, reason, case_number: None, command_id }).unwrap()
}

/// As another process has it.
pub(super) fn keyring(place: &Path) -> Keyring {
    let sealing = config::Sealing { key: config::SealingKey::File(place.join("sealing.key")) };
    Keyring::open(&sealing, &place.join("sealing")).unwrap()
}

fn pki(folder: &Path) -> Signer {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/pki.sh");
    assert!(Command::new(script).arg(folder).status().unwrap().success());
    Signer { certificate_file: folder.join("pole.crt"), key_file: folder.join("pole.key") }
}

#[test]
fn a_manifest_signs_for_exactly_the_bodies_of_its_stretch() {
    let scratch = tempfile::tempdir().unwrap();
    let keys = scratch.path().join("pki");
    let plain = Setup::plain(settings(scratch.path()), source(), Arc::default());
    let outbox = Outbox::open(Setup { signer: Some(pki(&keys)), ..plain }).unwrap();
    for n in 0..20 {
        outbox.keep(entry(n, 10, &[])).unwrap();
    }
    let bodies: Vec<_> = outbox.records(0, 100).unwrap().into_iter().map(|r| r.body).collect();
    let epoch = outbox.position().epoch;
    let over = |n: usize| bodies[..n].iter().fold(Chain::start(epoch), |c, b| c.then(b));
    let command_id = Some(Uuid::now_v7());
    // Delivered records are signed for all the same.
    outbox.delivered((3..=9).collect()).unwrap();
    for (from, to) in [(1, 22), (5, 9), (22, 22)] {
        let at = outbox.manifest(ManifestRequest { from, to, command_id }).unwrap();
        let event =
            Event::<Manifest>::from_json(&outbox.record(at).unwrap().unwrap().body).unwrap();
        assert_eq!((event.data.from, event.data.to, event.data.command_id), (from, to, command_id));
        let roots = identity::certificates("ca_file", &keys.join("ca.crt")).unwrap();
        let verified = identity::verify_jws::<ManifestClaims>(
            &event.data.jws,
            Manifest::JWS_TYPE,
            &roots,
            Timestamp::now(),
        );
        let claims = verified.unwrap().payload;
        assert_eq!(claims.chain_before_sha256, over(from as usize - 1));
        assert_eq!(claims.chain_after_sha256, over(to as usize));
        assert_eq!((claims.epoch, claims.source), (epoch, source()));
    }
    for (from, to) in [(0, 3), (5, 4), (1, 1000)] {
        let refused = outbox.manifest(ManifestRequest { from, to, command_id });
        assert!(matches!(refused, Err(OutboxError::Stretch(_))), "{refused:?}");
    }
}

#[test]
fn any_stretch_of_an_epoch_is_signed_for_however_far_back() {
    let scratch = tempfile::tempdir().unwrap();
    let signer = Some(pki(&scratch.path().join("pki")));
    let thresholds = Thresholds { exact_links: 100, ..SOON };
    let again = || {
        let plain = Setup::plain(settings(scratch.path()), source(), Arc::default());
        Outbox::open(Setup { signer: signer.clone(), thresholds, ..plain }).unwrap()
    };
    let outbox = again();
    for n in 0..50 {
        outbox.keep_all((0..50).map(|m| entry(n * 50 + m, 10, &[])).collect()).unwrap();
    }
    let links: Vec<_> = (0..=2502).map(|n| outbox.store.chain_after(n).unwrap().unwrap()).collect();
    hold(&outbox, true, vec![Uuid::from_u128(1234)]);
    let held = outbox.sequence_of(Uuid::from_u128(1234)).unwrap().unwrap();
    outbox.delivered((1..=2480).collect()).unwrap();
    drop(outbox);
    // Thinned at one start, and known to be at the next; what is on hold is in nobody's way.
    for _ in 0..2 {
        let outbox = again();
        let known = |n: u64| outbox.store.chain_after(n).unwrap();
        until("the links are thinned", || known(2399).is_none());
        assert_eq!([1, 999, 1001, 1999, 2001].map(known), [None; 5]);
        for exact in [0, 1000, held, 2000].into_iter().chain(2405..=2502) {
            assert_eq!(known(exact), Some(links[exact as usize]), "link {exact}");
        }
        for ((from, to), signed) in [
            ((1200, 1300), (1001, 2000)),
            ((1, 1001), (1, 2000)),
            ((1000, 2450), (1, 2450)),
            ((2410, 2420), (2410, 2420)),
        ] {
            let at = outbox.manifest(ManifestRequest { from, to, command_id: None }).unwrap();
            let record = outbox.record(at).unwrap().unwrap();
            let manifest = Event::<Manifest>::from_json(&record.body).unwrap().data;
            assert_eq!((manifest.from, manifest.to), signed);
        }
    }
}

#[test]
fn the_chain_goes_through_what_was_given_up() {
    let scratch = tempfile::tempdir().unwrap();
    let limits = config::Outbox { max_records: 100, ..settings(scratch.path()) };
    let outbox = open_with(&limits, &Arc::default());
    for n in 0..130 {
        outbox.keep(entry(n, 10, &[])).unwrap();
    }
    let records = outbox.records(0, 1000).unwrap();
    let evictions = ledger_events::<Eviction>(&outbox);
    let mut chain = Chain::start(outbox.position().epoch);
    let mut at = 0;
    for record in records {
        while record.sequence > at + 1 {
            let (range, after) = evictions
                .iter()
                .flat_map(|e| e.data.sequences.iter().zip(&e.data.chain_sha256))
                .find(|(r, _)| r.from <= at + 1 && at < r.to)
                .expect("every missing number is in an eviction");
            (at, chain) = (range.to, *after);
        }
        (at, chain) = (record.sequence, chain.then(&record.body));
    }
    assert_eq!(at, outbox.position().last_sequence);
    assert_eq!(outbox.store.chain_after(at).unwrap(), Some(chain));
}

#[test]
fn how_the_agent_ended_before_is_in_the_ledger() {
    let scratch = tempfile::tempdir().unwrap();
    let (first, copy) = (scratch.path().join("first"), scratch.path().join("copy"));
    let outbox = open(&first);
    outbox.keep(entry(1, 10, &[])).unwrap();
    // What a process that is killed leaves.
    let copied = Command::new("cp").arg("-r").args([&first, &copy]).status().unwrap();
    assert!(copied.success());
    drop(outbox);
    let causes = |outbox: &Outbox| -> Vec<_> {
        ledger_events::<Restart>(outbox).iter().map(|e| e.data.after).collect()
    };
    use RestartCause::{FirstStart, OrderlyStop, ProcessEnded};
    assert_eq!(causes(&open(&first)), [FirstStart, OrderlyStop]);
    let killed = open(&copy);
    assert_eq!(causes(&killed), [FirstStart, ProcessEnded]);
    assert_eq!(ledger_events::<Epoch>(&killed)[0].data.cause, EpochCause::FirstStart);
    let last = killed.position().last_sequence;
    assert_eq!(killed.store.chain_after(last).unwrap(), Some(chain_over(&killed)));
}

#[test]
fn what_is_past_its_time_is_purged_on_the_ledger_and_what_is_on_hold_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    let keyring = keyring(scratch.path());
    for n in 1..=6 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 8)])).unwrap();
    }
    let hold = |held, ids: &[u128]| {
        hold(&outbox, held, ids.iter().copied().map(Uuid::from_u128).collect())
    };
    let held = hold(true, &[2, 5, 99]);
    assert_eq!((held.sequence, held.missing), (Some(9), vec![Uuid::from_u128(99)]));
    assert_eq!(hold(false, &[5]).sequence, Some(10));
    assert_eq!(hold(true, &[99]).sequence, None);
    let aged: Vec<_> =
        keyring.keys().into_iter().filter(|k| k.key_use == KeyUse::Data).map(|k| k.id).collect();
    keyring.destroy(&aged).unwrap();
    let gone = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|s| outbox.record(s).unwrap().is_none());
    assert_eq!(
        gone,
        [true, true, true, false, true, true, true, true, true, true],
        "only the held one opens"
    );
    until("the purge", || !ledger_events::<Eviction>(&outbox).is_empty());
    let purge = ledger_events::<Eviction>(&outbox).remove(0).data;
    assert_eq!((purge.cause, purge.records), (EvictionCause::MaxAge, 9));
    let ranges = [(1, 3), (5, 10)].map(|(from, to)| SequenceRange { from, to });
    assert_eq!(purge.sequences, ranges);
    let held = Uuid::from_u128(2);
    assert_eq!(outbox.photo(held, PhotoKind::Plate).unwrap(), Some(vec![2; 8]));
    until("its end", || outbox.len() == 2);
    // Photos go after the commit that says so.
    let photos = || fs::read_dir(scratch.path().join("photos")).unwrap().count();
    until("the photos' end", || photos() == 1);
}

#[test]
fn a_drained_store_is_copied_into_a_small_one_and_nothing_of_it_is_lost() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    for n in 0..400 {
        outbox.keep(entry(n, 3000, &[])).unwrap();
    }
    outbox.delivered((3..=390).collect()).unwrap();
    let before = (outbox.position(), outbox.records(0, 1000).unwrap(), outbox.store.bytes());
    let links: Vec<_> = (0..=400).map(|n| outbox.store.chain_after(n).unwrap().unwrap()).collect();
    assert!(!outbox.store.compact(u64::MAX).unwrap());
    assert!(outbox.store.compact(0).unwrap());
    let same = |outbox: &Outbox| {
        assert_eq!(outbox.position().epoch, before.0.epoch);
        assert_eq!(outbox.records(0, 12).unwrap(), before.1[..12]);
        let now: Vec<_> =
            (0..=400).map(|n| outbox.store.chain_after(n).unwrap().unwrap()).collect();
        assert_eq!(now, links);
    };
    same(&outbox);
    assert!(
        outbox.store.bytes() < before.2,
        "{} is no less than {}",
        outbox.store.bytes(),
        before.2
    );
    assert!(scratch.path().join("store-2").exists() && !scratch.path().join("store-1").exists());
    assert_eq!(outbox.keep(entry(1000, 10, &[])).unwrap(), before.0.last_sequence + 1);
    drop(outbox);
    same(&open(scratch.path()));
}

#[test]
fn no_byte_on_the_disk_shows_what_was_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    let (text, jpeg) = ("7ABC123", b"\xFF\xD8\xFFthe inside of a photo".to_vec());
    for _ in 0..50 {
        let mut read = milepost_wire::examples::read().data;
        (read.read_id, read.plate_text, read.raw_text) = (Uuid::now_v7(), text.into(), text.into());
        let photos = vec![Photo { kind: PhotoKind::Context, jpeg: jpeg.clone() }];
        outbox.keep(Entry::read(source(), read, photos)).unwrap();
    }
    outbox.delivered((1..=20).collect()).unwrap();
    drop(outbox);
    let (mut folders, mut files) = (vec![scratch.path().to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = fs::read(&path).unwrap();
            for secret in [text.as_bytes(), &jpeg, b"plate_text"] {
                let there = bytes.windows(secret.len()).any(|w| w == secret);
                assert!(!there, "{} shows it", path.display());
            }
        }
    }
    assert!(files > 30);
}

#[test]
fn what_is_on_hold_outlives_its_receipt_is_not_sent_again_and_goes_when_it_is_released() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    let ids: Vec<_> = (1..=4).map(Uuid::from_u128).collect();
    let keep = |n| outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 900)])).unwrap();
    let sequences: Vec<_> = (1..=4).map(keep).collect();
    hold(&outbox, true, ids[..2].to_vec());
    outbox.delivered(sequences[..3].to_vec()).unwrap();
    let delivered = |outbox: &Outbox| {
        let records = outbox.records(0, 100).unwrap().into_iter();
        let ours = records.filter(|r| ids.contains(&r.id));
        ours.map(|r| (r.id.as_u128(), r.held, r.delivered)).collect::<Vec<_>>()
    };
    assert_eq!(delivered(&outbox), [(1, true, true), (2, true, true), (4, false, false)]);
    // Beside the ledger's own: epoch, restart, hold and the fourth read wait.
    assert_eq!((outbox.len(), outbox.store.count(), outbox.store.delivered()), (4, 6, 2));
    drop(outbox);
    let outbox = open(scratch.path());
    assert_eq!((outbox.len(), outbox.store.delivered()), (5, 2), "and another restart");
    assert_eq!(delivered(&outbox).len(), 3);
    let photo = |n| outbox.photo(Uuid::from_u128(n), PhotoKind::Plate).unwrap().is_some();
    assert_eq!([1, 2, 3, 4].map(photo), [true, true, false, true]);
    assert!(hold(&outbox, false, ids[..1].to_vec()).missing.is_empty());
    assert_eq!(delivered(&outbox), [(2, true, true), (4, false, false)]);
    assert!(!photo(1) && photo(2));
    assert_eq!(outbox.store.delivered(), 1);
}

#[test]
fn photos_that_a_hold_kept_are_given_up_once_it_has_ended() {
    let scratch = tempfile::tempdir().unwrap();
    let limits = config::Outbox { max_photo_bytes: 10_000, ..settings(scratch.path()) };
    let outbox = open_with(&limits, &Arc::default());
    let photos = |n: u128| {
        let sequence = outbox.sequence_of(Uuid::from_u128(n)).unwrap().unwrap();
        outbox.record(sequence).unwrap().unwrap().photos.len()
    };
    let keep = |from: u128, to: u128| {
        for n in from..=to {
            outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 900)])).unwrap();
        }
    };
    keep(1, 5);
    let hold = |held| hold(&outbox, held, vec![Uuid::from_u128(2)]);
    hold(true);
    keep(6, 40);
    assert_eq!((photos(1), photos(2), photos(20), photos(40)), (0, 1, 0, 1));
    hold(false);
    keep(41, 42);
    assert_eq!((photos(2), photos(42)), (0, 1), "the oldest goes first");
}

#[test]
fn a_store_that_is_full_for_long_accounts_for_every_number_in_few_entries() {
    let scratch = tempfile::tempdir().unwrap();
    let limits = config::Outbox { max_records: 100, ..settings(scratch.path()) };
    let outbox = open_with(&limits, &Arc::default());
    for n in 0..600 {
        outbox.keep(entry(n, 10, &[])).unwrap();
    }
    let mut accounted: Vec<u64> =
        outbox.records(0, 1000).unwrap().iter().map(|r| r.sequence).collect();
    let evictions = ledger_events::<Eviction>(&outbox);
    assert!(evictions.len() < 5, "{} entries say what was given up", evictions.len());
    for event in evictions {
        accounted.extend(event.data.sequences.iter().flat_map(|r| r.from..=r.to));
    }
    accounted.sort_unstable();
    assert_eq!(accounted, (1..=outbox.position().last_sequence).collect::<Vec<_>>());
}

#[test]
fn limits_that_are_lowered_leave_a_sound_store_that_accounts_for_everything() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    for n in 0..150 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 100)])).unwrap();
    }
    drop(outbox);
    let limits =
        config::Outbox { max_records: 100, max_photo_bytes: 5_000, ..settings(scratch.path()) };
    let outbox = open_with(&limits, &Arc::default());
    let epoch = outbox.position().epoch;
    for n in 200..210 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 100)])).unwrap();
    }
    let records = outbox.records(0, 1000).unwrap();
    assert_eq!(outbox.len(), records.len() as u64);
    assert!(outbox.len() <= 100, "{}", outbox.len());
    let mut accounted: Vec<u64> = records.iter().map(|r| r.sequence).collect();
    for event in ledger_events::<Eviction>(&outbox) {
        if event.data.evicted == Evicted::Records {
            accounted.extend(event.data.sequences.iter().flat_map(|r| r.from..=r.to));
        }
    }
    accounted.sort_unstable();
    assert_eq!(accounted, (1..=outbox.position().last_sequence).collect::<Vec<_>>());
    drop(outbox);
    assert_eq!(open(scratch.path()).position().epoch, epoch, "sound at the next start");
}
