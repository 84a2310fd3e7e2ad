//! Exposure time: pipeline clock → UTC, with where it comes from and how far off it may be; and what
//! happens to that clock.
//!
//! A frame's time is read on a monotonic clock; this maps it to the kernel's real-time clock at
//! the moment the frame is taken, so that a step of the real-time clock moves only the frames
//! after it. How far that clock may be off is the bound of the kernel and of the time service
//! ([`reference`]). Beside it stands the same moment on the machine's own clock, which is never set:
//! time between frames is measured on that one, and by it an unsynchronised time is corrected later
//! ([`correction`]). Steps are noticed by [`watch`]. A kernel that cannot be asked counts as
//! unsynchronised. Why it is so: `docs/decisions/time.md`.

pub mod correction;
pub mod kernel;
pub mod last_look;
pub mod reference;
pub mod step;
pub mod watch;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use milepost_wire as wire;

pub use correction::{Corrections, Reference, Taken};
pub use kernel::{Discipline, Moment, boot_id};
pub use last_look::LastLook;
pub use reference::{Keeper, State};
pub use watch::{News, watch};

/// How often the kernel is asked for its clock's state: its bound grows by 0.5 ms a second at most.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A real-time clock that moves against the monotonic one by more was set: the kernel is asked now.
const MOVED_NS: i128 = 10_000_000;

/// What disciplines the clock that an exposure time was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockSource {
    /// The Precision Time Protocol.
    Ptp,
    /// The Network Time Protocol.
    Ntp,
    /// A satellite receiver.
    Gps,
    /// The kernel says that its clock is disciplined; by what is not known.
    Kernel,
    /// The kernel's clock is not disciplined: the uncertainty is not known.
    Unsynchronised,
    /// A recorded clip. Played at its own pace, a frame's time is that of its showing; as fast as
    /// it goes, it is the file's modification time (taken for the clip's start) plus the position.
    Recording,
}

impl ClockSource {
    /// Its word on the wire.
    #[must_use]
    pub const fn wire(self) -> wire::TimeSource {
        match self {
            Self::Ptp => wire::TimeSource::Ptp,
            Self::Ntp => wire::TimeSource::Ntp,
            Self::Gps => wire::TimeSource::Gps,
            Self::Kernel => wire::TimeSource::Kernel,
            Self::Unsynchronised => wire::TimeSource::Unsynchronised,
            Self::Recording => wire::TimeSource::Recording,
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ptp => "PTP",
            Self::Ntp => "NTP",
            Self::Gps => "GPS",
            Self::Kernel => "something",
            Self::Unsynchronised => "nothing",
            Self::Recording => "a recording",
        }
    }
}

/// A moment on the machine's own clock ([`kernel::since_boot`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinceBoot {
    /// Since the machine's start.
    pub at: Duration,
    /// Half-width of the interval that holds the true value.
    pub uncertainty: Duration,
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
    /// The same on the machine's own clock; `None` for a clip that is read as fast as it goes, whose
    /// `utc` nobody sets.
    pub since_boot: Option<SinceBoot>,
}

impl ExposureTime {
    /// A time that is never set, for the time between frames: only differences mean something.
    #[must_use]
    pub fn steady(&self) -> Timestamp {
        let Some(SinceBoot { at, .. }) = self.since_boot else { return self.utc };
        let at = SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX);
        Timestamp::UNIX_EPOCH.checked_add(at).unwrap_or(Timestamp::MAX)
    }

    /// The moment that is `steady` by [`Self::steady`], as the clock stood at this exposure.
    #[must_use]
    pub fn at(&self, steady: Timestamp) -> Self {
        let by = steady.duration_since(self.steady());
        let shifted = |at: Duration| {
            let at = SignedDuration::try_from(at).ok()?.checked_add(by)?;
            Duration::try_from(at).ok()
        };
        Self {
            utc: self.utc.checked_add(by).unwrap_or(self.utc),
            since_boot: self.since_boot.and_then(|s| Some(SinceBoot { at: shifted(s.at)?, ..s })),
            ..*self
        }
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn boot_time(&self) -> Option<wire::BootTime> {
        self.since_boot.and_then(|s| kernel::boot_time(s.at, s.uncertainty))
    }
}

/// Turns times on a monotonic clock into exposure times.
#[derive(Debug, Default)]
pub struct UtcClock {
    keeper: Keeper,
    discipline: Option<Discipline>,
    asked: Option<Instant>,
    /// Real-time clock minus monotonic clock, in ns.
    offset_ns: Option<i128>,
}

impl UtcClock {
    /// A clock that is kept as `keeper` says.
    #[must_use]
    pub fn new(keeper: Keeper) -> Self {
        Self { keeper, ..Self::default() }
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
        let (now, middle, width) = kernel::paired(monotonic, Timestamp::now);
        let since_boot = kernel::since_boot();
        let spread = Duration::from_nanos(width / 2);
        let (utc, age) = utc_of(now, middle, at);
        let discipline = self.refresh(now, middle);
        let State { source, bound, .. } = self.keeper.state(discipline);
        ExposureTime {
            utc,
            uncertainty: bound.map(|bound| bound.saturating_add(spread + late)),
            source,
            since_boot: Some(SinceBoot {
                at: since_boot.saturating_sub(age),
                uncertainty: spread + late,
            }),
        }
    }

    /// The kernel's clock state: at most [`ASK_EVERY`] old, and asked after the clock was set.
    fn refresh(&mut self, now: Timestamp, middle: u64) -> Option<Discipline> {
        let offset = now.as_nanosecond() - i128::from(middle);
        let moved = self.offset_ns.replace(offset).is_none_or(|o| (offset - o).abs() > MOVED_NS);
        if moved || self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            self.asked = Some(Instant::now());
            self.discipline = Discipline::ask().ok();
        }
        self.discipline
    }
}

/// The real time of the instant `at` of a monotonic clock (ns), and how long ago that was, where
/// the one said `now` when the other said `middle`. An instant still to come gives now.
fn utc_of(now: Timestamp, middle: u64, at: u64) -> (Timestamp, Duration) {
    let age = Duration::from_nanos(middle.saturating_sub(at));
    let utc = SignedDuration::try_from(age).ok().and_then(|age| now.checked_sub(age).ok());
    (utc.unwrap_or(now), age)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    #[test]
    fn an_instant_of_the_monotonic_clock_becomes_the_same_moment_in_utc() {
        let two_seconds = Duration::from_secs(2);
        let (utc, age) = utc_of(second(1000), 5_000_000_000, 3_000_000_000);
        assert_eq!((utc, age), (second(998), two_seconds));
        let (future, _) = utc_of(second(1000), 5_000_000_000, 9_000_000_000);
        assert_eq!(future, second(1000), "a frame cannot be exposed after it is taken");
    }

    #[test]
    fn a_clock_that_is_set_moves_the_times_of_a_pass_together_and_not_the_time_between_frames() {
        let since_boot = |s| {
            Some(SinceBoot { at: Duration::from_secs(s), uncertainty: Duration::from_millis(40) })
        };
        let exposure = |utc, since| ExposureTime {
            utc: second(utc),
            uncertainty: None,
            source: ClockSource::Unsynchronised,
            since_boot: since_boot(since),
        };
        // Set back by three days between the two frames.
        let (first, second_frame) = (exposure(1_000_000, 50), exposure(1_000_002 - 259_200, 52));
        let between = second_frame.steady().duration_since(first.steady());
        assert_eq!(between, SignedDuration::from_secs(2));
        assert_eq!(second_frame.at(first.steady()), exposure(1_000_000 - 259_200, 50));
        // A clip that is read as fast as it goes has its own time alone.
        let clip = ExposureTime { since_boot: None, ..first };
        assert_eq!(clip.steady(), clip.utc);
        assert_eq!(clip.at(second(999_999)).utc, second(999_999));
    }

    #[test]
    fn exposure_times_follow_the_kernel() {
        let mut clock = UtcClock::new(Keeper::default());
        let started = Instant::now();
        let now = || u64::try_from(started.elapsed().as_nanos()).unwrap() + 1_000_000_000;
        let at = now() - 500_000_000;
        let exposure = clock.exposure(now, at, Duration::from_millis(40));
        let age = Timestamp::now().duration_since(exposure.utc);
        assert!(age >= SignedDuration::from_millis(499), "{age}");
        assert!(age < SignedDuration::from_secs(5), "{age}");
        let since_boot = exposure.since_boot.unwrap();
        let own_age = kernel::since_boot().saturating_sub(since_boot.at);
        assert!(own_age >= Duration::from_millis(499) && own_age < Duration::from_secs(5));
        assert!(since_boot.uncertainty >= Duration::from_millis(40));
        match clock.discipline.filter(|d| d.synchronised) {
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
    }

    #[test]
    fn the_kernel_is_asked_again_as_soon_as_its_clock_was_set() {
        let mut clock = UtcClock::default();
        clock.refresh(second(1000), 5_000_000_000);
        let first = clock.asked.unwrap();
        clock.refresh(second(1000), 5_000_000_000);
        assert_eq!(clock.asked, Some(first));
        clock.refresh(second(2000), 5_000_000_000);
        assert_ne!(clock.asked, Some(first));
    }
}
