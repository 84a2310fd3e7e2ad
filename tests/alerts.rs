//! Promise: the server's lists are in force on the pole, and a read that matches one gives an alert ahead
//! of itself, exactly where a list's tolerance says so, with a packet that anyone can verify; what may not
//! be in force is refused with the reason, which the ledger keeps; lists outlive a kill.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use harness::{
    agent::{Agent, events, wait_for, watch},
    broker::Broker,
    lists::{Believing, sign},
};
use jiff::SignedDuration;
use milepost_wire::schema;
use serde_json::Value;

#[test]
fn planted_plates_give_exactly_the_alerts_that_their_lists_allow() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let ours = ["--audience", "demo-pd"];
    let svs = "plate,state,kind,id\n\
        3OYH713,CA,stolen,exact\n\
        6JVI659,ID,stolen,one-off\n\
        9JWQZ7S,CA,stolen,two-off\n\
        3BMQ664,NV,stolen,other-state\n\
        LGJ6?8*,WA,bulletin,open\n\
        JFV2199,CO,stolen,never-seen\n\
        0000000,CA,stolen,filler\n";
    sign(folder.path(), &broker, "svs", svs, &ours);
    let wide = "plate,id\n9JWQZ7S,two-off\n";
    sign(folder.path(), &broker, "wide", wide, &[&ours[..], &["--substitutions", "2"]].concat());
    let once = "plate,id\n9RIS246,expired\n";
    let expired = ["--expires-after-h", "31"];
    sign(folder.path(), &broker, "once", once, &[&ours[..], &expired].concat());
    harness::lists::sign_anew(&folder.path().join("lists"), &broker, "once", |version| {
        version.expires_at = version.source_at + SignedDuration::from_hours(2);
    });
    sign(folder.path(), &broker, "theirs", "plate,id\n166KAO,theirs\n", &["--audience", "other"]);
    let lists = folder.path().join("lists");
    // Changed after it was signed.
    sign(folder.path(), &broker, "altered", "plate,id\nQIR8850,good\n", &ours);
    fs::write(lists.join("altered.list"), "plate,id\nMDU5912,evil\n").unwrap();

    let (_watch, out) =
        watch(folder.path(), &broker, &["--receipts", "--lists", lists.to_str().unwrap()]);
    let believing = Believing::of(&broker);
    let mut agent = Agent::start(folder.path(), &broker, &believing.waiting());
    wait_for("what becomes of the lists", || events(&out, "list_change").len() >= 4);
    let changes: BTreeMap<String, String> = events(&out, "list_change")
        .iter()
        .map(|e| {
            let data = &e["data"];
            let words = data["why"].as_str().or(data["outcome"].as_str()).unwrap();
            (data["list"].as_str().unwrap().to_owned(), words.to_owned())
        })
        .collect();
    assert_eq!(changes["svs"], "in_force");
    assert_eq!(changes["wide"], "in_force");
    assert!(changes["once"].contains("expired"), "{changes:?}");
    assert!(changes["altered"].contains("SHA-256"), "{changes:?}");
    assert!(!changes.contains_key("theirs"), "it was not announced here");
    let health = agent.get("/health");
    assert!(health.contains("svs version 1") && health.contains("6 entries"), "{health}");

    // Somebody looks: what is found is shown, and who looked is told to the server first.
    let look = |arguments: &[&str]| {
        let config = folder.path().join("milepost.toml");
        let looked = Command::new(harness::milepost())
            .args(["list", arguments[0]])
            .args(&arguments[1..])
            .args([Path::new("--config"), &config])
            .output()
            .unwrap();
        let said = String::from_utf8([looked.stdout, looked.stderr].concat()).unwrap();
        (looked.status.code(), said)
    };
    let (code, said) = look(&["show"]);
    assert!(code == Some(0) && said.contains("svs version 1"), "{said}");
    assert!(!said.contains("3OYH713"));
    let why = ["--by", "sgt. rivera", "--reason", "alert 4411 seems wrong", "--case", "2026-1"];
    let (code, said) = look(&[&["match", "3OYH7I3"], &why[..]].concat());
    assert!(code == Some(0) && said.contains("3OYH713") && said.contains("advisory"), "{said}");
    assert_eq!(look(&[&["match", "1ZZZ999"], &why[..]].concat()).0, Some(3));
    assert_eq!(look(&["match", "3OYH713"]).0, Some(2), "nobody looks without a name and a reason");
    wait_for("the looks in the ledger", || events(&out, "access").len() == 2);
    let looks = events(&out, "access");
    let found: BTreeSet<_> = looks.iter().map(|l| l["data"]["found"].as_u64().unwrap()).collect();
    assert_eq!(found, BTreeSet::from([0, 1]));
    assert_eq!(looks[0]["data"]["by"], "sgt. rivera");
    let plates: BTreeSet<_> =
        looks.iter().map(|l| l["data"]["plate_text"].as_str().unwrap()).collect();
    assert_eq!(plates, BTreeSet::from(["3OYH7I3", "1ZZZ999"]));

    // Killed and started again, now with a road to look at: the lists are still in force.
    agent.kill();
    let mut agent = Agent::start(folder.path(), &broker, &believing.road());
    wait_for("the clip's end", || agent.get("/health").contains("played to its end"));
    wait_for("an empty outbox", || agent.metric("alpr_outbox_records") == 0.0);
    assert!(agent.stop().success());

    let (previews, alerts): (Vec<_>, Vec<_>) =
        events(&out, "alert").into_iter().partition(|e| e["data"]["preview"] == true);
    let got: BTreeSet<(String, String, String)> = alerts
        .iter()
        .map(|e| {
            let text = |pointer: &str| e.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            (text("/data/list/name"), text("/data/entry/id"), text("/data/comparison/agreement"))
        })
        .collect();
    let expected = [
        ("svs", "exact", "exact"),
        ("svs", "one-off", "look_alike"),
        ("svs", "other-state", "exact"),
        ("svs", "open", "partial"),
        ("wide", "two-off", "look_alike"),
    ];
    let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
    assert_eq!(got, BTreeSet::from(expected), "{got:?}");
    assert_eq!(alerts.len(), got.len(), "none twice");

    // Each is valid, advisory, and stands right before its read, which it leaves as it is.
    let schemas = schema::all();
    let schema = &schemas.iter().find(|s| s.name == "alert").unwrap().schema;
    let validator = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
    let reads = events(&out, "read");
    let sequence = |e: &Value| e["sequence"].as_str().unwrap().parse::<u64>().unwrap();
    for alert in &alerts {
        let errors: Vec<_> = validator.iter_errors(alert).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let data = &alert["data"];
        let read = reads.iter().find(|r| r["id"] == data["read_id"]).unwrap();
        assert!(sequence(alert) < sequence(read), "the alert is ahead of its read");
        for member in ["plate_text", "raw_text", "captured_at", "evidence", "confidence"] {
            assert_eq!(data[member], read["data"][member]);
        }
        // A clip's time is that of its file; the lists' limits are a day and two.
        let freshness = match data["list"]["age_s"].as_f64() {
            Some(..86_400.0) => "fresh",
            Some(..172_800.0) => "aging",
            _ => "stale",
        };
        assert_eq!(data["list"]["freshness"], freshness);
    }
    // What was told while the vehicle was in view is superseded by the read of the same id.
    assert!(!previews.is_empty());
    for preview in &previews {
        let of = |e: &&Value| e["data"]["read_id"] == preview["data"]["read_id"];
        let read = reads.iter().find(|r| r["id"] == preview["data"]["read_id"]).unwrap();
        assert!(validator.is_valid(preview) && sequence(preview) < sequence(read));
        assert!(preview["data"]["evidence"]["plate"].is_null());
        let same = alerts.iter().find(of).map(|a| &a["data"]["entry"]["id"]);
        assert_eq!(same, Some(&preview["data"]["entry"]["id"]));
    }
    let state = |entry: &str| {
        let alert = alerts.iter().find(|a| a["data"]["entry"]["id"] == entry).unwrap();
        alert["data"]["state"]["verdict"].clone()
    };
    assert_eq!((state("exact"), state("other-state")), ("match".into(), "mismatch".into()));
    assert_eq!(state("two-off"), "unknown");

    // No plate of a list is in the log, on the page, or readable on the disk.
    let log = fs::read_to_string(&agent.log).unwrap();
    let folder = folder.path().join("outbox/lists");
    let mut stored = Vec::new();
    for list in ["svs", "wide"] {
        for file in fs::read_dir(folder.join(list).join("1")).unwrap() {
            stored.extend(fs::read(file.unwrap().path()).unwrap());
        }
    }
    assert!(stored.len() > 1000);
    for plate in ["6JVI659", "9JWQZ7S", "LGJ6?8", "JFV2199"] {
        assert!(!log.contains(plate) && !health.contains(plate));
        assert!(!stored.windows(plate.len()).any(|w| w == plate.as_bytes()));
    }
    assert!(!folder.join("altered/1").exists() && !folder.join("once/1").exists());
}
