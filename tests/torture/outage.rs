//! Three days without a server at two vehicles a second, and then a server: everything drains in
//! order while new reads go by it, within its caps and without growing.
//!
//! The clock of the three days is injected: the times of the records and the pole's own time (its
//! hourly data keys and manifests) span them. Filling is as fast as it goes, on a disk in memory where
//! that can be had: this row is about volume. Photos are small, and capped so that some must be given
//! up.

use std::{
    collections::BTreeSet,
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use harness::broker::Broker;
use milepost::uplink::{
    central::{Seen, Summary},
    viewer::{self, Notice},
};
use milepost_wire::{Evicted, LedgerEvent};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    context::{Context, RowName},
    disk::MemoryDisk,
    pole::{self, Options, Process},
    table::Row,
};

const HOURS: u32 = 72;
/// Reads a second, in the outage and while draining.
const RATE: u64 = 2;
const PHOTO_BYTES: usize = 600;
/// One read of the backlog in so many has photos.
const PHOTOS_EVERY: u64 = 4;
/// Photos of one read in bytes; the cap is half of what all would need.
const READ_PHOTO_BYTES: u64 = 708;
/// Reads whose photos may be on the disk beyond the cap for the time of a commit: a group that is
/// being written, and one that is being deleted.
const COMMIT: u64 = 128;
/// Reads kept while draining must be at the server so soon.
const LIVE_LIMIT: Duration = Duration::from_secs(2);
/// Memory may grow or shrink by so much of what it was when the draining began.
const MEMORY_SHARE: f64 = 0.10;
/// From so many reads on memory is judged.
const LARGE: u64 = 100_000;
/// Filling and draining must make so much progress in so long.
const STALL: Duration = Duration::from_secs(90);
/// How often disk and memory are measured.
const LOOK: Duration = Duration::from_millis(500);
/// In so much of this machine's time the outbox has looked after itself, and signed what was due.
const UPKEEP: Duration = Duration::from_secs(30);
/// The first of the draining, in which memory finds its level.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Log {
    seen: BTreeSet<Uuid>,
    last: u64,
    out_of_order: u64,
    backlog: u64,
    live: Vec<Duration>,
    photos_given_up: u64,
    manifests: u64,
    connected: bool,
}

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Outage.fault());
    let reads = u64::from(context.runs(RowName::Outage));
    let folder = context.folder(RowName::Outage, "0");
    let broker = Broker::start(&folder, "");
    let cap = reads / PHOTOS_EVERY * READ_PHOTO_BYTES / 2;
    let memory_disk =
        context.own_mounts.then(|| MemoryDisk::new(&folder.join("disk")).ok()).flatten();
    let options = Options {
        directory: folder.join("disk/outbox"),
        broker: broker.address().to_string(),
        pki: folder.join("pki"),
        fill: reads,
        hours: HOURS,
        photo_bytes: PHOTO_BYTES,
        photos_every: PHOTOS_EVERY,
        max_photo_bytes: cap,
        rate: RATE,
        resend_after_s: 30,
    };
    let mut process = Process::start(&options, &folder.join("pole.log"));
    let started = Instant::now();
    let mut disk = Disk::default();
    while process.state().filled.is_none() && !process.state().ended {
        std::thread::sleep(LOOK);
        disk.measure(&options.directory);
    }
    if process.state().ended {
        row.fail(format!("the pole ended while it was filled; see {}", folder.display()));
        return row;
    }
    let fill = started.elapsed();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let log: Arc<Mutex<Log>> = Arc::default();
    let stop = CancellationToken::new();
    let filled = process.state().filled.map_or(0, |f| f.1);
    let keys = keys(&options.directory);
    let serving = serve(broker_options(&broker), log.clone(), stop.clone(), filled);
    let server = runtime.spawn(serving);
    let connected = || log.lock().unwrap_or_else(PoisonError::into_inner).connected;
    while !connected() && started.elapsed() < fill + STALL {
        std::thread::sleep(SETTLE / 100);
    }
    process.go();
    let drain = Instant::now();
    let mut memory: Vec<u64> = Vec::new();
    let (mut left, mut moved) = (u64::MAX, Instant::now());
    // Live reads come and go: a handful may always be waiting.
    let (mut all, few) = (false, RATE * 10);
    while !all && moved.elapsed() < STALL {
        std::thread::sleep(LOOK);
        disk.measure(&options.directory);
        let state = process.state();
        if drain.elapsed() > SETTLE && state.waiting > few {
            memory.push(process.resident_kb());
        }
        if state.waiting < left {
            (left, moved) = (state.waiting, Instant::now());
        }
        all = state.waiting <= few;
    }
    let drained = drain.elapsed();
    let max_bytes = pole::settings(&options).max_bytes;
    let state = process.state();
    drop(process);
    std::thread::sleep(Duration::from_secs(1));
    stop.cancel();
    let summary = runtime.block_on(server).expect("no panic").expect("nothing to save");
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    row.runs = 1;
    judge(
        &mut row,
        &Drained {
            reads,
            all,
            left: state.waiting,
            cap,
            keys,
            took: fill + drained,
            max_bytes,
            word: state.word,
        },
        &log,
        &summary,
        &memory,
        &disk,
    );
    let late = log.live.iter().max().copied().unwrap_or_default();
    row.held = vec![
        format!(
            "{reads} reads filled in {:.0} s, {} of backlog arrived",
            fill.as_secs_f64(),
            log.backlog
        ),
        format!(
            "drained in {:.0} s, {:.0} reads/s",
            drained.as_secs_f64(),
            log.backlog as f64 / drained.as_secs_f64()
        ),
        format!("{} live reads meanwhile", log.live.len()),
        format!("photos of {} reads given up, on the ledger", log.photos_given_up),
        format!("{keys} data keys in {HOURS} h, {} manifests", log.manifests),
    ];
    let (low, high) = (memory.iter().min().unwrap_or(&0), memory.iter().max().unwrap_or(&0));
    row.worst = vec![
        format!("live read {:.1} s", late.as_secs_f64()),
        format!(
            "photos {:.1} of {:.1} MB, whole folder {:.1} MB",
            mb(disk.photos),
            mb(cap),
            mb(disk.all)
        ),
        format!("RSS {} to {} MB in {} looks", low / 1024, high / 1024, memory.len()),
    ];
    drop(memory_disk);
    context.close(&folder, row.failures.is_empty());
    row
}

/// Data keys that were made.
fn keys(outbox: &Path) -> usize {
    let entries = fs::read_dir(outbox.join("sealing")).into_iter().flatten().map_while(Result::ok);
    entries.filter(|e| e.path().extension().is_some_and(|e| e == "key")).count()
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

struct Drained {
    reads: u64,
    all: bool,
    left: u64,
    cap: u64,
    keys: usize,
    took: Duration,
    max_bytes: u64,
    word: String,
}

fn judge(
    row: &mut Row,
    drained: &Drained,
    log: &Log,
    summary: &Summary,
    memory: &[u64],
    disk: &Disk,
) {
    if !drained.all {
        row.fail(format!(
            "{} were still there after {} s without progress; says: {}",
            drained.left,
            STALL.as_secs(),
            drained.word
        ));
    }
    if log.backlog != drained.reads {
        row.fail(format!("{} reads of the backlog came of {}", log.backlog, drained.reads));
    }
    if log.out_of_order > 0 {
        row.fail(format!("{} reads of the backlog came before an older one", log.out_of_order));
    }
    if summary.gaps + summary.bad + summary.bad_photos > 0 {
        row.fail(format!("{summary:?}"));
    }
    let late = log.live.iter().filter(|t| **t > LIVE_LIMIT).count();
    if late > 0 || log.live.is_empty() {
        row.fail(format!(
            "{late} of {} live reads took longer than {} s",
            log.live.len(),
            LIVE_LIMIT.as_secs()
        ));
    }
    if disk.photos > drained.cap + COMMIT * READ_PHOTO_BYTES {
        row.fail(format!("{} bytes of photos, the cap is {}", disk.photos, drained.cap));
    }
    if drained.keys < HOURS as usize {
        row.fail(format!("{} data keys: no {HOURS} h went by", drained.keys));
    }
    if drained.took > UPKEEP && log.manifests == 0 {
        row.fail("no manifest of all this");
    }
    if log.photos_given_up == 0 {
        row.fail("no photo was given up: the cap was not reached");
    }
    let range = (memory.first(), memory.iter().min(), memory.iter().max());
    if range.0.is_none() {
        row.fail("its memory was not looked at");
    }
    if disk.all > drained.max_bytes {
        row.fail(format!("{} bytes on the disk, the cap is {}", disk.all, drained.max_bytes));
    }
    if let (Some(first), Some(low), Some(high)) = range {
        let share = |kb: &u64| (*kb as f64 / *first as f64 - 1.0).abs();
        // Of a small store the first seconds of an uplink weigh more than all the rest.
        if drained.reads >= LARGE && share(low).max(share(high)) > MEMORY_SHARE {
            row.fail(format!("RSS {low} to {high} kB, {first} kB when the draining began"));
        }
    }
}

fn broker_options(broker: &Broker) -> viewer::Options {
    viewer::Options {
        broker: broker.address(),
        files: broker.files("server"),
        agency: None,
        site: None,
        camera: None,
        receipts: true,
        save_evidence: None,
        pole_ca: None,
        lists: None,
    }
}

async fn serve(
    options: viewer::Options,
    log: Arc<Mutex<Log>>,
    stop: CancellationToken,
    filled: u64,
) -> std::io::Result<Summary> {
    let began = jiff::Timestamp::now();
    let on = move |notice: Notice<'_>, _: &Summary| {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        match notice {
            Notice::Connected => log.connected = true,
            Notice::Seen(Seen::Read { event, .. }) if log.seen.insert(event.id) => {
                let sequence = event.ledger().map_or(0, |l| l.sequence);
                if sequence > filled {
                    // One kept before there was a server has waited for it.
                    let since = event.data.captured_at.max(began);
                    let age = jiff::Timestamp::now().duration_since(since);
                    log.live.push(age.unsigned_abs());
                } else {
                    log.backlog += 1;
                    // The last minutes before the server came are live still, and go first.
                    if event.historical == Some(true) {
                        log.out_of_order += u64::from(sequence < log.last);
                        log.last = log.last.max(sequence);
                    }
                }
            }
            Notice::Seen(Seen::Ledger { event, duplicate: false }) => match &**event {
                LedgerEvent::Eviction(e) if e.data.evicted == Evicted::Photos => {
                    log.photos_given_up += e.data.records;
                }
                LedgerEvent::Manifest(_) => log.manifests += 1,
                _ => {}
            },
            _ => {}
        }
        ControlFlow::Continue(())
    };
    viewer::view(&options, &stop, on).await
}

/// The most that lay on the disk.
#[derive(Debug, Default)]
struct Disk {
    photos: u64,
    all: u64,
}

impl Disk {
    fn measure(&mut self, outbox: &Path) {
        let photos = size(&outbox.join("photos"));
        self.photos = self.photos.max(photos);
        self.all = self.all.max(size(outbox));
    }
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
    // Names first: a listing that stops at each file is overtaken by what is written meanwhile, and
    // counts what is long deleted. A file that has gone since counts as nothing, and each once: tmpfs begins
    // a listing again where it had come to was deleted meanwhile (seen with Linux 6.18).
    let paths: BTreeSet<_> = entries.map(|e| e.path()).collect();
    paths
        .iter()
        .map(|path| match fs::symlink_metadata(path) {
            Ok(m) if m.is_dir() => size(path),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}
