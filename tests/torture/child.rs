//! The child: an outbox under load in a process of its own, to be killed at any moment.
//!
//! It says what is in the outbox, then keeps reads with photos from several threads as fast as it
//! goes and deletes the oldest as delivered, and says each step before or after it is done (see
//! [`Line`]).

use std::{
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use harness::pole::root;
use milepost::{
    config,
    digest::sha256_hex,
    health::{Component, Health},
    outbox::{Entry, Kind, Outbox, Record, Setup},
};
use milepost_wire::{Event, Evicted, Eviction, Header, PhotoKind, Read};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use crate::{
    line::{Line, Photo},
    no_fsync,
};

/// Records read at a time.
const SCAN: usize = 256;
/// Most numbers in one `drop` line.
const DROPS: usize = 20;
/// Pause after a refusal, before the same record is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// A clock that moves so far between two looks was set.
const JUMP_S: u64 = 60;
/// Longest that a salvage of these small stores may take.
const SALVAGE: Duration = Duration::from_secs(20);
/// Of what stays in these small stores, most stands in blocks, as in the large ones of the outage.
const STANDING_ALONE: u64 = 20;
/// How often the component's word is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What the child does.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The outbox's folder.
    #[arg(long)]
    pub directory: PathBuf,
    /// Threads that keep; 0: only look.
    #[arg(long, default_value_t = 3)]
    pub threads: u32,
    /// Records that each keeps; 0: without end.
    #[arg(long, default_value_t = 0)]
    pub keeps: u32,
    /// About the size of the larger photo.
    #[arg(long, default_value_t = 3000)]
    pub photo_bytes: usize,
    /// Delete as delivered what is over this many; 0: nothing.
    #[arg(long, default_value_t = 150)]
    pub stay: u64,
    /// `outbox.max_records`.
    #[arg(long, default_value_t = 100_000)]
    pub max_records: u64,
    /// `outbox.max_photo_bytes`.
    #[arg(long, default_value_t = 1 << 30)]
    pub max_photo_bytes: u64,
    /// The store is copied into a fresh one at each start.
    #[arg(long)]
    pub rotate: bool,
    /// Milliseconds between two records of a thread.
    #[arg(long, default_value_t = 0)]
    pub pause_ms: u64,
    /// What the sizes are chosen from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Control: no fsync reaches the kernel.
    #[arg(long)]
    pub no_fsync: bool,
    /// Control: it hangs before it opens.
    #[arg(long)]
    pub hang: bool,
    /// Control: a record is acknowledged before it is kept.
    #[arg(long)]
    pub acknowledge_early: bool,
}

impl Options {
    /// The usual load on a folder.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            threads: 3,
            keeps: 0,
            photo_bytes: 3000,
            stay: 150,
            max_records: 100_000,
            max_photo_bytes: 1 << 30,
            rotate: false,
            pause_ms: 0,
            seed: 1,
            no_fsync: false,
            hang: false,
            acknowledge_early: false,
        }
    }

    /// As arguments of the hidden verb.
    pub fn arguments(&self) -> Vec<String> {
        let Self { directory, threads, keeps, photo_bytes, stay, .. } = self;
        let Self { max_records, max_photo_bytes, pause_ms, seed, .. } = self;
        let mut arguments: Vec<String> = vec![
            "child".into(),
            format!("--directory={}", directory.display()),
            format!("--threads={threads}"),
            format!("--keeps={keeps}"),
            format!("--photo-bytes={photo_bytes}"),
            format!("--stay={stay}"),
            format!("--max-records={max_records}"),
            format!("--max-photo-bytes={max_photo_bytes}"),
            format!("--pause-ms={pause_ms}"),
            format!("--seed={seed}"),
        ];
        arguments.extend(self.rotate.then(|| "--rotate".into()));
        arguments.extend(self.no_fsync.then(|| "--no-fsync".into()));
        arguments.extend(self.hang.then(|| "--hang".into()));
        arguments.extend(self.acknowledge_early.then(|| "--acknowledge-early".into()));
        arguments
    }
}

/// The settings of an outbox in a folder; new keys have the default configuration's values.
pub fn settings(options: &Options) -> config::Outbox {
    let mut outbox = config::Config::embedded().expect("the embedded configuration").outbox;
    outbox.directory = options.directory.clone();
    outbox.max_records = options.max_records;
    outbox.max_photo_bytes = options.max_photo_bytes;
    outbox
}

/// What it is opened with as the agent does: in a process of its own first.
pub fn setup(settings: config::Outbox, health: &Arc<Health>) -> Setup {
    let plain = Setup::plain(settings, root().source(), health.clone());
    Setup { program: Some(harness::milepost()), ..plain }
}

/// Says a line at once. `Break` where nobody listens any more.
fn say(line: &Line) -> ControlFlow<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
    if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// The hidden verb.
pub fn run(options: &Options) -> ExitCode {
    if options.no_fsync {
        no_fsync::begin();
    }
    if options.hang {
        loop {
            thread::park();
        }
    }
    let health: Arc<Health> = Arc::default();
    let started = Instant::now();
    let mut setup = setup(settings(options), &health);
    setup.thresholds.standing_alone = STANDING_ALONE;
    if options.rotate {
        setup.thresholds.compact_bytes = 1;
    }
    let outbox = match Outbox::open(setup) {
        Ok(outbox) => outbox,
        Err(error) => {
            let _ = say(&Line::NotOpened(error.to_string()));
            return ExitCode::FAILURE;
        }
    };
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    await_salvage(&options.directory);
    // What can't be read is given up when it is met: first met, then looked at.
    for record in outbox.records(0, usize::MAX).unwrap_or_default() {
        photos(&outbox, &record);
    }
    let position = outbox.position();
    let _ = say(&Line::Opened { ms, epoch: position.epoch, last: position.last_sequence });
    thread::spawn({
        let health = health.clone();
        move || watch(&health)
    });
    if let Err(error) = inventory(&outbox, options) {
        let _ = say(&Line::NotOpened(error));
        return ExitCode::FAILURE;
    }
    let _ = say(&Line::Ready);
    load(&outbox, options);
    // The watcher's last word, before the end.
    thread::sleep(LOOK * 3);
    let _ = say(&Line::Done);
    ExitCode::SUCCESS
}

/// What is there of a store that was set aside comes over within a moment.
fn await_salvage(directory: &Path) {
    let under_way = || {
        let entries = std::fs::read_dir(directory).into_iter().flatten().map_while(Result::ok);
        let mut asides = entries.filter(|e| e.file_name().to_string_lossy().contains(".damaged-"));
        asides.any(|a| a.path().join("db").exists() && !a.path().join("salvaged").exists())
    };
    let until = Instant::now() + SALVAGE;
    let any = under_way();
    while under_way() && Instant::now() < until {
        thread::sleep(LOOK);
    }
    if any {
        // Photos whose records did not come go last.
        thread::sleep(Duration::from_millis(300));
    }
}

fn watch(health: &Health) {
    let mut last = None;
    let mut clock = i64::MIN;
    loop {
        let now = jiff::Timestamp::now().as_second();
        if clock == i64::MIN || now.abs_diff(clock) > JUMP_S {
            let _ = say(&Line::Clock(now));
        }
        clock = now;
        let check = health.checks()[&Component::Outbox].clone();
        let now = (check.status, check.output);
        // The writer says its first word from a thread of its own.
        if last.as_ref() != Some(&now) && now.1 != "not started" {
            let status = match now.0 {
                milepost::health::Status::Pass => "pass",
                milepost::health::Status::Warn => "warn",
                milepost::health::Status::Fail => "fail",
            };
            let line = Line::Health { status: status.into(), text: now.1.clone() };
            if say(&line).is_break() {
                return;
            }
            last = Some(now);
        }
        thread::sleep(LOOK);
    }
}

fn inventory(outbox: &Outbox, options: &Options) -> Result<(), String> {
    let (mut next, mut named) = (0, 0_u64);
    loop {
        let records = outbox.records(next, SCAN).map_err(|e| e.to_string())?;
        let Some(last) = records.last() else { break };
        next = last.sequence + 1;
        for record in &records {
            given_up(record);
            let photos = photos(outbox, record);
            let there =
                |p: &&(PhotoKind, Photo)| matches!(p.1, Photo::Right | Photo::Wrong | Photo::Error);
            named += photos.iter().filter(there).count() as u64;
            let read = record.kind == Kind::Read;
            let _ = say(&Line::Have { sequence: record.sequence, id: record.id, read, photos });
            if record.kind == Kind::Ledger
                && let Ok(header) = Header::from_json(&record.body)
            {
                let _ = say(&Line::Entry { id: record.id, event: header.kind });
            }
        }
    }
    let files = std::fs::read_dir(options.directory.join("photos")).map_or(0, Iterator::count);
    let _ = say(&Line::Orphans((files as u64).saturating_sub(named)));
    Ok(())
}

/// Says what a ledger entry says was given up.
fn given_up(record: &Record) {
    if record.kind != Kind::Ledger {
        return;
    }
    if let Ok(event) = Event::<Eviction>::from_json(&record.body) {
        let photos_only = event.data.evicted == Evicted::Photos;
        let _ = say(&Line::Gone { photos_only, ranges: event.data.sequences });
    }
}

fn photos(outbox: &Outbox, record: &Record) -> Vec<(PhotoKind, Photo)> {
    let Ok(event) = Event::<Read>::from_json(&record.body) else { return Vec::new() };
    let kinds = PhotoKind::ALL.into_iter();
    kinds
        .filter_map(|kind| {
            let info = event.data.evidence.photo(kind)?;
            let counted = record.photos.iter().any(|p| p.kind == kind);
            let photo = match outbox.photo(record.id, kind) {
                _ if !counted => Photo::GivenUp,
                Ok(Some(jpeg)) if sha256_hex(&jpeg) == info.sha256 => Photo::Right,
                Ok(Some(_)) => Photo::Wrong,
                Ok(None) => Photo::Missing,
                Err(_) => Photo::Error,
            };
            Some((kind, photo))
        })
        .collect()
}

fn load(outbox: &Outbox, options: &Options) {
    let working = AtomicU32::new(options.threads);
    thread::scope(|scope| {
        for n in 0..options.threads {
            let working = &working;
            scope.spawn(move || {
                let _ = keep(outbox, options, options.seed ^ u64::from(n) << 32);
                working.fetch_sub(1, Ordering::Relaxed);
            });
        }
        if options.stay > 0 {
            while working.load(Ordering::Relaxed) > 0 && deliver(outbox, options.stay).is_continue()
            {
                thread::sleep(Duration::from_millis(10));
            }
        }
    });
}

fn keep(outbox: &Outbox, options: &Options, seed: u64) -> ControlFlow<()> {
    let mut choices = StdRng::seed_from_u64(seed);
    let mut n = 0;
    while options.keeps == 0 || n < options.keeps {
        n += 1;
        let bytes = choices.random_range(options.photo_bytes / 2..=options.photo_bytes);
        let id = Uuid::now_v7();
        say(&Line::Try(id))?;
        if options.acknowledge_early {
            say(&Line::Kept { sequence: outbox.position().last_sequence + 1, id })?;
        }
        loop {
            match outbox.keep(read(id, jiff::Timestamp::now(), bytes)) {
                Ok(_) if options.acknowledge_early => break,
                Ok(sequence) => {
                    say(&Line::Kept { sequence, id })?;
                    break;
                }
                Err(error) => say(&Line::Refused { id, why: error.to_string() })?,
            }
            thread::sleep(RETRY);
        }
        thread::sleep(Duration::from_millis(options.pause_ms));
    }
    ControlFlow::Continue(())
}

/// Deletes the oldest beyond `stay`, as an uplink would for receipts.
fn deliver(outbox: &Outbox, stay: u64) -> ControlFlow<()> {
    let over = usize::try_from(outbox.len().saturating_sub(stay)).unwrap_or(DROPS).min(DROPS);
    let records = match outbox.records(0, over) {
        Ok(records) if !records.is_empty() => records,
        _ => return ControlFlow::Continue(()),
    };
    records.iter().for_each(given_up);
    let sequences: Vec<u64> = records.iter().map(|r| r.sequence).collect();
    say(&Line::Drop(sequences.clone()))?;
    // Refused, they are tried again.
    let _ = outbox.delivered(sequences);
    ControlFlow::Continue(())
}

/// A made-up read with two photos of about the given size; without any where that is 0.
pub fn read(id: Uuid, captured_at: jiff::Timestamp, photo_bytes: usize) -> Entry {
    let photos = [(PhotoKind::Plate, photo_bytes / 8 + 1), (PhotoKind::Context, photo_bytes)];
    let photos = if photo_bytes == 0 { &[] } else { &photos[..] };
    harness::pole::read(id, captured_at, photos, 1)
}
