//! What the kernel says of its clocks: every reading that the rest of [`super`] works with.
//!
//! Four clocks. `CLOCK_REALTIME` is UTC as far as it is kept; it is set (stepped) and slewed.
//! `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` are slewed with it and never set, so that the difference
//! to them changes by steps alone. `CLOCK_MONOTONIC_RAW` is the oscillator, left alone by
//! everybody: only it tells how much time went by where the clock was slewed on the way.

use std::{io, sync::OnceLock, time::Duration};

use jiff::Timestamp;
use milepost_wire as wire;
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

/// Two readings around a third that lie further apart than this are read again: the process was
/// interrupted between them.
const TIGHT: Duration = Duration::from_micros(50);
/// Attempts at such a tight pair; the tightest counts.
const TRIES: u32 = 4;

/// How well the kernel's real-time clock is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discipline {
    /// A daemon keeps it to a reference (the kernel's `STA_UNSYNC` flag is off).
    pub synchronised: bool,
    /// The kernel's bound on its error: what the daemon said, and 500 ppm since then. Says nothing
    /// while not synchronised.
    pub max_error: Duration,
    /// What the kernel is still to slew away of an offset that it was told.
    pub pending: Duration,
}

impl Discipline {
    /// Asks the kernel; needs no privilege.
    ///
    /// # Errors
    /// The system call's, where a sandbox forbids it.
    pub fn ask() -> io::Result<Self> {
        let (state, timex) = adjtimex()?;
        // `c_long` is 32 bits on 32-bit boards.
        #[allow(clippy::useless_conversion)]
        let (max_error, offset): (i64, i64) = (timex.maxerror.into(), timex.offset.into());
        let pending = match timex.status & libc::STA_NANO {
            0 => Duration::from_micros(offset.unsigned_abs()),
            _ => Duration::from_nanos(offset.unsigned_abs()),
        };
        Ok(Self {
            synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
            max_error: Duration::from_micros(max_error.try_into().unwrap_or_default()),
            pending,
        })
    }
}

/// `adjtimex(2)` with nothing to change: clock state, and the rest.
// The only way to the kernel's clock state; none of our crates wraps it. Sound: the
// structure is plain integers, for which all zeros (and `modes` 0: change nothing) is valid, and the
// call writes only into it.
#[allow(unsafe_code)]
fn adjtimex() -> io::Result<(i32, libc::timex)> {
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((state, timex))
}

/// One moment on three clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// `CLOCK_REALTIME`.
    pub utc: Timestamp,
    /// `CLOCK_BOOTTIME`.
    pub boottime: Duration,
    /// The oscillator, see [`since_boot`].
    pub since_boot: Duration,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let boottime = || u64::try_from(read(ClockId::Boottime).as_nanos()).unwrap_or(u64::MAX);
        let (utc, middle, _) = paired(boottime, Timestamp::now);
        Self { utc, boottime: Duration::from_nanos(middle), since_boot: since_boot() }
    }

    /// Its place on the machine's own clock; `None` where the machine has no boot id.
    #[must_use]
    pub fn boot_time(&self) -> Option<wire::BootTime> {
        boot_time(self.since_boot, Duration::ZERO)
    }
}

/// Time since the machine's start by its oscillator alone, suspension counted in: neither set nor
/// slewed.
#[must_use]
pub fn since_boot() -> Duration {
    let suspended = read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic));
    // Two clocks can't be read at once: what lies between them is no suspension.
    let suspended = if suspended < Duration::from_millis(100) { Duration::ZERO } else { suspended };
    read(ClockId::MonotonicRaw) + suspended
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// Which start of the machine this is; `None` where `/proc` does not say.
#[must_use]
pub fn boot_id() -> Option<Uuid> {
    static BOOT_ID: OnceLock<Option<Uuid>> = OnceLock::new();
    *BOOT_ID.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        text.trim().parse().ok()
    })
}

/// A moment of [`since_boot`] as it goes over the wire.
#[must_use]
pub fn boot_time(since_boot: Duration, uncertainty: Duration) -> Option<wire::BootTime> {
    Some(wire::BootTime {
        boot_id: boot_id()?,
        since_boot_s: since_boot.as_secs_f64(),
        uncertainty_s: uncertainty.as_secs_f64(),
    })
}

/// The real-time clock read between two readings of a monotonic one: (real time, middle of the two,
/// their distance), both in ns.
pub(super) fn paired(
    monotonic: impl Fn() -> u64,
    realtime: impl Fn() -> Timestamp,
) -> (Timestamp, u64, u64) {
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
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn an_interruption_between_two_readings_is_read_again_and_else_admitted() {
        let second = Timestamp::from_second(1000).unwrap();
        // The first pair is 1 s wide, the second 20 µs.
        let readings =
            Cell::new(vec![10_000_020_000, 10_000_000_000, 9_000_000_000, 8_000_000_000]);
        let monotonic = || {
            let mut left = readings.take();
            let now = left.pop().unwrap();
            readings.set(left);
            now
        };
        assert_eq!(paired(monotonic, || second), (second, 10_000_010_000, 20_000));

        let ticking = Cell::new(0);
        let slow = || {
            ticking.set(ticking.get() + 2_000_000);
            ticking.get()
        };
        assert_eq!(paired(slow, || second).2, 2_000_000);
    }

    #[test]
    fn the_machines_own_clock_goes_forward_and_near_the_others() {
        let (a, b) = (Moment::now(), Moment::now());
        assert!(b.since_boot >= a.since_boot && b.boottime >= a.boottime);
        let apart = a.boottime.abs_diff(a.since_boot);
        // 500 ppm of slewing at most, ten times of that with an eager daemon.
        assert!(apart <= a.boottime / 100 + Duration::from_secs(1), "{apart:?} apart");
        assert!(boot_id().is_some() && a.boot_time().is_some());
    }
}
