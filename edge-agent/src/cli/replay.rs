//! `milepost replay`: the full pipeline on a recorded clip, as fast as it goes.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{
    capture::{Camera, CaptureError, Next},
    clock::Keeper,
    config::{self, Config, Source},
    health::{Component, Health, Status},
    recognise::{Finished, Recogniser},
    report::{Origin, Report, report},
    vision::VisionError,
};

/// Run the whole pipeline on a recorded clip, as fast as it goes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  milepost replay clip.mp4
  milepost replay clip.mp4 --json > passes.jsonl
  milepost replay clip.mp4 --decode-only")]
pub struct ReplayArgs {
    /// A recorded clip (anything that GStreamer decodes).
    pub clip: PathBuf,
    /// Settings to replay with; the embedded defaults where none are given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One JSON object a line for each pass, and a last one with the figures.
    #[arg(long)]
    pub json: bool,
    /// Decode and nothing else: what capture alone costs.
    #[arg(long)]
    pub decode_only: bool,
    /// Threads for one inference.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: Option<u8>,
}

/// Why a clip could not be replayed.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Config(#[from] config::ConfigErrors),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Vision(#[from] VisionError),
    #[error("the clip gave no frame: {0}")]
    NoFrames(String),
    #[error("{0} frames could not be looked at: see the log, and check the models")]
    FramesFailed(u64),
    #[error("standard output is gone: {0}")]
    Output(#[from] std::io::Error),
}

/// How long a clip may give no frame before it is asked whether it failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs it; exit code 1 where the clip or a model can't be used.
#[must_use]
pub fn run(args: &ReplayArgs) -> ExitCode {
    match replay(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("milepost replay: {}: {error}", args.clip.display());
            ExitCode::FAILURE
        }
    }
}

/// What was counted on the way.
#[derive(Default)]
struct Figures {
    frames: u64,
    reads: u64,
    unread: u64,
    detect: Duration,
    read: Duration,
}

fn replay(args: &ReplayArgs) -> Result<(), ReplayError> {
    let mut config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::embedded()?,
    };
    config.capture.source =
        Source::File { path: args.clip.clone(), repeat: false, realtime: false };
    if let Some(threads) = args.threads {
        config.vision.threads = usize::from(threads);
    }
    let health = Arc::new(Health::default());
    let mut recogniser = match args.decode_only {
        true => None,
        false => Some(Recogniser::load(&config, health.clone())?),
    };
    let origin = recogniser.as_ref().map(|r| Origin::new(&config, r.versions(), r.provider()));
    let camera = Camera::start(&config.capture, Keeper::default(), health.clone())?;
    let bar = progress();
    let started = Instant::now();
    let mut figures = Figures::default();
    loop {
        match camera.next(PATIENCE) {
            Next::Frame(frame) => {
                figures.frames += 1;
                bar.inc(1);
                if let Some(recogniser) = &mut recogniser {
                    let finished = recogniser.look(&frame);
                    figures.detect += recogniser.timing.detect;
                    figures.read += recogniser.timing.read;
                    show(args, &bar, &finished, origin.as_ref(), &mut figures)?;
                }
            }
            Next::Idle => {
                let capture = health.checks().remove(&Component::Capture);
                if let Some(check) = capture.filter(|c| c.status == Status::Fail) {
                    return Err(ReplayError::NoFrames(check.output));
                }
            }
            Next::Ended => break,
        }
    }
    if figures.frames == 0 {
        let why = health.checks().remove(&Component::Capture).map(|c| c.output);
        return Err(ReplayError::NoFrames(why.unwrap_or_default()));
    }
    if let Some(recogniser) = &mut recogniser {
        let finished = recogniser.finish();
        show(args, &bar, &finished, origin.as_ref(), &mut figures)?;
    }
    bar.finish_and_clear();
    summary(args, &figures, started.elapsed())?;
    // What was read stands; that it is not the whole clip must not go unsaid.
    match camera.failure() {
        Some(error) => Err(error.into()),
        None if health.metrics.frames_failed.get() > 0 => {
            Err(ReplayError::FramesFailed(health.metrics.frames_failed.get()))
        }
        None => Ok(()),
    }
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} frames, {per_sec}, {elapsed}");
    ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn show(
    args: &ReplayArgs,
    bar: &ProgressBar,
    finished: &[Finished],
    origin: Option<&Origin>,
    figures: &mut Figures,
) -> std::io::Result<()> {
    let Some(origin) = origin else { return Ok(()) };
    let mut lines = Vec::new();
    for pass in finished {
        let frame = pass.shot.as_ref().map(|s| s.sequence);
        let line = match report(pass, origin) {
            Report::Read(read, _) => {
                figures.reads += 1;
                if args.json {
                    json!({ "kind": "read", "frame": frame, "parked": pass.pass.parked, "score": pass.pass.score, "read": read })
                        .to_string()
                } else {
                    format!(
                        "{}  {:<8} {:<6} {:>5.1} %  {:<11} {:>3} frames",
                        read.captured_at.strftime("%H:%M:%S%.3f"),
                        read.plate_text,
                        read.state.as_ref().map_or("?", |s| s.code.as_str()),
                        read.confidence * 100.0,
                        read.direction.name(),
                        read.frames_seen,
                    )
                }
            }
            Report::Unread(unread) => {
                figures.unread += 1;
                if args.json {
                    json!({ "kind": "unread_pass", "frame": frame, "score": pass.pass.score, "unread_pass": unread })
                        .to_string()
                } else {
                    format!(
                        "{}  (unread: {})",
                        unread.captured_at.strftime("%H:%M:%S%.3f"),
                        unread.reason.name()
                    )
                }
            }
        };
        lines.push(line);
    }
    bar.suspend(|| lines.iter().try_for_each(|line| writeln!(std::io::stdout(), "{line}")))
}

fn summary(args: &ReplayArgs, figures: &Figures, took: Duration) -> std::io::Result<()> {
    let frames = figures.frames as f64;
    let per_frame = |d: Duration| d.as_secs_f64() * 1000.0 / frames;
    let rate = frames / took.as_secs_f64();
    let mut out = std::io::stdout();
    if args.json {
        let summary = json!({
            "kind": "summary",
            "frames": figures.frames,
            "reads": figures.reads,
            "unread_passes": figures.unread,
            "seconds": took.as_secs_f64(),
            "frames_per_s": rate,
            "ms_per_frame": {
                "detect": per_frame(figures.detect),
                "read": per_frame(figures.read),
                "all": per_frame(took),
            },
            "peak_rss_bytes": peak_rss_bytes(),
        });
        writeln!(out, "{summary}")
    } else {
        writeln!(
            out,
            "{} reads, {} unread passes in {} frames: {:.1} s, {rate:.1} frames/s; \
             ms a frame: detect {:.2}, read {:.2}, all {:.2}",
            figures.reads,
            figures.unread,
            figures.frames,
            took.as_secs_f64(),
            per_frame(figures.detect),
            per_frame(figures.read),
            per_frame(took),
        )
    }
}

/// Most memory that this process ever held (`VmHWM`), where the kernel says.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}
