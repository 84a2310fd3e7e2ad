//! Promise: the main job runs. A clip goes in, and every read of it reaches a subscriber over TLS,
//! none twice, none missing in the sequence, with both photos, though the broker is killed on the
//! way; the local endpoint says how it is and shows no plate; a stop ends in order.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness::broker::Broker;
use serde_json::Value;

/// Reads that the clip must give; it has 24 passes.
const READS: usize = 20;
/// Generous: the clip is 54 s long.
const LIMIT: Duration = Duration::from_secs(300);

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The embedded default configuration on this test's broker, outbox and page.
fn configuration(folder: &Path, broker: &Broker, page: &str) -> String {
    let files = broker.files("pole");
    let set = |text: String, key: &str, value: &str| {
        let line = text.lines().find(|l| l.starts_with(&format!("{key} ="))).unwrap().to_owned();
        text.replace(&line, &format!("{key} = \"{value}\""))
    };
    let root = repository().display().to_string();
    let mut text = fs::read_to_string(repository().join("edge-agent/default.toml")).unwrap();
    text = set(text, "path", &format!("{root}/.cache/clip/demo.mp4"));
    text = set(text, "models_dir", &format!("{root}/models"));
    text = set(text, "directory", &folder.join("outbox").display().to_string());
    text = set(text, "broker", &broker.address().to_string());
    text = set(text, "ca_file", &files.ca.display().to_string());
    text = set(text, "certificate_file", &files.certificate.display().to_string());
    text = set(text, "key_file", &files.key.display().to_string());
    set(text, "listen", page)
        // As fast as it goes: on a loaded machine no frame is dropped, so the count is certain.
        .replace("# realtime = true", "realtime = false")
        .replace("# resend_after_s = 30", "resend_after_s = 2")
}

fn get(page: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(page).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn metric(page: &str, name: &str) -> f64 {
    let text = get(page, "/metrics");
    let line = text.lines().find(|l| l.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("{name} is not in {text}"))
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !there() {
        assert!(Instant::now() < until, "waited too long for {what}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn every_read_of_the_clip_arrives_once_with_its_photos_though_the_broker_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path(), "");
    let page = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let file = folder.path().join("milepost.toml");
    fs::write(&file, configuration(folder.path(), &broker, &page)).unwrap();

    let server = broker.files("server");
    let out = folder.path().join("watch.jsonl");
    let _watch = Process(
        Command::new(harness::milepost())
            .args(["watch", "--json", "--receipts", "--broker", &broker.address().to_string()])
            .args([Path::new("--ca"), &server.ca, Path::new("--cert"), &server.certificate])
            .args([Path::new("--key"), &server.key])
            .stdout(fs::File::create(&out).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let log = folder.path().join("agent.log");
    let mut agent = Process(
        Command::new(harness::milepost())
            .args([Path::new("run"), Path::new("--config"), &file])
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );

    wait_for("the page", || TcpStream::connect(&page).is_ok());
    for at in [5.0, 12.0] {
        wait_for("reads", || metric(&page, "alpr_reads_total") >= at);
        broker.kill();
        thread::sleep(Duration::from_secs(2));
        broker.restart();
    }
    wait_for("the clip's end", || {
        let health = get(&page, "/health");
        health.contains("played to its end")
    });
    wait_for("an empty outbox", || metric(&page, "alpr_outbox_records") == 0.0);
    let kept = metric(&page, "alpr_reads_total") as usize;
    let shown = ["/", "/health", "/metrics", "/readyz", "/livez"].map(|p| get(&page, p)).concat();

    // An orderly stop: SIGTERM, and the exit code is 0.
    Command::new("kill").args(["-TERM", &agent.0.id().to_string()]).status().unwrap();
    wait_for("the agent's end", || agent.0.try_wait().unwrap().is_some());
    assert!(agent.0.wait().unwrap().success());

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
    assert_eq!(ids.len(), kept, "kept and arrived differ");
    let complete = of("complete").filter(|e| e["new_read"] == true).count();
    assert_eq!(complete, kept, "reads whose photos came and have the right hashes");
    let sequences: BTreeSet<u64> = ["read", "unread_pass"]
        .into_iter()
        .flat_map(of)
        .map(|e| e["event"]["sequence"].as_str().unwrap().parse().unwrap())
        .collect();
    let last = *sequences.last().unwrap();
    assert_eq!(sequences.len() as u64, last, "a gap in the sequence");
    let log = fs::read_to_string(&log).unwrap();
    for text in texts {
        assert!(!shown.contains(text), "a plate is on the local endpoint");
        assert!(!log.contains(text), "a plate is in the log");
    }
}
