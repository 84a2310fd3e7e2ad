//! Promise: the main job runs. A clip goes in, and every read of it reaches a subscriber over TLS,
//! none twice, none missing in the sequence, with both photos, though the broker is killed on the
//! way; the local endpoint says how it is and shows no plate; a stop ends in order.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, thread, time::Duration};

use harness::{
    agent::{Agent, wait_for, watch},
    broker::Broker,
};
use serde_json::Value;

/// Reads that the clip must give; it has 24 passes.
const READS: usize = 20;

#[test]
fn every_read_of_the_clip_arrives_once_with_its_photos_though_the_broker_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path(), "");
    let (_watch, out) = watch(folder.path(), &broker, &["--receipts"]);
    // As fast as it goes: on a loaded machine no frame is dropped, so the count is certain.
    let changes = [
        ("# realtime = true", "realtime = false"),
        ("# resend_after_s = 30", "resend_after_s = 2"),
    ];
    let mut agent = Agent::start(folder.path(), &broker, &changes);

    for at in [5.0, 12.0] {
        wait_for("reads", || agent.metric("alpr_reads_total") >= at);
        broker.kill();
        thread::sleep(Duration::from_secs(2));
        broker.restart();
    }
    wait_for("the clip's end", || agent.get("/health").contains("played to its end"));
    wait_for("an empty outbox", || agent.metric("alpr_outbox_records") == 0.0);
    let kept = agent.metric("alpr_reads_total") as usize;
    let shown = ["/", "/health", "/metrics", "/readyz", "/livez"].map(|p| agent.get(p)).concat();

    // An orderly stop: SIGTERM, and the exit code is 0.
    assert!(agent.stop().success());

    let events: Vec<Value> = fs::read_to_string(&out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &'static str| events.iter().filter(move |e| e["kind"] == kind);
    // A read may come twice over the wire (at least once); the server knows it by its id.
    let reads: Vec<&Value> = of("read").filter(|e| e["duplicate"] == false).collect();
    let ids: BTreeSet<&str> = reads.iter().map(|e| e["event"]["id"].as_str().unwrap()).collect();
    let texts: BTreeSet<&str> =
        reads.iter().map(|e| e["event"]["data"]["plate_text"].as_str().unwrap()).collect();
    assert!(texts.len() >= READS, "{} distinct reads", texts.len());
    assert_eq!(texts.len(), reads.len(), "a vehicle gave two reads");
    // The last passes end with the clip: one of them may be kept after they were counted above.
    assert!(ids.len() >= kept, "{kept} kept, {} arrived", ids.len());
    let complete = of("complete").filter(|e| e["new_read"] == true).count();
    assert!(complete >= kept, "reads whose photos came and have the right hashes: {complete}");
    // Reads, unread passes and what the pole says of itself.
    let sequences: BTreeSet<u64> = events
        .iter()
        .filter_map(|e| Some(e["event"]["sequence"].as_str()?.parse().unwrap()))
        .collect();
    let last = *sequences.last().unwrap();
    assert_eq!(sequences.len() as u64, last, "a gap in the sequence");
    let log = fs::read_to_string(&agent.log).unwrap();
    for text in texts {
        assert!(!shown.contains(text), "a plate is on the local endpoint");
        assert!(!log.contains(text), "a plate is in the log");
    }
}
