//! Exposure time: pipeline clock → UTC, with where it comes from and how far off it may be.
//!
//! A frame's time is read on a monotonic clock; this maps it to the kernel's real-time clock at
//! the moment the frame is taken, so that a step of the real-time clock moves only the frames
//! after it. How far that clock may be off is the kernel's own bound (`maxerror` of `adjtimex(2)`),
//! which NTP and PTP daemons keep up to date. A kernel that cannot be asked counts as
//! unsynchronised.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use crate::health::{Component, Health, Status};

/// How often the kernel is asked for its clock's state: its bound grows by 0.5 ms a second at most.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Two readings of the monotonic clock further apart than this are read again: the process was
/// interrupted between them.
const TIGHT: Duration = Duration::from_micros(50);
/// Attempts at such a tight pair; the tightest counts.
const TRIES: u32 = 4;

/// What disciplines the clock that an exposure time was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockSource {
    /// The kernel says that its clock is disciplined (NTP or PTP; the kernel does not say which).
    Kernel,
    /// The kernel's clock is not disciplined: the uncertainty is not known.
    Unsynchronised,
    /// A recorded clip. Played at its own pace, a frame's time is that of its showing; as fast as
    /// it goes, it is the file's modification time (taken for the clip's start) plus the position.
    Recording,
}

/// When a frame was exposed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExposureTime {
    /// Middle of the exposure, UTC.
    pub utc: jiff::Timestamp,
    /// Half-width of the interval that holds the true time; `None` where it is not known.
    pub uncertainty: Option<Duration>,
    /// Where the time comes from.
    pub source: ClockSource,
}

/// How well the kernel's real-time clock is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discipline {
    /// A daemon keeps it to a reference (the kernel's `STA_UNSYNC` flag is off).
    pub synchronised: bool,
    /// The kernel's bound on its error. Says nothing while not synchronised.
    pub max_error: Duration,
}

impl Discipline {
    /// Asks the kernel; needs no privilege.
    ///
    /// # Errors
    /// The system call's, where a sandbox forbids it.
    pub fn ask() -> io::Result<Self> {
        let (state, status, max_error_us) = adjtimex()?;
        Ok(Self {
            synchronised: state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0,
            max_error: Duration::from_micros(max_error_us.try_into().unwrap_or_default()),
        })
    }
}

/// `adjtimex(2)` with nothing to change: (clock state, status bits, `maxerror` in µs).
// The only way to the kernel's clock state; no maintained crate offers it for reading. Sound: the
// structure is plain integers, for which all zeros (and `modes` 0: change nothing) is valid, and the
// call writes only into it.
#[allow(unsafe_code)]
fn adjtimex() -> io::Result<(i32, i32, i64)> {
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    // `c_long` is 32 bits on 32-bit boards.
    #[allow(clippy::useless_conversion)]
    Ok((state, timex.status, timex.maxerror.into()))
}

/// Turns times on a monotonic clock into exposure times, and reports [`Component::Clock`].
#[derive(Debug)]
pub struct UtcClock {
    health: Arc<Health>,
    discipline: Option<Discipline>,
    asked: Option<Instant>,
}

impl UtcClock {
    /// A clock that reports on `health`.
    #[must_use]
    pub fn new(health: Arc<Health>) -> Self {
        Self { health, discipline: None, asked: None }
    }

    /// The exposure time of an instant: `monotonic` reads a monotonic clock in ns, `at` is the
    /// instant on that clock, and `late` how much the instant may lie behind the exposure (the
    /// camera's own encoding and the network). The interval is centred on the instant.
    pub fn exposure(
        &mut self,
        monotonic: impl Fn() -> u64,
        at: u64,
        late: Duration,
    ) -> ExposureTime {
        let (utc, spread) = utc_of(monotonic, Timestamp::now, at);
        match self.refresh() {
            Some(Discipline { synchronised: true, max_error }) => ExposureTime {
                utc,
                uncertainty: Some(max_error + spread + late),
                source: ClockSource::Kernel,
            },
            _ => ExposureTime { utc, uncertainty: None, source: ClockSource::Unsynchronised },
        }
    }

    /// The kernel's clock state, at most [`ASK_EVERY`] old; `None` where it cannot be asked.
    pub fn refresh(&mut self) -> Option<Discipline> {
        if self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            self.asked = Some(Instant::now());
            let asked = Discipline::ask();
            let (status, output) = report(&asked);
            self.health.set(Component::Clock, status, output);
            self.discipline = asked.ok();
        }
        self.discipline
    }
}

/// What the health page says about the clock.
fn report(asked: &io::Result<Discipline>) -> (Status, String) {
    match asked {
        Ok(Discipline { synchronised: true, max_error }) => {
            (Status::Pass, format!("synchronised, at most {} ms off", max_error.as_millis() + 1))
        }
        Ok(_) => (
            Status::Warn,
            "the kernel's clock is not synchronised, so times may be wrong by any amount: set up \
             NTP or PTP (e.g. chrony) and check that its servers are reachable"
                .into(),
        ),
        Err(e) => (
            Status::Warn,
            format!(
                "the kernel does not tell its clock's state ({e}): allow adjtimex in the sandbox"
            ),
        ),
    }
}

/// The real time of the instant `at` of a monotonic clock (ns) and the half-width of what the
/// mapping adds. The real-time clock is read between two readings of the monotonic one. An instant
/// still to come gives now.
fn utc_of(
    monotonic: impl Fn() -> u64,
    realtime: impl Fn() -> Timestamp,
    at: u64,
) -> (Timestamp, Duration) {
    let mut best = (Timestamp::UNIX_EPOCH, 0, u64::MAX);
    for _ in 0..TRIES {
        let (before, now, after) = (monotonic(), realtime(), monotonic());
        let width = after.saturating_sub(before);
        if width < best.2 {
            best = (now, before + width / 2, width);
        }
        if u128::from(width) <= TIGHT.as_nanos() {
            break;
        }
    }
    let (now, middle, width) = best;
    let age = Duration::from_nanos(middle.saturating_sub(at));
    let utc = SignedDuration::try_from(age).ok().and_then(|age| now.checked_sub(age).ok());
    (utc.unwrap_or(now), Duration::from_nanos(width / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn second(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    #[test]
    fn an_instant_of_the_monotonic_clock_becomes_the_same_moment_in_utc() {
        let (utc, spread) = utc_of(|| 5_000_000_000, || second(1000), 3_000_000_000);
        assert_eq!((utc, spread), (second(998), Duration::ZERO));
        let (future, _) = utc_of(|| 5_000_000_000, || second(1000), 9_000_000_000);
        assert_eq!(future, second(1000), "a frame cannot be exposed after it is taken");
    }

    #[test]
    fn an_interruption_between_two_readings_is_read_again_and_else_admitted() {
        // The first pair is 1 s wide, the second 20 µs.
        let readings =
            Cell::new(vec![10_000_020_000, 10_000_000_000, 9_000_000_000, 8_000_000_000]);
        let monotonic = || {
            let mut left = readings.take();
            let now = left.pop().unwrap();
            readings.set(left);
            now
        };
        let (utc, spread) = utc_of(monotonic, || second(1000), 9_000_010_000);
        assert_eq!((utc, spread), (second(999), Duration::from_micros(10)));

        let ticking = Cell::new(0);
        let slow = || {
            ticking.set(ticking.get() + 2_000_000);
            ticking.get()
        };
        let (_, spread) = utc_of(slow, || second(1000), 0);
        assert_eq!(spread, Duration::from_millis(1));
    }

    #[test]
    fn an_undisciplined_kernel_gives_no_uncertainty_and_says_what_to_do() {
        let free = Discipline { synchronised: false, max_error: Duration::from_secs(16) };
        let (status, output) = report(&Ok(free));
        assert_eq!(status, Status::Warn);
        assert!(output.contains("NTP"), "{output}");
        let kept = Discipline { synchronised: true, max_error: Duration::from_micros(2400) };
        assert_eq!(report(&Ok(kept)), (Status::Pass, "synchronised, at most 3 ms off".into()));
        let (status, output) = report(&Err(io::ErrorKind::PermissionDenied.into()));
        assert!(status == Status::Warn && output.contains("sandbox"), "{output}");
    }

    #[test]
    fn exposure_times_follow_the_kernel_and_its_state_is_on_the_health_page() {
        let health = Arc::new(Health::default());
        let mut clock = UtcClock::new(health.clone());
        let started = Instant::now();
        let now = || u64::try_from(started.elapsed().as_nanos()).unwrap() + 1_000_000_000;
        let at = now() - 500_000_000;
        let exposure = clock.exposure(now, at, Duration::from_millis(40));
        let age = Timestamp::now().duration_since(exposure.utc);
        assert!(age >= SignedDuration::from_millis(499), "{age}");
        assert!(age < SignedDuration::from_secs(5), "{age}");
        match clock.refresh().filter(|d| d.synchronised) {
            Some(kept) => {
                let allowed = exposure.uncertainty.unwrap();
                assert!(allowed >= kept.max_error.min(Duration::from_millis(40)));
                assert_eq!(exposure.source, ClockSource::Kernel);
            }
            None => assert_eq!(
                (exposure.uncertainty, exposure.source),
                (None, ClockSource::Unsynchronised)
            ),
        }
        let check = &health.checks()[&Component::Clock];
        assert_ne!((check.status, check.output.as_str()), (Status::Fail, "not started"));
    }
}
