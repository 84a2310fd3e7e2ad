//! The process that is measured: an outbox, and its uplink where the task has one. It does one task and
//! prints what it measured as JSON.

use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Subcommand;
use harness::pole::{Pole, pole, read, root, settings};
use jiff::{SignedDuration, Timestamp};
use milepost::{
    config,
    outbox::{Outbox, Setup},
};
use milepost_wire::PhotoKind;
use serde_json::{Value, json};
use uuid::Uuid;

/// Sizes of a read's photos, like those of the demo clip.
pub const CLOSE_UP_BYTES: usize = 8_000;
pub const CONTEXT_BYTES: usize = 120_000;
/// A backlog is so old: past the live window.
const BACKLOG_AGE: SignedDuration = SignedDuration::from_hours(1);
/// Threads that fill: they share a commit's fsync.
const FILLERS: u64 = 48;
/// How often it is looked whether a record has its receipt: what the times are exact to.
const LOOK: Duration = Duration::from_millis(2);
/// A file takes whole blocks.
const BLOCK_BYTES: u64 = 4096;

/// What it does.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Folder of the outbox's.
    #[arg(long)]
    pub directory: PathBuf,
    /// `host:port`.
    #[arg(long)]
    pub broker: String,
    /// Folder of `ca.crt`, `pole.crt` and `pole.key`.
    #[arg(long)]
    pub pki: PathBuf,
    /// Each read has its two photos.
    #[arg(long)]
    pub photos: bool,
    /// Its task.
    #[command(subcommand)]
    pub task: Task,
}

/// What is measured.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Task {
    /// Reads kept as fast as it goes.
    Keep {
        /// Threads.
        #[arg(long)]
        keepers: u64,
        /// How long.
        #[arg(long)]
        seconds: f64,
    },
    /// Nothing: a backlog is made.
    Fill {
        /// How many.
        #[arg(long)]
        reads: u64,
    },
    /// A backlog goes out until it has all its receipts.
    Drain,
    /// Reads at a steady rate.
    Steady {
        /// How many.
        #[arg(long)]
        reads: u64,
        /// How many a second.
        #[arg(long)]
        per_s: u64,
    },
}

impl Options {
    /// As a command line.
    pub fn arguments(&self) -> Vec<String> {
        let mut line = vec![
            "pole".into(),
            format!("--directory={}", self.directory.display()),
            format!("--broker={}", self.broker),
            format!("--pki={}", self.pki.display()),
        ];
        line.extend(self.photos.then(|| "--photos".into()));
        match self.task {
            Task::Keep { keepers, seconds } => line.extend([
                "keep".into(),
                format!("--keepers={keepers}"),
                format!("--seconds={seconds}"),
            ]),
            Task::Fill { reads } => line.extend(["fill".into(), format!("--reads={reads}")]),
            Task::Drain => line.push("drain".into()),
            Task::Steady { reads, per_s } => line.extend([
                "steady".into(),
                format!("--reads={reads}"),
                format!("--per-s={per_s}"),
            ]),
        }
        line
    }

    fn keep(&self, outbox: &Outbox, id: Uuid, captured_at: Timestamp) {
        let photos = [(PhotoKind::Plate, CLOSE_UP_BYTES), (PhotoKind::Context, CONTEXT_BYTES)];
        let photos = if self.photos { &photos[..] } else { &[] };
        outbox.keep(read(id, captured_at, photos, 0)).expect("kept");
    }

    fn outbox(&self) -> Outbox {
        let settings = settings(&self.directory);
        Outbox::open(Setup::plain(settings, root().source(), std::sync::Arc::default()))
            .expect("the outbox opens")
    }

    fn uplink(&self) -> config::Uplink {
        let embedded = config::Config::embedded().expect("the embedded configuration").uplink;
        config::Uplink {
            broker: self.broker.clone(),
            ca_file: self.pki.join("ca.crt"),
            certificate_file: self.pki.join("pole.crt"),
            key_file: self.pki.join("pole.key"),
            ..embedded
        }
    }
}

/// The hidden verb.
pub fn run(options: &Options) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let measured = match options.task {
        Task::Keep { keepers, seconds } => keep(options, keepers, seconds),
        Task::Fill { reads } => fill(options, reads),
        Task::Drain => drain(&pole(&options.directory, options.uplink())),
        Task::Steady { reads, per_s } => {
            steady(options, &pole(&options.directory, options.uplink()), reads, per_s)
        }
    };
    println!("{measured}");
}

fn keep(options: &Options, keepers: u64, seconds: f64) -> Value {
    let (outbox, kept) = (options.outbox(), AtomicU64::new(0));
    let (start, time) = (Instant::now(), Duration::from_secs_f64(seconds));
    thread::scope(|scope| {
        for _ in 0..keepers {
            scope.spawn(|| {
                while start.elapsed() < time {
                    options.keep(&outbox, Uuid::now_v7(), Timestamp::now());
                    kept.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    json!({ "per_s": kept.into_inner() as f64 / start.elapsed().as_secs_f64() })
}

fn fill(options: &Options, reads: u64) -> Value {
    let (outbox, next) = (options.outbox(), AtomicU64::new(0));
    let at = Timestamp::now() - BACKLOG_AGE;
    thread::scope(|scope| {
        for _ in 0..FILLERS.min(reads) {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < reads {
                    options.keep(&outbox, Uuid::now_v7(), at);
                }
            });
        }
    });
    json!({ "reads": reads })
}

fn drain(pole: &Pole) -> Value {
    let (start, records) = (Instant::now(), pole.outbox.len());
    while !pole.outbox.is_empty() {
        thread::sleep(LOOK);
    }
    json!({
        "per_s": records as f64 / start.elapsed().as_secs_f64(),
        "peak_rss_bytes": memory("VmHWM:"),
    })
}

fn steady(options: &Options, pole: &Pole, reads: u64, per_s: u64) -> Value {
    // Connected, and what a new ledger begins with is gone.
    while !pole.outbox.is_empty() {
        thread::sleep(LOOK);
    }
    let (outbox, before) = (&pole.outbox, written(&options.directory));
    let times = thread::scope(|scope| {
        let (tell, kept) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let mut next = Instant::now();
            for _ in 0..reads {
                let (exposed, id) = (Instant::now(), Uuid::now_v7());
                options.keep(outbox, id, Timestamp::now());
                let _ = tell.send((exposed, id));
                next += Duration::from_secs(1) / u32::try_from(per_s).unwrap_or(1);
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        let (mut waiting, mut times) = (VecDeque::new(), Vec::new());
        while times.len() < usize::try_from(reads).unwrap_or(usize::MAX) {
            waiting.extend(kept.try_iter());
            waiting.retain(|(exposed, id): &(Instant, Uuid)| {
                let there = outbox.sequence_of(*id).expect("readable").is_some();
                if !there {
                    times.push(exposed.elapsed().as_secs_f64());
                }
                there
            });
            thread::sleep(LOOK);
        }
        times
    });
    let written = written(&options.directory) - before;
    let of_photos =
        [CLOSE_UP_BYTES, CONTEXT_BYTES].map(|b| (b as u64).next_multiple_of(BLOCK_BYTES));
    let photos = if options.photos { of_photos.iter().sum() } else { 0 };
    json!({
        "p50_s": percentile(&times, 50),
        "p95_s": percentile(&times, 95),
        "p99_s": percentile(&times, 99),
        "device_per_read_bytes": written as f64 / reads as f64,
        "photos_per_read_bytes": photos,
        "rss_bytes": memory("VmRSS:"),
    })
}

fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent / 100).min(sorted.len() - 1)).copied().unwrap_or(f64::NAN)
}

/// Bytes written so far, by anyone, to the block device that a folder is on; 0 where that is not told.
///
/// `write_bytes` of `/proc/self/io` would count a page cache's folio of up to 512 kB whole where one
/// block of it is written (seen on Linux 6.18: twelve times what reached the device).
fn written(folder: &Path) -> u64 {
    const SECTORS_WRITTEN: usize = 6;
    const SECTOR_BYTES: u64 = 512;
    let _ = Command::new("sync").arg("--file-system").arg(folder).status();
    let device = fs::metadata(folder).expect("the folder").dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"));
    let text = text.unwrap_or_default();
    let field = text.split_whitespace().nth(SECTORS_WRITTEN);
    field.and_then(|f| f.parse::<u64>().ok()).unwrap_or(0) * SECTOR_BYTES
}

/// A size in `/proc/self/status`, in bytes.
fn memory(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
