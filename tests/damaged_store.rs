//! Promise: a damaged store is opened and read in a process of its own, whatever that process does, and
//! what can be read of it comes over.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use harness::{
    agent::wait_for,
    milepost,
    pole::{read, root, settings},
};
use milepost::{
    health::{Component, Health, Status},
    outbox::{Kind, Outbox, Setup},
};
use milepost_wire::{Event, PhotoKind, Salvage};
use uuid::Uuid;

const RECORDS: usize = 40;
/// The pole must be running again so soon after damage.
const RUNNING: Duration = Duration::from_secs(10);

struct Scene {
    folder: tempfile::TempDir,
    ids: Vec<Uuid>,
}

impl Scene {
    /// An outbox with records whose mark is spoilt: whether it has gone back can't be told.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(folder.path(), None, &Arc::default());
        let photos = [(PhotoKind::Plate, 100)];
        let ids: Vec<_> = (0..RECORDS).map(|_| Uuid::now_v7()).collect();
        for id in &ids {
            outbox.keep(read(*id, jiff::Timestamp::now(), &photos, 1)).unwrap();
        }
        drop(outbox);
        fs::write(folder.path().join("outbox/store.mark"), b"no mark").unwrap();
        Self { folder, ids }
    }

    /// A program that stands in for the agent's own.
    fn program(&self, script: &str) -> PathBuf {
        let (text, path) = (self.folder.path().join("script"), self.folder.path().join("program"));
        fs::write(&text, format!("#!/bin/sh\nreal={}\n{script}\n", milepost().display())).unwrap();
        // By another process: a program that this one has open for writing, in a fork of another test
        // too, can't be started.
        let copied = Command::new("install").args(["-m", "755"]).args([&text, &path]).status();
        assert!(copied.unwrap().success());
        path
    }

    /// Opens it with a program; it must be running soon, and say that the store was set aside.
    fn open_damaged(&self, program: PathBuf) -> Outbox {
        let health: Arc<Health> = Arc::default();
        let begun = Instant::now();
        let outbox = open(self.folder.path(), Some(program), &health);
        outbox.keep(read(Uuid::now_v7(), jiff::Timestamp::now(), &[], 1)).unwrap();
        assert!(begun.elapsed() < RUNNING, "{:?}", begun.elapsed());
        let check = health.checks()[&Component::Outbox].clone();
        assert!(check.status == Status::Warn && check.output.contains("set aside"), "{check:?}");
        outbox
    }

    /// With the agent's own program everything comes over.
    fn is_salvaged_at_the_next_start(&self, outbox: Outbox) {
        drop(outbox);
        let outbox = open(self.folder.path(), Some(milepost()), &Arc::default());
        wait_for("the salvage", || !salvages(&outbox).is_empty());
        assert_eq!(self.there(&outbox), RECORDS);
    }

    /// How many of the records are there, with their photos.
    fn there(&self, outbox: &Outbox) -> usize {
        let whole = |id: &&Uuid| {
            outbox.sequence_of(**id).unwrap().is_some()
                && outbox.photo(**id, PhotoKind::Plate).unwrap().is_some()
        };
        self.ids.iter().filter(whole).count()
    }
}

fn open(folder: &Path, program: Option<PathBuf>, health: &Arc<Health>) -> Outbox {
    let plain = Setup::plain(settings(folder), root().source(), health.clone());
    Outbox::open(Setup { program, ..plain }).unwrap()
}

fn salvages(outbox: &Outbox) -> Vec<Salvage> {
    let records = outbox.records(0, 10_000).unwrap().into_iter();
    let ledger = records.filter(|r| r.kind == Kind::Ledger);
    ledger.filter_map(|r| Some(Event::<Salvage>::from_json(&r.body).ok()?.data)).collect()
}

#[test]
fn every_record_comes_over_through_a_process_of_its_own() {
    let scene = Scene::new();
    let outbox = scene.open_damaged(milepost());
    wait_for("the salvage", || !salvages(&outbox).is_empty());
    let salvage = salvages(&outbox).remove(0);
    assert!(salvage.complete && salvage.failed == 0, "{salvage:?}");
    assert_eq!(scene.there(&outbox), RECORDS);
}

#[test]
fn what_a_salvage_that_dies_half_way_has_handed_over_stays_and_it_is_called_incomplete() {
    let scene = Scene::new();
    // Some whole records and a piece of one.
    let half = scene.program("\"$real\" \"$@\" | head -c 30000");
    let outbox = scene.open_damaged(half);
    wait_for("the salvage", || !salvages(&outbox).is_empty());
    assert!(!salvages(&outbox)[0].complete);
    let there = scene.there(&outbox);
    assert!((1..RECORDS).contains(&there), "{there}");
}

#[test]
fn a_look_at_the_store_that_hangs_is_ended_and_the_next_start_salvages() {
    let scene = Scene::new();
    let outbox = scene.open_damaged(scene.program("exec sleep 100"));
    thread::sleep(Duration::from_millis(200));
    assert!(salvages(&outbox).is_empty(), "its salvage hangs as well");
    scene.is_salvaged_at_the_next_start(outbox);
}

#[test]
fn a_salvage_that_can_not_begin_leaves_everything_for_the_next_start() {
    let scene = Scene::new();
    // Good for one look, then gone.
    let once = scene.program("rm -- \"$0\"; exec \"$real\" \"$@\"");
    let outbox = scene.open_damaged(once);
    thread::sleep(Duration::from_millis(500));
    assert!(salvages(&outbox).is_empty());
    scene.is_salvaged_at_the_next_start(outbox);
}
