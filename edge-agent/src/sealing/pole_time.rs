//! The pole's own time: seconds that it was switched on, for ages that no clock fault may change.
//!
//! It is the sum of the kernel's boot-time clocks (which count suspension and which nothing steps), so
//! it goes only forward and never jumps. What it lacks is the time switched off. An [age](Clock::age)
//! adds that, where the wall clock can be believed about it: the kernel said that it is synchronised,
//! before the restart and for [`SETTLED`] after it, and the gap is at most [`MAX_OFF`]. So a wall clock
//! at 1970 or 2038 makes nothing older or younger, and what was made after a restart is never made
//! older by the gap before it. Where the wall clock can't be believed, time switched off does not count.
//!
//! The law is [`advance`] and [`Memory::age`], which are pure. [`PoleClock`] keeps its memory in
//! `<folder>/pole-time.json`, written at each [`PoleClock::tick`]; a power cut costs at most the time
//! since the last one. Several processes may share the folder.
//!
//! How it fails: a damaged memory is begun anew at the time of the newest key in the folder (and said
//! in the log), and forgets times switched off; a folder that can't be written makes `tick` an error,
//! and time goes on in memory.

use std::{
    fmt, fs,
    fs::{File, TryLockError},
    io,
    ops::{Add, Sub},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{MAX_KEPT, SealingError, key_file};
use crate::{clock::Discipline, durable};

/// The longest time switched off that the wall clock is believed about. A longer gap is a clock fault
/// (1970, 2038) and does not count.
pub const MAX_OFF: Duration = MAX_KEPT;

/// How long the wall clock must have been synchronised without a step before it is believed.
pub const SETTLED: Duration = Duration::from_secs(600);

/// Most times switched off that are remembered one by one; above it the two oldest count as one.
pub const MAX_GAPS: usize = 32;

/// How far the wall clock may move against the boot-time clock between two ticks and count as not
/// stepped.
const STEP: Duration = Duration::from_secs(2);

/// How long another process may be writing.
const LOCK_WAIT: Duration = Duration::from_secs(1);

const MEMORY: &str = "pole-time.json";
const LOCK: &str = "pole-time.lock";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment of the pole's own time: seconds switched on since it first ran.
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

    /// When the machine was switched on, by this clock. All that was made since is later than this.
    fn began(&self) -> PoleTime;

    /// How old something is that was made then: time switched on, and time switched off where it is
    /// known.
    fn age(&self, made: PoleTime) -> Duration;
}

/// A clock that is moved by hand, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(Mutex<Memory>);

impl Default for ManualClock {
    fn default() -> Self {
        let reading = Reading { boot: String::new(), up_s: 1, wall_s: 0, synchronised: false };
        Self(Mutex::new(Memory::begin(PoleTime::default(), &reading)))
    }
}

impl ManualClock {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves it forward.
    pub fn pass(&self, time: Duration) {
        let mut memory = self.memory();
        memory.now = memory.now + time;
    }

    /// A restart after a time switched off that is known at once.
    pub fn restart(&self, off: Duration) {
        let mut memory = self.memory();
        memory.began = memory.now;
        memory.add_gap(off.as_secs());
        memory.now = memory.now + Duration::from_secs(1);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> PoleTime {
        self.memory().now
    }

    fn began(&self) -> PoleTime {
        self.memory().began
    }

    fn age(&self, made: PoleTime) -> Duration {
        let memory = self.memory();
        memory.age(made, memory.now)
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
    /// When this boot began.
    began: PoleTime,
    /// Times switched off, oldest first.
    gaps: Vec<Gap>,
    /// The wall clock's run of being synchronised without a step, in this boot.
    run: Option<Run>,
    /// The last moment at which the wall clock was believed.
    anchor: Option<Anchor>,
}

/// A time switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Gap {
    at: PoleTime,
    off_s: u64,
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
    /// Begins at `now`, in the boot of the reading.
    #[must_use]
    pub fn begin(now: PoleTime, reading: &Reading) -> Self {
        let fresh = Self {
            boot: String::new(),
            up_s: u64::MAX,
            now,
            began: now,
            gaps: Vec::new(),
            run: None,
            anchor: None,
        };
        advance(&fresh, reading)
    }

    /// The pole's own time at the last reading.
    #[must_use]
    pub const fn now(&self) -> PoleTime {
        self.now
    }

    /// When the boot of the last reading began.
    #[must_use]
    pub const fn began(&self) -> PoleTime {
        self.began
    }

    /// Something is known to have been made then, by a key's label: no later boot began before it.
    #[must_use]
    pub fn not_before(mut self, made: PoleTime) -> Self {
        self.now = self.now.max(made);
        self
    }

    /// How old something is at `now` that was made at `made`.
    #[must_use]
    pub fn age(&self, made: PoleTime, now: PoleTime) -> Duration {
        let off = self.gaps.iter().filter(|gap| made <= gap.at).map(|gap| gap.off_s);
        (now - made).saturating_add(Duration::from_secs(off.fold(0, u64::saturating_add)))
    }

    /// The machine was off before this boot.
    fn add_gap(&mut self, off_s: u64) {
        self.gaps.push(Gap { at: self.began, off_s });
        // What was made before is over its age without it.
        let now = self.now;
        self.gaps.retain(|gap| now - gap.at < MAX_KEPT);
        while self.gaps.len() > MAX_GAPS {
            let oldest = self.gaps.remove(0);
            self.gaps[0].off_s = self.gaps[0].off_s.saturating_add(oldest.off_s);
        }
    }
}

/// The law: what is remembered after a reading.
#[must_use]
pub fn advance(memory: &Memory, reading: &Reading) -> Memory {
    let mut next = memory.clone();
    let same_boot = memory.boot == reading.boot && reading.up_s >= memory.up_s;
    if same_boot {
        next.now = memory.now + Duration::from_secs(reading.up_s - memory.up_s);
    } else {
        next.began = memory.now;
        // What is made in this boot is later than its beginning.
        next.now = memory.now + Duration::from_secs(reading.up_s.max(1));
    }
    (next.boot, next.up_s) = (reading.boot.clone(), reading.up_s);

    let offset_s = reading.wall_s.saturating_sub_unsigned(reading.up_s);
    next.run = reading.synchronised.then(|| {
        let kept = memory
            .run
            .as_ref()
            .filter(|run| same_boot && offset_s.abs_diff(run.offset_s) <= STEP.as_secs());
        Run { since_up_s: kept.map_or(reading.up_s, |run| run.since_up_s), offset_s }
    });
    let settled = next
        .run
        .as_ref()
        .is_some_and(|run| reading.up_s.saturating_sub(run.since_up_s) >= SETTLED.as_secs());
    if settled {
        if let Some(anchor) = memory.anchor.as_ref().filter(|anchor| anchor.boot != reading.boot) {
            let passed = u64::try_from(reading.wall_s.saturating_sub(anchor.wall_s)).unwrap_or(0);
            let off_s = passed.saturating_sub((next.now - anchor.now).as_secs());
            if off_s > 0 && passed <= MAX_OFF.as_secs() {
                next.add_gap(off_s);
            }
        }
        let (boot, wall_s) = (reading.boot.clone(), reading.wall_s);
        next.anchor = Some(Anchor { boot, wall_s, now: next.now });
    }
    next
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
        let memory = load(folder, &reading)?;
        if let Err(error) = locked.and_then(|_lock| store(folder, &memory)) {
            tracing::warn!(%error, "the pole's own time can't be kept");
        }
        Ok(Self { folder: folder.into(), memory: Mutex::new(memory) })
    }

    /// Goes on in a new folder where the old one was set aside, so that what is in it ages on.
    ///
    /// # Errors
    /// Where the old one can't be read or the new one not be written.
    pub fn carry_over(from: &Path, to: &Path) -> Result<(), SealingError> {
        let memory = load(from, &read())?;
        durable::make_folder(to).map_err(SealingError::io(to))?;
        let _lock = lock(to)?;
        store(to, &memory)
    }

    /// Reads the machine's clocks and remembers; once a minute by the watchdog.
    ///
    /// # Errors
    /// Where the folder can't be read or written; the time goes on all the same.
    pub fn tick(&self) -> Result<PoleTime, SealingError> {
        let mut memory = self.memory();
        let reading = read();
        *memory = advance(&memory, &reading);
        let _lock = lock(&self.folder)?;
        // Another process may have written since. Never back, even where the file was replaced.
        let stored = load(&self.folder, &reading)?;
        if stored.now >= memory.now {
            *memory = stored;
        }
        store(&self.folder, &memory)?;
        Ok(memory.now)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Now, without another reading: one process lives in one boot.
    fn later(&self) -> PoleTime {
        self.now + Duration::from_secs(up_s().saturating_sub(self.up_s))
    }
}

impl Clock for PoleClock {
    fn now(&self) -> PoleTime {
        self.memory().later()
    }

    fn began(&self) -> PoleTime {
        self.memory().began
    }

    fn age(&self, made: PoleTime) -> Duration {
        let memory = self.memory();
        memory.age(made, memory.later())
    }
}

/// Keeps other processes from the memory; one that hangs with it is not waited for.
fn lock(folder: &Path) -> Result<File, SealingError> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(SealingError::io(&path))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(SealingError::io(&path)(error.into())),
        }
    }
}

fn store(folder: &Path, memory: &Memory) -> Result<(), SealingError> {
    let path = folder.join(MEMORY);
    let text = serde_json::to_vec(memory).unwrap_or_default();
    durable::write(&path, &text).map_err(SealingError::io(&path))
}

/// What is remembered after this reading; where nothing is, from the newest key on.
fn load(folder: &Path, reading: &Reading) -> Result<Memory, SealingError> {
    let path = folder.join(MEMORY);
    let stored = match durable::read(&path) {
        Ok(bytes) => serde_json::from_slice::<Memory>(&bytes).map_err(|e| e.to_string()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err("it is missing".into()),
        Err(e) => return Err(SealingError::io(&path)(e)),
    };
    match stored {
        Ok(memory) if memory.boot == reading.boot => Ok(advance(&memory, reading)),
        // Keys may have been made after the last tick before the restart.
        Ok(memory) => {
            let newest = newest_key(folder)?.unwrap_or_default();
            Ok(advance(&memory.not_before(newest), reading))
        }
        Err(why) => {
            let newest = newest_key(folder)?;
            // Cut off between setting the keys aside and going on here.
            let asides = durable::asides(folder).unwrap_or_default().into_iter().rev();
            let before = asides.filter_map(|aside| durable::read(&aside.join(MEMORY)).ok());
            let before = before.filter_map(|bytes| serde_json::from_slice::<Memory>(&bytes).ok());
            if let Some(memory) = before.into_iter().next() {
                return Ok(advance(&memory.not_before(newest.unwrap_or_default()), reading));
            }
            if newest.is_some() {
                tracing::warn!(path = %path.display(), why, "the pole's own time goes on from its newest key");
            }
            Ok(Memory::begin(newest.unwrap_or_default(), reading))
        }
    }
}

fn newest_key(folder: &Path) -> Result<Option<PoleTime>, SealingError> {
    let (ids, _) = key_file::list(folder)?;
    let files = ids.iter().filter_map(|id| key_file::read(folder, *id).ok().flatten());
    Ok(files.map(|file| file.label.made).max())
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

#[cfg(test)]
mod tests;
