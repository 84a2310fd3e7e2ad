//! What the server says of entries and alerts outlives restarts, new versions and damage.

use std::sync::Arc;

use jiff::SignedDuration;
use milepost_wire::{Disposition, Event, Mute, Verdict, examples};
use uuid::Uuid;

use super::{
    dispositions::Dispositions,
    tests::{CSV, Scene, ids, install},
    *,
};
use crate::{
    health::Status,
    lists::mute::{Order, OrderError},
    outbox::Setup,
};

fn outbox(scene: &Scene) -> Outbox {
    let settings = scene.pole.config.outbox.clone();
    Outbox::open(Setup::plain(settings, source(), Arc::default())).unwrap()
}

fn source() -> Source {
    examples::alert().source
}

fn order(entry: &str, seconds: Option<i64>) -> Order {
    let until = seconds.map(|s| Timestamp::now() + SignedDuration::from_secs(s));
    let (by, reason) = ("admin".into(), "misread daily".into());
    let (list, entry_id) = ("svs".into(), entry.into());
    Order { command_id: Uuid::now_v7(), by, reason, case_number: None, list, entry_id, until }
}

/// What the ledger says of mutes.
fn ledger(outbox: &Outbox) -> Vec<(u64, Mute)> {
    let records = outbox.records(0, 1000).unwrap();
    let events = records.iter().filter_map(|r| Event::<Mute>::from_json(&r.body).ok());
    events.map(|e| (e.ledger().unwrap().sequence, e.data)).collect()
}

#[test]
fn a_muted_entry_gives_no_alert_through_restarts_and_new_versions_until_it_is_unmuted() {
    let scene = Scene::new();
    let (outbox, store) = (outbox(&scene), scene.store());
    install(&store, 1, CSV).unwrap();
    let order_it = |store: &ListStore, order: &Order| store.mute(order, &outbox, &source());
    let mute = order("A1", Some(3600));
    let sequence = order_it(&store, &mute).unwrap();
    assert_eq!(ids(&store, "7ABC123"), [""; 0]);
    assert_eq!(
        (ids(&store, "8XYZ999"), scene.health.metrics.alerts_muted.get()),
        (vec!["A2".into()], 1)
    );
    assert!(scene.check().output.contains("3 entries (1 muted)"), "{:?}", scene.check());
    install(&store, 2, CSV).unwrap();
    assert_eq!(ids(&store, "7ABC123"), [""; 0], "a new version");
    let store = scene.store();
    assert_eq!(ids(&store, "7ABC123"), [""; 0], "a restart");

    let unmute = order("A1", None);
    let unmuted = order_it(&store, &unmute).unwrap();
    assert_eq!(ids(&store, "7ABC123"), ["A1"]);
    // Commands that the broker brings again only get their answers again.
    assert_eq!(order_it(&store, &mute).unwrap(), sequence);
    assert_eq!(order_it(&scene.store(), &unmute).unwrap(), unmuted);
    assert_eq!(ids(&store, "7ABC123"), ["A1"]);
    let refused = order_it(&store, &order("A1", None)).unwrap_err();
    assert!(matches!(refused, MuteError::Order(OrderError::NotMuted)), "{refused}");
    let unknown = Order { list: "svz".into(), ..order("A1", Some(60)) };
    assert!(order_it(&store, &unknown).unwrap_err().to_string().contains("svz"));
    assert_eq!(ledger(&outbox), [(sequence, mute.said()), (unmuted, unmute.said())]);
}

#[test]
fn a_mute_that_can_not_be_written_does_not_hold_and_the_ledger_says_so() {
    let scene = Scene::new();
    let (outbox, store) = (outbox(&scene), scene.store());
    install(&store, 1, CSV).unwrap();
    // What a file is written under first is taken by a folder.
    let taken = scene.folder().join("mutes.tmp");
    fs::create_dir(&taken).unwrap();
    let mute = order("A1", Some(3600));
    let refused = store.mute(&mute, &outbox, &source()).unwrap_err();
    assert!(matches!(refused, MuteError::Write { .. }), "{refused}");
    assert_eq!(ids(&store, "7ABC123"), ["A1"]);
    let said: Vec<_> = ledger(&outbox).into_iter().map(|(_, said)| said.muted).collect();
    assert_eq!(said, [true, false]);
    fs::remove_dir(taken).unwrap();
    store.mute(&mute, &outbox, &source()).unwrap();
    assert_eq!(ids(&store, "7ABC123"), [""; 0]);
}

#[test]
fn a_mute_ends_by_itself_and_is_forgotten() {
    let scene = Scene::new();
    let (outbox, store) = (outbox(&scene), scene.store());
    install(&store, 1, CSV).unwrap();
    store.mute(&order("A1", Some(1)), &outbox, &source()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(ids(&store, "7ABC123"), ["A1"]);
    assert!(store.mutes.look() && !store.mutes.look());
    for store in [store, scene.store()] {
        assert_eq!(store.mutes.count("svs"), 0);
    }
}

#[test]
fn damage_ends_mutes_and_is_said() {
    let scene = Scene::new();
    let (outbox, store) = (outbox(&scene), scene.store());
    install(&store, 1, CSV).unwrap();
    store.mute(&order("A1", Some(3600)), &outbox, &source()).unwrap();
    let file = scene.folder().join("mutes.sealed");
    let mut bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(3).any(|w| w == b"svs"), "sealed");
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let store = scene.store();
    assert_eq!(ids(&store, "7ABC123"), ["A1"]);
    let check = scene.check();
    assert_eq!(check.status, Status::Warn);
    assert!(check.output.contains("mute them again"), "{check:?}");
    assert!(!file.exists());
    store.mute(&order("A1", Some(3600)), &outbox, &source()).unwrap();
    assert_eq!(ids(&scene.store(), "7ABC123"), [""; 0]);
}

#[test]
fn dispositions_are_counted_said_and_there_again_after_a_restart() {
    let scene = Scene::new();
    let ring = scene.pole.ring().unwrap();
    durable::make_folder(&scene.folder()).unwrap();
    let open = || Dispositions::open(&scene.folder(), &ring, scene.health.clone()).unwrap();
    let fact = || scene.health.facts()["What became of alerts"].clone();
    let mut dispositions = open();
    assert_eq!(fact(), "none yet");
    let said = examples::disposition();
    let json = |said: &Disposition| serde_json::to_vec(said).unwrap();
    let ours = |list: &str| list == "svs";
    dispositions.take(&json(&said), ours);
    dispositions.take(&json(&said), ours);
    dispositions.take(b"{}", ours);
    // A plate where the list should be: neither kept nor shown.
    dispositions.take(&json(&Disposition { list: "7ABC123".into(), ..said.clone() }), ours);
    let expected = "svs: 1 of 1 alerts false, too few for a rate (1 incorrect read); \
                    mostly misread: 0 for Q (1)";
    assert_eq!(fact(), expected);
    let mut metrics = String::new();
    let registry = scene.health.registry();
    prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
    for line in [
        "alpr_alert_dispositions_total{list=\"svs\",verdict=\"incorrect_read\"} 1",
        "alpr_alert_confusions_total{read=\"0\",shown=\"Q\"} 1",
        "alpr_alert_dispositions_ignored_total 2",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in {metrics}");
    }
    let plate = said.plate_read.clone().unwrap();
    assert!(!metrics.contains(&plate) && !fact().contains(&plate));

    dispositions.write();
    scene.health.fact("What became of alerts", "");
    let mut dispositions = open();
    assert_eq!(fact(), expected);
    let later = said.at + SignedDuration::from_secs(1);
    let replaced = Disposition { verdict: Verdict::Correct, at: later, ..said };
    dispositions.take(&json(&replaced), ours);
    assert_eq!(fact(), "svs: 0 of 1 alerts false, too few for a rate");

    fs::write(scene.folder().join("dispositions.sealed"), b"damaged").unwrap();
    drop(open());
    assert!(fact().starts_with("none yet; what was known before was damaged"), "{}", fact());
}
