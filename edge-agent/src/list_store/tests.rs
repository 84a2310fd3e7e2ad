//! What the store promises: the version in force is whole, newer than any before, and stays when another
//! is refused.

use std::{collections::BTreeMap, sync::Arc};

use milepost_wire::{Agreement, Read, TimeSource, Tolerance, examples};
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    digest::sha256_hex,
    health::{Check, Component, Status},
    sealing::fixtures::Pole,
};

pub(super) const CSV: &str =
    "plate,state,kind,id\n7ABC123,CA,stolen,A1\n8XYZ999,NV,felony,A2\n6KL?12*,CA,bulletin,B1\n";

pub(super) fn now() -> Timestamp {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

pub(super) fn version(number: u64, text: &[u8]) -> ListVersion {
    ListVersion {
        list: "svs".into(),
        version: number,
        base: None,
        audience: "demo-pd".into(),
        agency: "pd".into(),
        purpose: "stolen vehicles".into(),
        source_at: "2026-11-27T00:00:00Z".parse().unwrap(),
        expires_at: "2026-11-29T00:00:00Z".parse().unwrap(),
        aging_after_s: 86_400,
        stale_after_s: 172_800,
        tolerance: Tolerance::default(),
        format: ListFormat::Csv,
        bytes: text.len() as u64,
        sha256: sha256_hex(text),
        key_sha256: None,
    }
}

pub(super) struct Scene {
    pub pole: Pole,
    pub health: Arc<Health>,
}

impl Scene {
    pub fn new() -> Self {
        Self { pole: Pole::new(), health: Arc::default() }
    }

    pub fn folder(&self) -> PathBuf {
        self.pole.outbox().join(FOLDER)
    }

    pub fn store(&self) -> ListStore {
        let ring = self.pole.ring().unwrap();
        ListStore::open(self.folder(), ring, 0, self.health.clone()).unwrap()
    }

    pub fn check(&self) -> Check {
        self.health.checks()[&Component::Lists].clone()
    }
}

pub(super) fn read(text: &str) -> Read {
    let mut read = examples::read().data;
    (read.plate_text, read.raw_text) = (text.into(), text.into());
    (read.captured_at, read.time_source) = (now(), TimeSource::Ntp);
    read
}

pub(super) fn ids(store: &ListStore, plate: &str) -> Vec<String> {
    store.alerts(&read(plate)).into_iter().map(|alert| alert.entry.id).collect()
}

pub(super) fn install(store: &ListStore, number: u64, text: &str) -> Result<Report, ListError> {
    store.install(&version(number, text.as_bytes()), now(), &mut text.as_bytes())
}

#[test]
fn a_list_is_in_force_when_it_was_taken_and_after_a_restart() {
    let scene = Scene::new();
    let store = scene.store();
    assert_eq!(scene.check().output, "no list");
    assert_eq!(install(&store, 3, CSV).unwrap().entries, 3);
    for store in [store, scene.store()] {
        assert_eq!(ids(&store, "7ABC123"), ["A1"]);
        assert_eq!(ids(&store, "7A8C123"), ["A1"], "a look-alike");
        assert_eq!(ids(&store, "6KLX123"), ["B1"], "open characters");
        assert_eq!(ids(&store, "7ABC124"), [""; 0]);
        let alert = store.alerts(&read("8XYZ999")).remove(0);
        assert_eq!(alert.comparison.agreement, Agreement::Exact);
        assert_eq!((alert.list.version, alert.entry.kind.as_deref()), (3, Some("felony")));
        assert_eq!(alert.list.age_s, Some(43_200.0));
    }
    let check = scene.check();
    assert_eq!(check.status, Status::Pass, "{check:?}");
    assert!(
        check.output.contains("svs version 3") && check.output.contains("3 entries"),
        "{check:?}"
    );
}

#[test]
fn a_newer_version_replaces_the_one_before_whole_and_an_older_one_is_refused() {
    let scene = Scene::new();
    let store = scene.store();
    install(&store, 3, CSV).unwrap();
    install(&store, 5, "plate,id\n1AAA111,Z9\n").unwrap();
    assert_eq!((ids(&store, "1AAA111"), ids(&store, "7ABC123")), (vec!["Z9".into()], vec![]));
    for number in [1, 3, 5] {
        let refused = install(&store, number, CSV).unwrap_err();
        assert!(matches!(refused, ListError::Rollback { highest: 5, .. }), "{refused}");
    }
    assert_eq!(versions(&scene.folder().join("svs")).unwrap(), [5]);
    // Not even when what was in force is lost.
    remove(&scene.folder().join("svs/5")).unwrap();
    let store = scene.store();
    assert!(install(&store, 4, CSV).is_err());
    install(&store, 5, CSV).unwrap();
}

#[test]
fn several_lists_are_in_force_at_once_and_each_gives_its_own_alert() {
    let scene = Scene::new();
    let store = scene.store();
    for list in ["svs", "amber", "own"] {
        let version = ListVersion { list: list.into(), ..version(1, CSV.as_bytes()) };
        store.install(&version, now(), &mut CSV.as_bytes()).unwrap();
    }
    let names = store.alerts(&read("7ABC123")).into_iter().map(|alert| alert.list.name);
    assert_eq!(names.collect::<Vec<_>>(), ["amber", "own", "svs"]);
}

#[test]
fn each_reason_for_refusing_a_version_is_named_and_the_one_in_force_stays() {
    let scene = Scene::new();
    let store = scene.store();
    install(&store, 3, CSV).unwrap();
    let good = version(4, CSV.as_bytes());
    let altered = CSV.replace("A1", "A7");
    let cases: Vec<(&str, ListVersion, &str)> = vec![
        ("topic level", ListVersion { list: "../svs".into(), ..good.clone() }, CSV),
        ("begin with 1", ListVersion { version: 0, ..good.clone() }, CSV),
        ("split", ListVersion { bytes: u64::MAX, ..good.clone() }, CSV),
        ("stale before", ListVersion { stale_after_s: 1, ..good.clone() }, CSV),
        (
            "look-alikes",
            ListVersion {
                tolerance: Tolerance { substitutions: 3, least_probability: 0.0 },
                ..good.clone()
            },
            CSV,
        ),
        ("purpose", ListVersion { purpose: "x".repeat(201), ..good.clone() }, CSV),
        ("expired", ListVersion { expires_at: now(), ..good.clone() }, CSV),
        ("bytes came of", good.clone(), &CSV[..40]),
        ("SHA-256", good.clone(), &altered),
        ("header", version(4, b"number\n1\n"), "number\n1\n"),
        ("lines are no entries", version(4, b"plate\nA1B2\nA%1\nA%2\n"), "plate\nA1B2\nA%1\nA%2\n"),
    ];
    for (words, version, text) in cases {
        let refused = store.install(&version, now(), &mut text.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
        assert_eq!(ids(&store, "7ABC123"), ["A1"], "{words}");
        assert_eq!(versions(&scene.folder().join("svs")).unwrap(), [3], "{words}");
    }
}

#[test]
fn nothing_of_a_list_can_be_read_in_its_files() {
    let scene = Scene::new();
    install(&scene.store(), 3, CSV).unwrap();
    let mut files = 0;
    for file in fs::read_dir(scene.folder().join("svs/3")).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        files += 1;
        for secret in ["7ABC123", "8XYZ999", "6KL?12*", "felony"] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()));
        }
    }
    assert_eq!(files, 3);
}

#[test]
fn a_damaged_version_is_told_and_may_be_sent_again() {
    for file in ["head", "index", "entries"] {
        let scene = Scene::new();
        install(&scene.store(), 3, CSV).unwrap();
        let path = scene.folder().join("svs/3").join(file);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let store = scene.store();
        // Entries are looked at where a read matches.
        assert_eq!(ids(&store, "7ABC123"), [""; 0], "{file}");
        let check = scene.check();
        assert_eq!(check.status, Status::Fail, "{file}: {check:?}");
        assert!(check.output.contains("send the list again"), "{check:?}");
        assert_eq!(store.in_heartbeat(), [], "so that the server does");
        install(&store, 3, CSV).unwrap();
        assert_eq!(ids(&store, "7ABC123"), ["A1"], "{file}");
        assert_eq!(scene.check().status, Status::Pass, "{file}");
    }
}

#[test]
fn a_list_that_could_not_be_opened_is_in_force_once_it_can_be() {
    let scene = Scene::new();
    install(&scene.store(), 3, CSV).unwrap();
    let head = scene.folder().join("svs/3/head");
    let away = scene.folder().join("svs/3/away");
    fs::rename(&head, &away).unwrap();
    let store = scene.store();
    store.open_again();
    assert_eq!(scene.check().status, Status::Fail);
    assert_eq!(ids(&store, "7ABC123"), [""; 0]);
    fs::rename(&away, &head).unwrap();
    store.open_again();
    assert_eq!(ids(&store, "7ABC123"), ["A1"]);
    assert_eq!(scene.check().status, Status::Pass);
    assert_eq!(store.in_heartbeat().len(), 1);
}

#[test]
fn a_list_that_was_being_written_is_as_if_it_had_never_come() {
    let scene = Scene::new();
    install(&scene.store(), 3, CSV).unwrap();
    let unfinished = scene.folder().join("svs/4.tmp");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("head"), b"half").unwrap();
    let store = scene.store();
    assert_eq!(ids(&store, "7ABC123"), ["A1"]);
    assert!(!unfinished.exists());
    install(&store, 4, CSV).unwrap();
}

#[test]
fn parts_of_a_list_go_with_it_and_one_that_ends_the_agent_is_given_up() {
    let scene = Scene::new();
    let store = scene.store();
    let version = version(3, CSV.as_bytes());
    let begin = || store.begin(version.clone(), "its announcement").unwrap();
    // The agent ended while it was taken in, twice.
    begin().attempt().unwrap();
    begin().attempt().unwrap();
    let given_up = begin().attempt().unwrap_err().to_string();
    assert!(given_up.contains("ended 2 times"), "{given_up}");
    begin().forget();
    begin().attempt().unwrap();
    // It came in force, and the agent ended before its parts were deleted.
    install(&store, 3, CSV).unwrap();
    assert!(store.has(&version) && !store.has(&self::version(3, b"other")));
    let left = || fs::read_dir(scene.folder().join("svs")).unwrap().count();
    assert!(left() > 2);
    let store = scene.store();
    assert_eq!(left(), 2, "the version and the highest number");
    assert_eq!(store.unfinished().unwrap(), [""; 0]);
}

#[test]
fn a_match_that_gives_no_alert_is_a_hit_all_the_same() {
    let scene = Scene::new();
    let store = scene.store();
    install(&store, 3, CSV).unwrap();
    assert!(store.matched(&read("7ABC123")).is_hit() && !store.matched(&read("1ZZZ999")).is_hit());
    let path = scene.folder().join("svs/3/entries");
    let bytes = vec![0; fs::metadata(&path).unwrap().len() as usize];
    fs::write(&path, bytes).unwrap();
    let matched = scene.store().matched(&read("7ABC123"));
    assert!(matched.alerts.is_empty() && matched.is_hit(), "its entry can't be read");
}

#[test]
fn an_expired_list_matches_nothing_and_health_says_so() {
    let scene = Scene::new();
    let store = scene.store();
    install(&store, 3, CSV).unwrap();
    let mut read = read("7ABC123");
    read.captured_at = "2026-11-29T00:00:00Z".parse().unwrap();
    assert_eq!(store.alerts(&read), []);
    store.report(read.captured_at);
    let check = scene.check();
    assert_eq!(check.status, Status::Fail);
    assert!(check.output.contains("expired"), "{check:?}");
}

#[test]
fn entries_of_many_chunks_are_each_found() {
    let scene = Scene::new();
    let store = scene.store();
    let plates: BTreeMap<usize, String> = (0..1000).map(|n| (n, format!("4KTR{n:03}"))).collect();
    let lines: String = plates.iter().map(|(n, plate)| format!("{plate},{n}\n")).collect();
    install(&store, 1, &format!("plate,id\n{lines}")).unwrap();
    for (n, plate) in plates {
        assert!(ids(&store, &plate).contains(&n.to_string()), "{n}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_mutated_list_is_refused_and_the_old_one_stays(
        place in any::<Index>(), mask in 1..=255_u8, cut in any::<bool>(),
    ) {
        let scene = Scene::new();
        let store = scene.store();
        install(&store, 3, CSV).unwrap();
        let mut bytes = CSV.as_bytes().to_vec();
        let place = place.index(bytes.len());
        if cut { bytes.truncate(place) } else { bytes[place] ^= mask }
        let version = version(4, CSV.as_bytes());
        let refused = store.install(&version, now(), &mut &bytes[..]);
        prop_assert!(matches!(refused, Err(ListError::Hash | ListError::Size { .. })), "{refused:?}");
        prop_assert_eq!(ids(&store, "7ABC123"), ["A1"]);
    }
}
