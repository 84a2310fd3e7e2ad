//! Promise: a blind list gives the alerts of the clear list that it was made of, and no file of the pole has
//! its key or a plate; after a kill it waits for its key, says so, and is in force again by itself, without
//! having been sent again, once the server announces it.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use harness::{
    agent::{Agent, Process, events, wait_for, watch},
    broker::Broker,
    lists::Believing,
};
use jiff::{SignedDuration, Timestamp};
use milepost::lists::blind::{Key, opaque_id};
use serde_json::Value;

const CSV: &str = "plate,state,kind,id\n\
    3OYH713,CA,stolen,exact\n\
    6JVI659,ID,stolen,one-off\n\
    9JWQZ7S,CA,stolen,two-off\n\
    LGJ6?8*,WA,bulletin,open\n\
    JFV2199,CO,stolen,never-seen\n";

fn milepost(arguments: &[&str]) -> String {
    let done = Command::new(harness::milepost()).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Makes the list blind and signs it into `lists`; its key's file.
fn make(folder: &Path, broker: &Broker) -> PathBuf {
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(path("svs.csv"), CSV).unwrap();
    let (csv, blind, key, lists) =
        (path("svs.csv"), path("svs.blind"), path("svs.key"), path("lists"));
    let words =
        milepost(&["list", "blind", &csv, "--format", "csv", "--out", &blind, "--key-out", &key]);
    assert!(words.contains("left out 1"), "{words}");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&blind).unwrap();
    for told in ["3OYH713", "3OYH", "stolen", "exact"] {
        assert!(!text.contains(told), "{text}");
    }
    let signer = broker.files("lists");
    let source_at = (Timestamp::now() - SignedDuration::from_hours(30)).to_string();
    milepost(&[
        "list",
        "sign",
        &blind,
        "--format",
        "blind",
        "--key-of-list",
        &key,
        "--list",
        "svs",
        "--number",
        "1",
        "--source-at",
        &source_at,
        "--agency",
        "DOJ",
        "--purpose",
        "vehicles",
        "--audience",
        "demo-pd",
        "--certificate",
        signer.certificate.to_str().unwrap(),
        "--key",
        signer.key.to_str().unwrap(),
        "--out",
        &lists,
    ]);
    folder.join("lists/svs.key")
}

/// A server that hands the lists out, and what it sees.
fn server(folder: &Path, name: &str, broker: &Broker) -> (Process, PathBuf) {
    let lists = folder.join("lists").display().to_string();
    let folder = folder.join(name);
    fs::create_dir(&folder).unwrap();
    watch(&folder, broker, &["--receipts", "--lists", &lists])
}

/// What is said last of the list: why it was refused, or that it is in force.
fn last_change(out: &Path) -> String {
    let changes = events(out, "list_change");
    let data = changes.last().map(|e| &e["data"]);
    let words = data.and_then(|d| d["why"].as_str().or(d["outcome"].as_str()));
    words.unwrap_or_default().to_owned()
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<u8>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.extend(fs::read(path).unwrap()) }
    }
}

#[test]
fn a_blind_list_gives_its_alerts_after_a_kill_once_the_server_gives_its_key_again() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let key_file = make(folder.path(), &broker);
    let text = fs::read_to_string(&key_file).unwrap();
    let key = Key::parse(&text).unwrap();

    let believing = Believing::of(&broker);
    // No frame before the list is in force: the clip is not there yet.
    let clip = folder.path().join("clip.mp4");
    let (real, later) = (
        format!("path = \"{}\"", harness::agent::clip().display()),
        format!("path = \"{}\"", clip.display()),
    );
    let changes = [
        believing.change(),
        (real.as_str(), later.as_str()),
        ("# realtime = true", "realtime = false"),
    ];
    let (first, out) = server(folder.path(), "first", &broker);
    let mut agent = Agent::start(folder.path(), &broker, &changes);
    wait_for("the list", || last_change(&out) == "in_force");
    assert_eq!(events(&out, "list_request").len(), 1);
    let health = agent.get("/health");
    assert!(health.contains("svs version 1") && health.contains("4 entries"), "{health}");
    agent.kill();
    drop(first);

    // Without a server that has the right key it waits, and says so.
    let other = if text.starts_with('A') { "B" } else { "A" };
    fs::write(&key_file, other.to_owned() + &text[1..]).unwrap();
    let mut agent = Agent::start(folder.path(), &broker, &changes);
    wait_for("the key to be missed", || agent.get("/health").contains("waits for its key"));
    let (second, out) = server(folder.path(), "second", &broker);
    wait_for("a refusal", || last_change(&out).contains("its key is not the one"));
    assert!(agent.get("/health").contains("waits for its key"));
    drop(second);

    fs::write(&key_file, &text).unwrap();
    let (_third, out) = server(folder.path(), "third", &broker);
    wait_for("the list", || last_change(&out) == "in_force");
    assert!(!agent.get("/health").contains("waits for its key"));
    symlink(harness::agent::clip(), &clip).unwrap();
    wait_for("the clip's end", || agent.get("/health").contains("played to its end"));
    wait_for("an empty outbox", || agent.metric("alpr_outbox_records") == 0.0);
    assert!(agent.stop().success());
    assert_eq!(events(&out, "list_request"), [] as [Value; 0], "it was there");

    let fingerprints = key.fingerprints();
    let got: BTreeSet<_> = events(&out, "alert")
        .iter()
        .map(|e| {
            let text = |pointer: &str| e.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            let plate = text("/data/comparison/listed_plate");
            (text("/data/entry/id"), plate, text("/data/comparison/agreement"))
        })
        .collect();
    let expected = [("exact", "3OYH713", "exact"), ("one-off", "6JVI659", "look_alike")];
    let expected = expected
        .map(|(id, plate, how)| (opaque_id(id, &fingerprints), plate.to_owned(), how.to_owned()));
    assert_eq!(got, BTreeSet::from(expected), "{got:?}");

    // Neither is anywhere on the pole's disk or in its log.
    let mut disk = fs::read(&agent.log).unwrap();
    files(&folder.path().join("outbox"), &mut disk);
    assert!(disk.len() > 10_000);
    for secret in [text.trim(), "6JVI659", "9JWQZ7S", "JFV2199"] {
        assert!(!disk.windows(secret.len()).any(|w| w == secret.as_bytes()));
    }
}
