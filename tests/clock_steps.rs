//! Promise: whatever is done to the machine's clock, every read has an id of its own, the order is
//! kept and what is fresh stays live; each step is on the ledger; and once the clock is synchronised,
//! every read taken before gets its true time, those from before a restart of the agent too.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use harness::{
    agent::{Agent, clip, wait_for, watch},
    broker::Broker,
    clock::Clock,
    rtsp::{Serve, Server},
};
use jiff::{SignedDuration, Timestamp};
use milepost_wire::{BootTime, TimeCorrection};
use serde_json::Value;

#[test]
fn ids_order_and_liveness_survive_every_step_and_each_is_on_the_ledger_with_corrections_after() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let (_watch, out) = watch(folder.path(), &broker, &["--receipts"]);
    let camera = Server::start(Serve { clip: Some(clip()), ..Serve::default() });
    let source = format!("source = \"rtsp\"\nurl = \"{}\"", camera.url());
    let path = format!("path = \"{}\"\n", clip().display());
    let changes = [("source = \"file\"", source.as_str()), (path.as_str(), "")];
    let clock = Clock::new(folder.path());
    let start = || Agent::start_in(folder.path(), &broker, &changes, &clock.environment());
    let began = Timestamp::now();
    let mut agent = start();
    let passes =
        |agent: &Agent| agent.metric("alpr_reads_total") + agent.metric("alpr_unread_passes_total");
    let more_passes = |agent: &Agent| {
        let before = passes(agent);
        wait_for("another pass", || passes(agent) > before);
    };
    wait_for("the first read", || agent.metric("alpr_reads_total") > 0.0);
    wait_for("a connection", || agent.metric("alpr_uplink_connected") > 0.0);

    let three_days = SignedDuration::from_hours(72);
    let settings: [Box<dyn Fn()>; 5] = [
        Box::new(|| clock.off_by(three_days)),
        Box::new(|| clock.off_by(-three_days)),
        Box::new(|| clock.set("1970-01-01T00:10:00Z".parse().unwrap())),
        Box::new(|| clock.set("2038-01-19T03:14:08Z".parse().unwrap())),
        Box::new(|| clock.off_by(SignedDuration::from_hours(1))),
    ];
    for (n, set) in (1..).zip(settings) {
        set();
        wait_for("the step", || agent.metric("alpr_clock_steps_total") >= f64::from(n));
        more_passes(&agent);
    }
    assert!(agent.get("/health").contains("not synchronised"));
    assert!(agent.stop().success());
    clock.off_by(SignedDuration::from_hours(2));
    let mut agent = start();
    wait_for("the step while no agent ran", || agent.metric("alpr_clock_steps_total") >= 1.0);
    more_passes(&agent);
    clock.synchronise();
    wait_for("the last step", || agent.metric("alpr_clock_steps_total") >= 2.0);
    wait_for("corrections", || agent.metric("alpr_time_corrections_total") >= 1.0);
    assert!(agent.get("/health").contains("synchronised, to what is not known, at most 6 ms off"));
    // A pass that began before is of the clock as it was.
    let synchronised =
        |line: &str| line.contains(r#""boot_time""#) && line.contains(r#""time_source":"kernel""#);
    let seen = || fs::read_to_string(&out).unwrap();
    wait_for("a synchronised pass", || seen().lines().any(synchronised));
    drop(camera);
    wait_for("an empty outbox", || agent.metric("alpr_outbox_records") == 0.0);
    assert!(agent.stop().success());
    let ended = Timestamp::now();

    let events: Vec<Value> = fs::read_to_string(&out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|seen: &Value| seen["duplicate"] == false)
        .collect();
    let of = |kind: &'static str| {
        events.iter().filter(move |seen| seen["kind"] == kind).map(|seen| &seen["event"])
    };
    let in_ledger = || {
        let captures = ["read", "unread_pass", "other"];
        let said = milepost_wire::ledger::LEDGER_TYPES.iter().map(|(name, _)| *name);
        captures.into_iter().chain(said).flat_map(of)
    };

    // Ids and order.
    let ids: BTreeSet<&str> = in_ledger().map(|e| e["id"].as_str().unwrap()).collect();
    let sequence = |e: &Value| e["sequence"].as_str().unwrap().parse::<u64>().unwrap();
    let sequences: BTreeSet<u64> = in_ledger().map(sequence).collect();
    assert_eq!(ids.len(), in_ledger().count(), "an id came twice");
    assert_eq!(sequences, (1..=ids.len() as u64).collect(), "a gap or a number given twice");
    let captures = || of("read").chain(of("unread_pass"));
    for capture in captures() {
        assert_eq!(capture["historical"], false, "a fresh one was taken for an old one");
        let seen = ["first_seen_at", "last_seen_at"]
            .map(|t| capture["data"][t].as_str().unwrap().parse::<Timestamp>().unwrap());
        let lasted = seen[1].duration_since(seen[0]);
        assert!(!lasted.is_negative() && lasted < SignedDuration::from_mins(2), "{lasted}");
    }

    // Steps.
    let hours: Vec<i64> = of("clock_step")
        .map(|e| (e["data"]["step_s"].as_f64().unwrap() / 3600.0).round() as i64)
        .collect();
    let to = |t: &str| t.parse::<Timestamp>().unwrap().duration_since(began).as_secs_f64() / 3600.0;
    let (y1970, y2038) = (to("1970-01-01T00:10:00Z"), to("2038-01-19T03:14:08Z"));
    let expected = [72.0, -144.0, y1970 + 72.0, y2038 - y1970, 1.0 - y2038, 1.0, -2.0];
    assert_eq!(hours.len(), expected.len(), "{hours:?}");
    for (hours, expected) in hours.iter().zip(expected) {
        assert!((*hours as f64 - expected).abs() <= 1.0, "{hours} for {expected}");
    }

    // Corrections: every capture of the unsynchronised clock by name or by rule, once and right.
    let corrections: Vec<(TimeCorrection, &Value)> = of("time_correction")
        .map(|e| (serde_json::from_value(e["data"].clone()).unwrap(), e))
        .collect();
    let mut named = BTreeMap::new();
    for (correction, _) in &corrections {
        for record in &correction.records {
            assert!(named.insert(record.id.to_string(), record.clone()).is_none(), "named twice");
        }
    }
    assert!(corrections[0].0.unnamed, "those from before the restart");
    let free = |e: &&Value| e["data"]["time_source"] == "unsynchronised";
    let (mut by_rule, mut by_name) = (0, 0);
    for capture in captures().filter(free) {
        let boot_time: BootTime =
            serde_json::from_value(capture["data"]["boot_time"].clone()).unwrap();
        let (at, uncertainty) = corrections[0].0.correct(boot_time).unwrap();
        let id = capture["id"].as_str().unwrap();
        match named.remove(id) {
            Some(record) => {
                by_name += 1;
                assert_eq!(record.captured_at.to_string(), capture["data"]["captured_at"]);
                assert_eq!(record.sequence, sequence(capture));
            }
            None => by_rule += 1,
        }
        assert!(at > began && at < ended, "{at} is not between {began} and {ended}");
        assert!(uncertainty.unwrap() < 5.0, "{uncertainty:?}");
    }
    println!("{} records; corrected: {by_name} by name, {by_rule} by rule", ids.len());
    assert!(named.is_empty(), "a correction names what was synchronised: {named:?}");
    assert!(by_rule >= 6, "{by_rule} from before the restart");
    let kept = captures().find(|e| e["data"]["time_source"] == "kernel").unwrap();
    let bound = kept["data"]["time_uncertainty_s"].as_f64().unwrap();
    assert!((0.5..0.6).contains(&bound), "4 ms, 1 ms and the stream's 500 ms: {bound}");
}
