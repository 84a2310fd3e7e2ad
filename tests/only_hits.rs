//! Promise: where an agency may keep no read but those on a list, no other read comes to the server or to the
//! disk; how many there were, and from when to when, is on the ledger.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs};

use harness::{
    agent::{Agent, events, wait_for, watch},
    broker::Broker,
    lists::{Believing, sign},
};
use jiff::Timestamp;
use serde_json::Value;

/// Plates of the demo clip: exactly, and by a look-alike.
const LIST: &str = "plate,state,kind,id\n3OYH713,CA,stolen,exact\n6JVI659,ID,stolen,one-off\n";

#[test]
fn reads_without_a_match_are_dropped_before_anything_is_written_and_counted_on_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let lists = sign(folder.path(), &broker, "svs", LIST, &["--audience", "demo-pd"]);
    let (_watch, out) =
        watch(folder.path(), &broker, &["--receipts", "--lists", lists.to_str().unwrap()]);
    let believing = Believing::of(&broker);
    let only = [("# only_hits = false", "only_hits = true")];
    let waiting = [&believing.waiting()[..], &only].concat();
    let road = [&believing.road()[..], &only].concat();

    let mut agent = Agent::start(folder.path(), &broker, &waiting);
    wait_for("the list in force", || agent.get("/health").contains("svs version 1"));
    assert!(agent.stop().success());
    let mut agent = Agent::start(folder.path(), &broker, &road);
    wait_for("the clip's end", || agent.get("/health").contains("played to its end"));
    wait_for("an empty outbox", || agent.metric("alpr_outbox_records") < 0.5);
    let dropped = agent.metric("alpr_reads_dropped_total");
    assert!(agent.stop().success());
    // What was counted until the stop is in the ledger, and goes with the next connection.
    let mut agent = Agent::start(folder.path(), &broker, &waiting);
    wait_for("what was dropped", || !events(&out, "dropped_reads").is_empty());
    wait_for("an empty outbox", || agent.metric("alpr_outbox_records") < 0.5);
    assert!(agent.stop().success());

    let text = |e: &Value, pointer: &str| e.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let reads = events(&out, "read");
    let plates: BTreeSet<_> = reads.iter().map(|r| text(r, "/data/plate_text")).collect();
    assert_eq!(plates, BTreeSet::from(["3OYH713", "6JV1659"].map(String::from)));
    let alerts = events(&out, "alert");
    let hits: BTreeSet<_> = alerts.iter().map(|a| text(a, "/data/read_id")).collect();
    assert_eq!(hits, reads.iter().map(|r| text(r, "/data/read_id")).collect());
    assert_eq!(alerts.len(), 2, "no previews: what one turns out to be could not be told");

    // Every other read of the clip is counted, and nothing of it came.
    let said = events(&out, "dropped_reads");
    let number = |e: &Value, member: &str| e["data"][member].as_u64().unwrap();
    let counted: u64 = said.iter().map(|e| number(e, "reads")).sum();
    let truth = fs::read_to_string(harness::agent::clip().with_file_name("truth.json")).unwrap();
    let truth: Value = serde_json::from_str(&truth).unwrap();
    let passes: Vec<_> =
        truth["passes"].as_array().unwrap().iter().map(|p| text(p, "/text")).collect();
    assert_eq!((counted, dropped), (passes.len() as u64 - 2, passes.len() as f64 - 2.0));
    assert_eq!(said.iter().map(|e| number(e, "not_searched")).sum::<u64>(), 0);
    for entry in &said {
        let at = |member: &str| text(entry, &format!("/data/{member}")).parse::<Timestamp>();
        assert!(at("first_captured_at").unwrap() < at("last_captured_at").unwrap());
    }
    let whole = fs::read_to_string(&out).unwrap();
    for other in passes.iter().filter(|plate| !plates.contains(*plate)) {
        assert!(!whole.contains(other.as_str()), "{other} came");
    }
    let photos = fs::read_dir(folder.path().join("outbox/photos")).unwrap().count();
    assert_eq!(photos, 0, "those of the hits went with their receipts, and there were no others");
}
