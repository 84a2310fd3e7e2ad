//! Promise: what has changed in a list comes as a delta to a pole that has the version before; where the
//! delta does not fit, the pole says why and gets the whole list.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use harness::{
    agent::{Agent, Process, events, wait_for, watch},
    broker::Broker,
    lists::Believing,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

fn line(plate: &str, id: &str) -> String {
    format!("{{\"plate\":\"{plate}\",\"id\":\"{id}\"}}\n")
}

/// Signs a version as its authority does: whole, or as a delta.
fn sign(folder: &Path, broker: &Broker, number: &str, text: &str, base: Option<&str>) {
    let list = folder.join("svs.jsonl");
    fs::write(&list, text).unwrap();
    let signer = broker.files("lists");
    let source_at = (Timestamp::now() - SignedDuration::from_hours(1)).to_string();
    let signed = Command::new(harness::milepost())
        .args([Path::new("list"), Path::new("sign"), &list])
        .args(["--format", "jsonl", "--list", "svs", "--number", number, "--source-at", &source_at])
        .args(["--agency", "DOJ", "--purpose", "stolen vehicles", "--audience", "demo-pd"])
        .args([Path::new("--certificate"), &signer.certificate, Path::new("--key"), &signer.key])
        .args([Path::new("--out"), &folder.join("lists")])
        .args(base.into_iter().flat_map(|base| ["--base", base]))
        .output()
        .unwrap();
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
}

/// A server that hands the lists out, and what it sees.
fn server(folder: &Path, name: &str, broker: &Broker) -> (Process, PathBuf) {
    let lists = folder.join("lists").display().to_string();
    let folder = folder.join(name);
    fs::create_dir(&folder).unwrap();
    watch(&folder, broker, &["--receipts", "--lists", &lists])
}

fn data_of(out: &Path, kind: &str) -> Vec<Value> {
    events(out, kind).into_iter().map(|mut e| e["data"].take()).collect()
}

/// What is said of a version: each outcome with the entries or the reason.
fn changes(out: &Path, version: u64) -> Vec<String> {
    let of = data_of(out, "list_change").into_iter().filter(|data| data["version"] == version);
    of.map(|data| match data["why"].as_str() {
        Some(why) => why.to_owned(),
        None => format!("{} entries", data["entries"]),
    })
    .collect()
}

#[test]
fn a_delta_comes_in_force_and_where_it_does_not_fit_the_whole_list_does() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let place = folder.path();
    let first = line("3OYH713", "A1") + &line("6JVI659", "A2");
    sign(place, &broker, "1", &first, None);
    let believing = Believing::of(&broker);
    let (one, out) = server(place, "one", &broker);
    let mut agent = Agent::start(place, &broker, &believing.waiting());
    wait_for("the list", || changes(&out, 1) == ["2 entries"]);
    drop(one);

    let second = first.clone() + &line("9JWQZ7S", "A3") + &line("JFV2199", "A4");
    sign(place, &broker, "2", &second, None);
    let added = |plate, id| format!("{{\"add\":{}}}\n", line(plate, id).trim_end());
    let delta = added("9JWQZ7S", "A3") + &added("JFV2199", "A4");
    sign(place, &broker, "2", &delta, Some("1"));
    let (two, out) = server(place, "two", &broker);
    wait_for("the delta", || changes(&out, 2) == ["4 entries"]);
    let requests = data_of(&out, "list_request");
    assert!(requests.iter().all(|request| request["base"] == 1), "{requests:?}");
    drop(two);

    // As of a server that is wrong about what the pole has.
    sign(place, &broker, "3", &line("3OYH713", "A1"), None);
    sign(place, &broker, "3", "{\"remove\":\"A2\"}\n{\"remove\":\"A9\"}\n", Some("2"));
    let (_three, out) = server(place, "three", &broker);
    wait_for("the whole list", || changes(&out, 3).len() == 2);
    let said = changes(&out, 3);
    assert!(said[0].contains("send the whole list"), "{said:?}");
    assert_eq!(said[1], "1 entries");
    assert!(agent.get("/health").contains("svs version 3"));
    assert!(agent.stop().success());
}
