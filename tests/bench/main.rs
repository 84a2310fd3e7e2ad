//! What `make bench` prints of the outbox and the uplink, as rows of its Markdown table: how fast reads
//! are kept on this disk and drained from it, what that writes, how long a read takes to its receipt,
//! and the memory of it all.
//!
//! Each figure is of a process of its own ([`pole`]: outbox and uplink, no camera) with a real broker
//! over TLS; the central server that gives the receipts is in this one. Nothing is asserted: figures
//! are of this machine and of what else it does.
#![allow(clippy::expect_used, reason = "what can't be set up can't be measured")]

mod pole;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum};
use harness::{broker::Broker, pole::server};
use milepost::uplink::central::Summary;
use serde_json::Value;

use pole::{CLOSE_UP_BYTES, CONTEXT_BYTES, Options, Task};

/// How long reads are kept as fast as it goes.
const KEEP_S: u64 = 5;
/// Keepers that share commits.
const KEEPERS: u64 = 8;
/// Backlogs that are drained.
const BACKLOG: u64 = 20_000;
const BACKLOG_WITH_PHOTOS: u64 = 1000;
/// Reads a second and time of the steady state.
const RATE: u64 = 2;
const STEADY_S: u64 = 60;
/// The figures of a quick run are for seeing that the program works.
const QUICK_SHARE: u64 = 20;

/// Measures the outbox and the uplink.
#[derive(Debug, Parser)]
#[command(name = "outbox-bench")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Folder on the disk that is measured.
    #[arg(long, default_value = ".cache/bench")]
    out: PathBuf,
    /// Only these figures.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["keep", "drain", "steady"])]
    only: Vec<Figures>,
    /// In a minute, with figures that mean little.
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figures {
    /// Reads kept.
    Keep,
    /// Backlogs drained.
    Drain,
    /// A steady rate.
    Steady,
    /// What reaches the disk at a steady rate; means something only on a disk that nobody else writes to.
    Wear,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The process that is measured.
    #[command(hide = true)]
    Pole(Options),
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(Part::Pole(options)) = &arguments.part {
        return pole::run(options);
    }
    let out = std::path::absolute(&arguments.out).expect("a folder");
    fs::create_dir_all(&out).expect("a folder");
    let folder = tempfile::Builder::new().prefix("outbox-").tempdir_in(out).expect("a folder");
    // Elsewhere: the broker writes too.
    let broker_folder = tempfile::tempdir().expect("a folder");
    let share = if arguments.quick { QUICK_SHARE } else { 1 };
    let bench = Bench {
        broker: Broker::start(broker_folder.path(), ""),
        folder: folder.path().into(),
        runtime: tokio::runtime::Runtime::new().expect("a runtime"),
    };
    let wanted = |figures| arguments.only.contains(&figures);
    if wanted(Figures::Keep) {
        bench.keep(share);
    }
    if wanted(Figures::Drain) {
        bench.drain(BACKLOG / share, false);
        bench.drain(BACKLOG_WITH_PHOTOS / share, true);
    }
    if wanted(Figures::Steady) {
        bench.steady(STEADY_S / share, true);
        bench.steady(STEADY_S / share, false);
    }
    if wanted(Figures::Wear) {
        bench.wear(STEADY_S / share, true);
        bench.wear(STEADY_S / share, false);
    }
}

struct Bench {
    broker: Broker,
    folder: PathBuf,
    runtime: tokio::runtime::Runtime,
}

fn print_row(figure: &str, value: &str) {
    println!("| {figure} | {value} |");
}

fn with(photos: bool) -> String {
    if photos {
        format!("photos of {} + {} kB", CLOSE_UP_BYTES / 1000, CONTEXT_BYTES / 1000)
    } else {
        "no photos".into()
    }
}

impl Bench {
    /// Does a task in a process of its own; what it measured.
    fn measure(&self, directory: &Path, photos: bool, task: Task) -> Value {
        let options = Options {
            directory: directory.into(),
            broker: self.broker.address().to_string(),
            pki: self.broker.pki(),
            photos,
            task,
        };
        let output = Command::new(std::env::current_exe().expect("this program's path"))
            .args(options.arguments())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("a pole starts");
        assert!(output.status.success(), "{task:?}: {}", output.status);
        serde_json::from_slice(&output.stdout).expect("what it measured")
    }

    /// As [`Self::measure`], while a central server gives receipts; where all came as it should.
    fn measure_with_server(&self, directory: &Path, photos: bool, task: Task) -> Value {
        let server = self.runtime.block_on(async {
            let server = server(&self.broker, true);
            server.until("a connection", |log| log.connected > 0).await;
            server
        });
        let measured = self.measure(directory, photos, task);
        let Summary { gaps, bad, bad_photos, .. } = self.runtime.block_on(server.stop());
        assert_eq!([gaps, bad, bad_photos], [0; 3], "{task:?}: gaps, bad messages, bad photos");
        measured
    }

    fn directory(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).expect("a folder");
        folder
    }

    fn keep(&self, share: u64) {
        let time = Duration::from_secs(KEEP_S) / u32::try_from(share).unwrap_or(1);
        for (keepers, photos) in [(1, false), (KEEPERS, false), (1, true), (KEEPERS, true)] {
            let directory = self.directory(&format!("keep-{keepers}-{photos}"));
            let task = Task::Keep { keepers, seconds: time.as_secs_f64() };
            let measured = self.measure(&directory, photos, task);
            let figure = match keepers {
                1 => format!("kept one at a time, {}: reads/s", with(photos)),
                n => format!("kept by {n} at a time, {}: reads/s", with(photos)),
            };
            print_row(&figure, &format!("{:.0}", number(&measured, "per_s")));
        }
    }

    fn drain(&self, reads: u64, photos: bool) {
        let directory = self.directory(&format!("drain-{photos}"));
        self.measure(&directory, photos, Task::Fill { reads });
        let measured = self.measure_with_server(&directory, photos, Task::Drain);
        print_row(
            &format!("backlog of {reads} drained by receipts, {}: records/s", with(photos)),
            &format!("{:.0}", number(&measured, "per_s")),
        );
        print_row(
            &format!("peak memory of outbox and uplink while draining, {}, MB", with(photos)),
            &format!("{:.0}", number(&measured, "peak_rss_bytes") / 1e6),
        );
    }

    /// Reads at a steady rate, each with its receipt; what was measured, and the state in words.
    fn at_rate(&self, name: &str, seconds: u64, photos: bool) -> (Value, String) {
        let directory = self.directory(&format!("{name}-{photos}"));
        let task = Task::Steady { reads: seconds * RATE, per_s: RATE };
        let measured = self.measure_with_server(&directory, photos, task);
        (measured, format!("{RATE} reads/s, {}", with(photos)))
    }

    fn steady(&self, seconds: u64, photos: bool) {
        let (measured, state) = self.at_rate("steady", seconds, photos);
        let of = |name: &str| number(&measured, name);
        print_row(
            &format!("kept to receipt at {state}, s, p50 / p95 / p99"),
            &format!("{:.3} / {:.3} / {:.3}", of("p50_s"), of("p95_s"), of("p99_s")),
        );
        print_row(
            &format!("memory of outbox and uplink at {state}, MB"),
            &format!("{:.0}", of("rss_bytes") / 1e6),
        );
    }

    fn wear(&self, seconds: u64, photos: bool) {
        let (measured, state) = self.at_rate("wear", seconds, photos);
        let of = |name: &str| number(&measured, name) / 1e3;
        let (all, files) = (of("device_per_read_bytes"), of("photos_per_read_bytes"));
        print_row(
            &format!("written to the disk a read, kept and deleted, at {state}, kB"),
            &format!("{all:.0} ({files:.0} photo files, {:.0} store and journal)", all - files),
        );
    }
}

fn number(measured: &Value, name: &str) -> f64 {
    measured[name].as_f64().unwrap_or(f64::NAN)
}
