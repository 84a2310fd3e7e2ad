//! The pole's own time: seconds that go only forward, for ages that no clock fault may change.
//!
//! While the machine runs, it is the kernel's boot-time clock (which counts suspension and which
//! nothing steps). Across a restart the wall clock tells how long the machine was off, and only where
//! it can be believed: the kernel said that it is synchronised, before the restart and for
//! [`SETTLED`] after it, and the gap is at most [`MAX_OFF`]. So a wall clock at 1970 or 2038 makes
//! nothing older or younger. Where it can't be believed, time spent switched off does not count.
//!
//! The law is [`advance`], which is pure. [`PoleClock`] keeps its memory in `<folder>/pole-time.json`,
//! written at each [`PoleClock::tick`]; a power cut costs at most the time since the last one. Several
//! processes may share the folder.
//!
//! How it fails: a damaged memory is begun anew at the time of the newest key in the folder (and said
//! in the log); a folder that can't be written makes `tick` an error, and time goes on in memory.

use std::{
    fmt, fs,
    fs::File,
    io,
    ops::{Add, Sub},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{SealingError, files, key_file};
use crate::clock::Discipline;

/// The longest time switched off that the wall clock is believed about. A longer gap is a clock fault
/// (1970, 2038) and does not count.
pub const MAX_OFF: Duration = super::MAX_KEPT;

/// How long the wall clock must have been synchronised without a step before it is believed.
pub const SETTLED: Duration = Duration::from_secs(600);

/// How far the wall clock may move against the boot-time clock between two ticks and count as not
/// stepped.
const STEP: Duration = Duration::from_secs(2);

const MEMORY: &str = "pole-time.json";
const LOCK: &str = "pole-time.lock";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment of the pole's own time: seconds since it first ran.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct PoleTime(u64);

impl PoleTime {
    /// From its seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Its seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for PoleTime {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time.as_secs()))
    }
}

impl Sub for PoleTime {
    type Output = Duration;

    /// How much later it is than `earlier`; zero where it is not.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// Tells the pole's own time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Now; never before an earlier answer.
    fn now(&self) -> PoleTime;
}

/// A clock that is moved by hand, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Moves it forward.
    pub fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> PoleTime {
        PoleTime(self.0.load(Ordering::SeqCst))
    }
}

/// What the machine's clocks say at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The kernel's id of this boot.
    pub boot: String,
    /// Seconds since it, suspension included.
    pub up_s: u64,
    /// Unix seconds of the wall clock.
    pub wall_s: i64,
    /// The kernel says that the wall clock is kept to a reference.
    pub synchronised: bool,
}

/// What is remembered between readings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    boot: String,
    up_s: u64,
    now: PoleTime,
    /// The wall clock's run of being synchronised without a step, in this boot.
    run: Option<Run>,
    /// The last moment at which the wall clock was believed.
    anchor: Option<Anchor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    since_up_s: u64,
    /// Wall clock less boot-time clock, at the last reading.
    offset_s: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Anchor {
    boot: String,
    wall_s: i64,
    now: PoleTime,
}

impl Memory {
    /// Begins at `now`.
    #[must_use]
    pub fn begin(now: PoleTime, reading: &Reading) -> Self {
        Self { boot: reading.boot.clone(), up_s: reading.up_s, now, run: None, anchor: None }
    }

    /// The pole's own time at the last reading.
    #[must_use]
    pub const fn now(&self) -> PoleTime {
        self.now
    }
}

/// The law: what is remembered after a reading.
#[must_use]
pub fn advance(memory: &Memory, reading: &Reading) -> Memory {
    let same_boot = memory.boot == reading.boot && reading.up_s >= memory.up_s;
    // In another boot, at least the time since it began has passed.
    let passed = if same_boot { reading.up_s - memory.up_s } else { reading.up_s };
    let mut now = memory.now + Duration::from_secs(passed);

    let offset_s = reading.wall_s.saturating_sub_unsigned(reading.up_s);
    let run = reading.synchronised.then(|| {
        let kept = memory
            .run
            .as_ref()
            .filter(|run| same_boot && offset_s.abs_diff(run.offset_s) <= STEP.as_secs());
        Run { since_up_s: kept.map_or(reading.up_s, |run| run.since_up_s), offset_s }
    });

    let settled = run
        .as_ref()
        .is_some_and(|run| reading.up_s.saturating_sub(run.since_up_s) >= SETTLED.as_secs());
    let anchor = if settled {
        if let Some(anchor) = memory.anchor.as_ref().filter(|anchor| anchor.boot != reading.boot) {
            let gap = u64::try_from(reading.wall_s.saturating_sub(anchor.wall_s)).unwrap_or(0);
            if gap <= MAX_OFF.as_secs() {
                now = now.max(anchor.now + Duration::from_secs(gap));
            }
        }
        Some(Anchor { boot: reading.boot.clone(), wall_s: reading.wall_s, now })
    } else {
        memory.anchor.clone()
    };
    Memory { boot: reading.boot.clone(), up_s: reading.up_s, now, run, anchor }
}

/// The pole's own time, remembered in a folder.
#[derive(Debug)]
pub struct PoleClock {
    folder: PathBuf,
    memory: Mutex<Memory>,
}

impl PoleClock {
    /// Opens or begins it in a folder of key files.
    ///
    /// # Errors
    /// Where the folder can't be read. One that can't be written to is said in the log.
    pub fn open(folder: &Path) -> Result<Self, SealingError> {
        let reading = read();
        let locked = lock(folder);
        let memory = advance(&load(folder, &reading)?, &reading);
        if let Err(error) = locked.and_then(|_lock| store(folder, &memory)) {
            tracing::warn!(%error, "the pole's own time can't be kept");
        }
        Ok(Self { folder: folder.into(), memory: Mutex::new(memory) })
    }

    /// Reads the machine's clocks and remembers; once a minute by the watchdog.
    ///
    /// # Errors
    /// Where the folder can't be read or written; the time goes on all the same.
    pub fn tick(&self) -> Result<PoleTime, SealingError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = read();
        *memory = advance(&memory, &reading);
        let _lock = lock(&self.folder)?;
        // Another process may have written since. Never back, even where the file was replaced.
        let stored = advance(&load(&self.folder, &reading)?, &reading);
        if stored.now > memory.now {
            *memory = stored;
        }
        store(&self.folder, &memory)?;
        Ok(memory.now)
    }
}

impl Clock for PoleClock {
    fn now(&self) -> PoleTime {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        // One process lives in one boot.
        memory.now + Duration::from_secs(up_s().saturating_sub(memory.up_s))
    }
}

/// Keeps other processes from the memory.
fn lock(folder: &Path) -> Result<File, SealingError> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    file.and_then(|file| file.lock().map(|()| file)).map_err(SealingError::io(&path))
}

fn store(folder: &Path, memory: &Memory) -> Result<(), SealingError> {
    let path = folder.join(MEMORY);
    let text = serde_json::to_vec(memory).unwrap_or_default();
    files::write(&path, &text).map_err(SealingError::io(&path))
}

/// The remembered time; where there is none, that of the newest key.
fn load(folder: &Path, reading: &Reading) -> Result<Memory, SealingError> {
    let path = folder.join(MEMORY);
    let why = match files::read(&path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(memory) => return Ok(memory),
            Err(e) => Some(e.to_string()),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(SealingError::io(&path)(e)),
    };
    let (ids, _) = key_file::list(folder)?;
    let newest = ids.iter().filter_map(|id| key_file::read(folder, *id).ok().flatten());
    let newest = newest.map(|file| file.label.made).max();
    if why.is_some() || newest.is_some() {
        let why = why.as_deref().unwrap_or("it is missing");
        tracing::warn!(path = %path.display(), why, "the pole's own time goes on from its newest key");
    }
    Ok(Memory::begin(newest.unwrap_or_default(), reading))
}

fn up_s() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or_default()
}

fn read() -> Reading {
    Reading {
        // Where a sandbox hides it, a restart shows in the boot-time clock.
        boot: fs::read_to_string(BOOT_ID).unwrap_or_default().trim().into(),
        up_s: up_s(),
        wall_s: Timestamp::now().as_second(),
        synchronised: Discipline::ask().is_ok_and(|d| d.synchronised),
    }
}
