//! A pole without a camera in a process of its own, whose memory can be measured: outbox and uplink,
//! filled first where asked, and a read now and then. Its own time (data keys, manifests) is injected:
//! the hours of what it is filled with, then seconds as they pass.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use milepost::{
    config,
    health::{Component, Health},
    outbox::{Outbox, Setup, Signer},
    sealing::ManualClock,
    suspension::Suspension,
    uplink,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::child::{self, read};

const SECOND: Duration = Duration::from_secs(1);
/// How often it says how it is.
const SAY: Duration = Duration::from_millis(100);
/// Threads that fill: they share a commit's fsync.
const FILLERS: u64 = 48;

/// What it does.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The outbox's folder.
    #[arg(long)]
    pub directory: PathBuf,
    /// `host:port`.
    #[arg(long)]
    pub broker: String,
    /// Folder of `ca.crt`, `pole.crt` and `pole.key`.
    #[arg(long)]
    pub pki: PathBuf,
    /// Reads kept before it waits for the word to start its uplink.
    #[arg(long, default_value_t = 0)]
    pub fill: u64,
    /// Hours over which the times of these are spread, up to now.
    #[arg(long, default_value_t = 0)]
    pub hours: u32,
    /// About the size of a photo.
    #[arg(long, default_value_t = 1000)]
    pub photo_bytes: usize,
    /// One read in so many has photos.
    #[arg(long, default_value_t = 1)]
    pub photos_every: u64,
    /// `outbox.max_photo_bytes`.
    #[arg(long, default_value_t = 1 << 30)]
    pub max_photo_bytes: u64,
    /// Reads a second after that.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// `uplink.resend_after_s`.
    #[arg(long, default_value_t = 30)]
    pub resend_after_s: u64,
}

impl Options {
    fn arguments(&self) -> Vec<String> {
        let Self { directory, broker, pki, fill, hours, .. } = self;
        let Self { photo_bytes, photos_every, max_photo_bytes, rate, resend_after_s, .. } = self;
        vec![
            "pole".into(),
            format!("--directory={}", directory.display()),
            format!("--broker={broker}"),
            format!("--pki={}", pki.display()),
            format!("--fill={fill}"),
            format!("--hours={hours}"),
            format!("--photo-bytes={photo_bytes}"),
            format!("--photos-every={photos_every}"),
            format!("--max-photo-bytes={max_photo_bytes}"),
            format!("--rate={rate}"),
            format!("--resend-after-s={resend_after_s}"),
        ]
    }
}

/// The product's own limits, but for the photos'.
pub fn settings(options: &Options) -> config::Outbox {
    let mut outbox = config::Config::embedded().expect("the embedded configuration").outbox;
    outbox.directory.clone_from(&options.directory);
    outbox.max_photo_bytes = options.max_photo_bytes;
    outbox
}

/// The hidden verb.
pub fn run(options: &Options) -> ExitCode {
    let settings = settings(options);
    let embedded = config::Config::embedded().expect("the embedded configuration");
    let mut uplink = embedded.uplink;
    uplink.broker.clone_from(&options.broker);
    uplink.ca_file = options.pki.join("ca.crt");
    uplink.certificate_file = options.pki.join("pole.crt");
    uplink.key_file = options.pki.join("pole.key");
    uplink.resend_after = Duration::from_secs(options.resend_after_s);
    let health: Arc<Health> = Arc::default();
    let clock = Arc::new(ManualClock::default());
    let signer = Signer {
        certificate_file: uplink.certificate_file.clone(),
        key_file: uplink.key_file.clone(),
    };
    let outbox = Outbox::open(Setup {
        clock: Some(clock.clone()),
        signer: Some(signer),
        ..child::setup(settings, &health)
    });
    let outbox = outbox.expect("the outbox opens");
    fill(&outbox, options, &clock);
    println!("filled {} {}", outbox.position().epoch, outbox.position().last_sequence);
    thread::spawn(move || {
        loop {
            thread::sleep(SECOND);
            clock.pass(SECOND);
        }
    });
    if !matches!(std::io::stdin().read_line(&mut String::new()), Ok(1..)) {
        return ExitCode::FAILURE;
    }
    let mut site = embedded.site;
    [site.agency, site.site, site.camera] = harness::broker::ROOT.map(String::from);
    let said = outbox.clone();
    let words = health.clone();
    thread::spawn(move || {
        loop {
            let (m, word) = (&words.metrics, &words.checks()[&Component::Uplink].output);
            let line = format!(
                "state {} {} {} {} {} {} {word}\n",
                said.len(),
                m.uplink_published.get(),
                m.receipts.get(),
                m.receipts_ignored.get(),
                m.commands.get() + m.commands_ignored.get(),
                m.uplink_connections.get(),
            );
            if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
                // Its parent has gone.
                std::process::exit(1);
            }
            thread::sleep(SAY);
        }
    });
    if options.rate > 0 {
        let (outbox, options) = (outbox.clone(), options.clone());
        thread::spawn(move || {
            let mut next = Instant::now();
            loop {
                let entry = read(Uuid::now_v7(), jiff::Timestamp::now(), options.photo_bytes);
                let _ = outbox.keep(entry);
                next += Duration::from_secs(1) / u32::try_from(options.rate).unwrap_or(1);
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let source = harness::pole::root().source();
    let suspension = Arc::new(Suspension::open(&options.directory, source, health.clone()));
    let run = uplink::run(uplink, site, outbox, suspension, None, health, CancellationToken::new());
    let end = runtime.block_on(run);
    if end.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Keeps the backlog, its times spread over the hours and going up, and the pole's own clock with them.
fn fill(outbox: &Outbox, options: &Options, clock: &ManualClock) {
    let next = AtomicU64::new(0);
    let now = jiff::Timestamp::now();
    let span_ms = i64::from(options.hours) * 3_600_000;
    thread::scope(|scope| {
        for _ in 0..FILLERS.min(options.fill) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= options.fill {
                        return;
                    }
                    let hour = |n: u64| n * u64::from(options.hours) / options.fill;
                    if hour(n + 1) > hour(n) {
                        clock.pass(SECOND * 3600);
                    }
                    let back = span_ms - span_ms * n.cast_signed() / options.fill.cast_signed();
                    let at = now - jiff::SignedDuration::from_millis(back);
                    let id = Uuid::now_v7();
                    let photos = if n.is_multiple_of(options.photos_every) {
                        options.photo_bytes
                    } else {
                        0
                    };
                    outbox.keep(read(id, at, photos)).expect("kept");
                }
            });
        }
    });
}

/// What it last said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Records waiting.
    pub waiting: u64,
    /// Messages acknowledged.
    pub published: u64,
    /// Receipts taken.
    pub receipts: u64,
    /// Receipts ignored.
    pub ignored: u64,
    /// Commands answered or ignored.
    pub commands: u64,
    /// Connections made.
    pub connections: u64,
    /// What it says of its uplink.
    pub word: String,
    /// Epoch and last number once it is filled.
    pub filled: Option<(Uuid, u64)>,
    /// It has ended.
    pub ended: bool,
}

/// A pole's process as its parent sees it; dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    state: Arc<Mutex<State>>,
}

impl Process {
    /// Starts one.
    pub fn start(options: &Options, log: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program's path"))
            .args(options.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log).expect("a log"))
            .spawn()
            .expect("the pole starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                take(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), &line);
            }
            shared.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        });
        Self { child, state }
    }

    /// Lets it start its uplink.
    pub fn go(&mut self) {
        let input = self.child.stdin.as_mut().expect("its input");
        input.write_all(b"go\n").expect("it waits for the word");
    }

    /// What it last said.
    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until its state is as wanted; `false` after the limit or its end.
    pub fn until(&self, limit: Duration, holds: impl Fn(&State) -> bool) -> bool {
        let until = Instant::now() + limit;
        loop {
            let state = self.state();
            if holds(&state) {
                return true;
            }
            if state.ended || Instant::now() > until {
                return false;
            }
            thread::sleep(SAY / 2);
        }
    }

    /// Its resident memory in kilobytes.
    pub fn resident_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn take(state: &mut State, line: &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut parts = rest.splitn(7, ' ');
    if word == "filled" {
        let id = parts.next().and_then(|p| p.parse().ok());
        state.filled = id.zip(parts.next().and_then(|p| p.parse().ok()));
        return;
    }
    let mut number = || parts.next().and_then(|p| p.parse().ok()).unwrap_or(0);
    state.waiting = number();
    state.published = number();
    state.receipts = number();
    state.ignored = number();
    state.commands = number();
    state.connections = number();
    state.word = parts.next().unwrap_or_default().into();
}
