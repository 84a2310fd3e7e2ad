//! What the store promises of a blind list: nothing is matched without its key, all with it, and neither a
//! plate nor the key is on the disk.

use milepost_wire::ListKey;
use zeroize::Zeroizing;

use super::{
    tests::{CSV, Scene, ids, now, read, version},
    *,
};
use crate::health::Status;
use crate::lists::{
    blind::{first_line, line, opaque_id},
    fingerprint::KEY_BYTES,
    format,
};

fn key(byte: u8) -> Key {
    Key::new(Zeroizing::new([byte; KEY_BYTES]))
}

/// The clear list made blind; its one open entry is left out.
fn blind(key: &Key) -> String {
    let (fingerprints, mut text) = (key.fingerprints(), first_line(key) + "\n");
    format::read(ListFormat::Csv, &mut CSV.as_bytes(), |entry| {
        text.extend(line(&entry, &fingerprints).map(|line| line + "\n"));
    })
    .unwrap();
    text
}

fn signed(number: u64, text: &str, key: &Key) -> ListVersion {
    ListVersion {
        format: ListFormat::Blind,
        key_sha256: Some(key.digest()),
        ..version(number, text.as_bytes())
    }
}

fn install(store: &ListStore, number: u64, key: &Key) -> Report {
    let text = blind(key);
    let version = signed(number, &text, key);
    store.take_in(&version, Some(key), now(), &mut text.as_bytes()).unwrap()
}

#[test]
fn a_blind_list_matches_until_a_restart_and_from_its_key_on() {
    let (scene, key) = (Scene::new(), key(1));
    let expected = opaque_id("A1", &key.fingerprints());
    let store = scene.store();
    assert_eq!(install(&store, 3, &key).entries, 2);
    assert_eq!(store.untold().len(), 1);
    for plate in ["7ABC123", "7A8C123"] {
        assert_eq!(ids(&store, plate), [&*expected]);
    }
    let alert = store.alerts(&read("7A8C123")).remove(0);
    assert_eq!(alert.comparison.listed_plate, "7ABC123");
    assert_eq!((alert.state.listed.as_deref(), alert.entry.kind), (Some("CA"), None));
    assert_eq!(scene.check().status, Status::Pass);
    assert!(!store.in_heartbeat()[0].waits_for_key);

    let store = scene.store();
    assert_eq!(ids(&store, "7ABC123"), [""; 0]);
    let check = scene.check();
    assert_eq!(check.status, Status::Warn);
    assert!(check.output.contains("svs version 3") && check.output.contains("waits for its key"));
    let told = store.in_heartbeat().remove(0);
    assert_eq!((told.version, told.entries, told.waits_for_key), (3, 2, true));
    assert_eq!(store.untold(), [], "nothing is matched by it");

    assert_eq!(store.unlock(&self::key(2), now()), None);
    assert_eq!(ids(&store, "7ABC123"), [""; 0]);
    assert_eq!(store.unlock(&key, now()).unwrap().version, 3);
    assert_eq!(ids(&store, "7ABC123"), [&*expected]);
    assert_eq!(scene.check().status, Status::Pass);
    assert!(!store.in_heartbeat()[0].waits_for_key);
    assert_eq!(store.unlock(&key, now()), None, "it is open");
}

#[test]
fn a_blind_list_that_came_without_its_key_is_not_ready_and_puts_none_out_of_force() {
    let (scene, key) = (Scene::new(), key(1));
    let store = scene.store();
    let text = blind(&key);
    let version = signed(3, &text, &key);
    let mut incoming = store.begin(version, "jws").unwrap();
    let request = incoming.request(std::time::Instant::now()).unwrap();
    let now_ = std::time::Instant::now();
    incoming.part(request.request_id, 0, text.as_bytes(), now_).unwrap();
    assert!(incoming.is_whole() && !incoming.is_ready());
    incoming.key = Some(key);
    assert!(incoming.is_ready());
    store.install_incoming(&mut incoming, now()).unwrap();
    assert_eq!(ids(&store, "7ABC123").len(), 1);
}

#[test]
fn a_blind_list_that_is_signed_with_another_key_is_refused_and_the_one_in_force_stays() {
    let (scene, key) = (Scene::new(), key(1));
    let store = scene.store();
    install(&store, 3, &key);
    let other = self::key(2);
    let text = blind(&key);
    let version = signed(4, &text, &other);
    let refused = store.take_in(&version, Some(&other), now(), &mut text.as_bytes()).unwrap_err();
    assert!(matches!(refused, ListError::OtherKey), "{refused}");
    let (_, nameless) = text.split_once('\n').unwrap();
    let version = signed(4, nameless, &key);
    let refused = store.take_in(&version, Some(&key), now(), &mut nameless.as_bytes()).unwrap_err();
    assert!(refused.to_string().contains("does not name its key"), "{refused}");
    assert_eq!(store.in_heartbeat()[0].version, 3);
    assert_eq!(ids(&store, "7ABC123").len(), 1);
}

#[test]
fn neither_a_plate_nor_the_key_is_in_a_file() {
    let (scene, key) = (Scene::new(), key(0x5a));
    install(&scene.store(), 3, &key);
    let store = scene.store();
    store.unlock(&key, now()).unwrap();
    // As who has the disk and the sealing key would have it.
    let ring = scene.pole.ring().unwrap();
    let folder = scene.folder().join("svs/3");
    let shelf = Shelf::open(&folder, &ring, "svs", 3).unwrap();
    let mut found = shelf::plain_head(&folder, &ring, "svs", 3).unwrap();
    for place in 0..2 {
        found.extend(postcard::to_stdvec(&shelf.entry(place).unwrap()).unwrap());
    }
    for file in fs::read_dir(&folder).unwrap() {
        found.extend(fs::read(file.unwrap().path()).unwrap());
    }
    let ListKey(text) = key.text();
    let secrets =
        ["7ABC123".as_bytes(), b"8XYZ999", b"felony", text.as_bytes(), &[0x5a; KEY_BYTES]];
    for secret in secrets {
        assert!(!found.windows(secret.len()).any(|w| w == secret));
    }
}

#[test]
fn a_list_that_names_a_key_is_blind_and_a_blind_one_names_its_key() {
    let (scene, key) = (Scene::new(), key(1));
    let store = scene.store();
    let text = blind(&key);
    let unnamed = ListVersion { key_sha256: None, ..signed(3, &text, &key) };
    let clear = ListVersion { format: ListFormat::Csv, ..signed(3, &text, &key) };
    for (version, words) in [(unnamed, "does not name its key"), (clear, "is not blind")] {
        let refused = store.may_take(&version, now()).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}
