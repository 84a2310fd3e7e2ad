//! Promise: who takes the pole's disk, its log or its local pages learns no plate from them. Every byte
//! of a used, locked data directory is searched, after an orderly stop and after `kill -9` in
//! mid-work; and after `milepost erase` nothing of it is left but a receipt that the pole signed.
//!
//! The search is checked in the same run: with the key the same outbox opens, and the same search finds
//! every plate and photo in what it gives.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use aho_corasick::AhoCorasick;
use harness::{
    agent::{Agent, clip, wait_for, watch},
    broker::Broker,
    pole::{root, settings},
};
use milepost::{
    identity,
    outbox::{Kind, Outbox, Setup},
    sealing::{
        KeyId,
        erase::{RECEIPT_TYP, Receipt},
    },
};
use milepost_wire::{Event, PhotoKind, Read};
use serde_json::Value;

/// Reads that must be kept before the folder counts as used; the clip has 24 passes.
const READS: usize = 6;
/// Shorter texts come about by chance among millions of sealed bytes.
const MIN_TEXT_BYTES: usize = 5;
/// What a JPEG begins with.
const JPEG: [u8; 3] = [0xff, 0xd8, 0xff];
/// Length of the stretches of each photo that are searched for. The three bytes of [`JPEG`] alone come
/// about by chance, so they are looked for only where a file begins.
const STRETCH_BYTES: usize = 16;
/// Stays in an erased folder, empty.
const LOCK: &str = "lock";

/// Every file below a folder, and what it holds.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(folder: &Path) -> Files {
    let mut all = Files::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let content = fs::read(&path).unwrap();
            all.insert(path, content);
        }
    }
    all
}

/// The plates that are drawn in the clip.
fn drawn() -> BTreeSet<String> {
    let truth = fs::read(clip().with_file_name("truth.json")).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    let passes = truth["passes"].as_array().unwrap().iter();
    passes.map(|p| p["text"].as_str().unwrap().to_owned()).collect()
}

/// Every text by which a read's plate may be known.
fn texts(read: &Read) -> impl Iterator<Item = String> {
    let other = read.alternatives.iter().map(|a| a.text.clone());
    [read.plate_text.clone(), read.raw_text.clone()]
        .into_iter()
        .chain(other)
        .filter(|text| text.len() >= MIN_TEXT_BYTES)
}

/// Texts as any program might write them, and stretches of photos.
struct Search {
    names: Vec<String>,
    needles: AhoCorasick,
}

impl Search {
    fn new(texts: &BTreeSet<String>, photos: &[Vec<u8>]) -> Self {
        let mut needles = BTreeSet::new();
        for text in texts {
            let utf_16: Vec<u16> = text.encode_utf16().collect();
            needles.insert(text.clone().into_bytes());
            needles.insert(utf_16.iter().flat_map(|unit| unit.to_le_bytes()).collect());
            needles.insert(utf_16.iter().flat_map(|unit| unit.to_be_bytes()).collect());
        }
        for photo in photos {
            let last = photo.len() - STRETCH_BYTES;
            for at in [0, last / 4, last / 2, last * 3 / 4, last] {
                needles.insert(photo[at..at + STRETCH_BYTES].to_vec());
            }
        }
        let names = needles.iter().map(|n| n.escape_ascii().to_string()).collect();
        let needles = AhoCorasick::builder().ascii_case_insensitive(true).build(&needles).unwrap();
        Self { names, needles }
    }

    /// What is found in it.
    fn found(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let found = self.needles.find_overlapping_iter(bytes);
        found.map(|m| self.names[m.pattern().as_usize()].as_str()).collect()
    }
}

/// What the outbox holds, had with its key.
struct Held {
    reads: BTreeMap<String, Read>,
    bodies: Vec<Vec<u8>>,
    photos: Vec<Vec<u8>>,
}

fn unlock(folder: &Path) -> Held {
    let setup = Setup::plain(settings(folder), root().source(), Arc::default());
    let outbox = Outbox::open(setup).unwrap();
    let mut held = Held { reads: BTreeMap::new(), bodies: Vec::new(), photos: Vec::new() };
    for record in outbox.records(0, usize::MAX).unwrap() {
        if record.kind != Kind::Read {
            continue;
        }
        let event = Event::<Read>::from_json(&record.body).unwrap();
        held.reads.insert(record.id.to_string(), event.data);
        let photo = |kind| outbox.photo(record.id, kind).unwrap();
        held.photos.extend(PhotoKind::ALL.into_iter().filter_map(photo));
        held.bodies.push(record.body);
    }
    held
}

/// The reads that a server without receipts has seen.
fn arrived(watched: &Path) -> BTreeMap<String, Read> {
    let lines = fs::read_to_string(watched).unwrap();
    // The last line may be half written.
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|e| e["kind"] == "read")
        .map(|e| {
            let read: Read = serde_json::from_value(e["event"]["data"].clone()).unwrap();
            (read.read_id.to_string(), read)
        })
        .collect()
}

enum End {
    Stop,
    Kill,
}

fn a_used_and_locked_data_directory_shows_no_plate(end: End) {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let (watch, watched) = watch(folder.path(), &broker, &[]);
    // Everything that it and its libraries have to say.
    let talk = [("RUST_LOG", PathBuf::from("trace"))];
    let changes = [("# realtime = true", "realtime = false")];
    let mut agent = Agent::start_in(folder.path(), &broker, &changes, &talk);
    wait_for("reads that are kept and at the server", || {
        agent.metric("alpr_outbox_records") >= READS as f64 && arrived(&watched).len() >= READS
    });
    let pages = ["/", "/health", "/metrics", "/readyz", "/livez"].map(|p| agent.get(p)).concat();
    match end {
        End::Stop => assert!(agent.stop().success()),
        End::Kill => agent.kill(),
    }
    drop(watch);

    let outbox = folder.path().join("outbox");
    let locked = files(&outbox);
    let log = fs::read(&agent.log).unwrap();
    let arrived = arrived(&watched);

    // The control: all of it is there, and the search finds it.
    let held = unlock(folder.path());
    assert!(arrived.keys().all(|id| held.reads.contains_key(id)), "what arrived is still kept");
    let drawn = drawn();
    let right = held.reads.values().filter(|read| drawn.contains(&read.plate_text)).count();
    assert!(right >= READS - 1, "{right} of {} reads are plates of the clip", held.reads.len());
    assert_eq!(held.photos.len(), 2 * held.reads.len());
    let known = held.reads.values().chain(arrived.values()).flat_map(texts);
    let search = Search::new(&known.chain(drawn).collect(), &held.photos);
    for body in &held.bodies {
        assert!(!search.found(body).is_empty(), "the search finds no plate in an open record");
    }
    for photo in &held.photos {
        assert!(photo.starts_with(&JPEG) && !search.found(photo).is_empty(), "nor a photo");
    }

    let sealed: usize = locked.values().map(Vec::len).sum();
    let open: usize = held.bodies.iter().chain(&held.photos).map(Vec::len).sum();
    assert!(sealed > open, "{sealed} bytes can't hold {open}");
    println!(
        "{} reads, {} files of {sealed} bytes, {} needles",
        held.reads.len(),
        locked.len(),
        search.names.len()
    );
    for (path, content) in &locked {
        assert_eq!(search.found(content), BTreeSet::new(), "in {}", path.display());
        assert!(!content.starts_with(&JPEG), "{} is a photo", path.display());
    }
    assert!(String::from_utf8_lossy(&log).contains("TRACE"), "the log says little");
    assert_eq!(search.found(&log), BTreeSet::new(), "in the log");
    assert_eq!(search.found(pages.as_bytes()), BTreeSet::new(), "on the local pages");

    erase(folder.path(), &broker, &locked);
}

/// Erases the folder that held `locked`.
fn erase(folder: &Path, broker: &Broker, locked: &Files) {
    let receipt = folder.join("erased.jws");
    let erased = Command::new(harness::milepost())
        .args([Path::new("erase"), Path::new("--config"), &folder.join("milepost.toml")])
        .args(["--yes", "--by", "R. Ortiz", "--reason", "pole taken down"])
        .args([Path::new("--receipt"), &receipt])
        .output()
        .unwrap();
    assert!(erased.status.success(), "{erased:?}");

    let roots = identity::certificates("ca_file", &broker.files("server").ca).unwrap();
    let token = fs::read_to_string(&receipt).unwrap();
    let now = jiff::Timestamp::now();
    let said = identity::verify_jws::<Receipt>(token.trim(), RECEIPT_TYP, &roots, now).unwrap();
    let own = identity::certificates("certificate_file", &broker.files("pole").certificate);
    assert_eq!(said.certificate, own.unwrap()[0].as_ref(), "signed by another");
    let said = said.payload;
    assert!(said.is_complete(), "{said:?}");
    assert_eq!((&said.source, said.by.as_str()), (&root().source().to_string(), "R. Ortiz"));
    let stems = locked.keys().filter_map(|path| path.file_stem()?.to_str());
    let keys: BTreeSet<&str> = stems.filter(|stem| stem.parse::<KeyId>().is_ok()).collect();
    let destroyed: BTreeSet<&str> = said.keys_destroyed.iter().map(String::as_str).collect();
    assert!(!keys.is_empty() && keys.is_subset(&destroyed), "{keys:?}, destroyed {destroyed:?}");
    assert!(said.photos as usize >= 2 * READS && said.store_files > 0, "{said:?}");

    let left = files(&folder.join("outbox"));
    assert_eq!(left, Files::from([(folder.join("outbox").join(LOCK), Vec::new())]));
}

#[test]
fn a_stopped_poles_data_show_no_plate() {
    a_used_and_locked_data_directory_shows_no_plate(End::Stop);
}

#[test]
fn the_data_of_a_pole_killed_in_mid_work_show_no_plate() {
    a_used_and_locked_data_directory_shows_no_plate(End::Kill);
}
