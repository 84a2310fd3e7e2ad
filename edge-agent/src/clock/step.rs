//! Whether the real-time clock was set. Pure.
//!
//! `CLOCK_REALTIME` minus `CLOCK_BOOTTIME` stays the same while nobody sets the clock: Linux slews
//! both together, and suspension counts in both. What slewing could do to it elsewhere (500 ppm, the
//! most that `adjtimex(2)` takes for a frequency) is allowed for, and so is a look that was
//! interrupted half-way. A step is reported once, by the look after it, with its size.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Steps up to this are not told from an interrupted look. Time services step from 0.13 s
/// (ntpd), 0.4 s (systemd-timesyncd) or 1 s (chrony) on, and slew what is less.
pub const THRESHOLD: Duration = Duration::from_millis(100);
/// What slewing is allowed for: this part of the time between two looks (500 ppm).
pub const SLEW_DIVISOR: u32 = 2000;

/// The clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What it would have said, had it not been set.
    pub before: Timestamp,
    /// What it said.
    pub after: Timestamp,
}

impl Step {
    /// By how much it was set.
    #[must_use]
    pub fn by(&self) -> SignedDuration {
        self.after.duration_since(self.before)
    }
}

/// Compares each look at the two clocks with the one before.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepDetector {
    last: Option<(Timestamp, Duration)>,
}

impl StepDetector {
    /// Takes a look; a step since the one before it, where there was one.
    pub fn look(&mut self, realtime: Timestamp, boottime: Duration) -> Option<Step> {
        let (last_real, last_boot) = self.last.replace((realtime, boottime))?;
        let passed = boottime.saturating_sub(last_boot);
        let expected = SignedDuration::try_from(passed)
            .ok()
            .and_then(|passed| last_real.checked_add(passed).ok())
            .unwrap_or(Timestamp::MAX);
        let step = Step { before: expected, after: realtime };
        let allowed = THRESHOLD + passed / SLEW_DIVISOR;
        (step.by().unsigned_abs() > allowed).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn second(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    #[test]
    fn the_steps_of_a_bad_day_are_seen_with_their_size_and_a_suspension_is_none() {
        let mut detector = StepDetector::default();
        let mut boot = Duration::from_secs(50);
        let now = 1_772_349_300;
        assert_eq!(detector.look(second(now), boot), None);
        // Suspended for an hour: both clocks went on.
        boot += Duration::from_secs(3600);
        assert_eq!(detector.look(second(now + 3600), boot), None);
        let mut expected = now + 3600;
        for to in [now + 72 * 3600, now - 72 * 3600, 0, 2_147_483_650, now] {
            boot += Duration::from_secs(1);
            let step = detector.look(second(to), boot).unwrap();
            assert_eq!((step.before, step.after), (second(expected + 1), second(to)));
            assert_eq!(step.by().as_secs(), to - expected - 1);
            expected = to;
        }
        boot += Duration::from_secs(1);
        assert_eq!(detector.look(second(now + 1), boot), None, "each is reported once");
    }

    #[test]
    fn clocks_at_the_end_of_time_do_no_harm() {
        let mut detector = StepDetector::default();
        detector.look(Timestamp::MAX, Duration::ZERO);
        assert!(detector.look(Timestamp::MIN, Duration::from_secs(1)).is_some());
        detector.look(Timestamp::MAX, Duration::MAX);
        assert!(detector.look(Timestamp::MIN, Duration::ZERO).is_some());
    }

    proptest! {
        #[test]
        fn slewing_within_the_kernels_limit_is_never_a_step(
            looks in vec((1u64..120_000, -500i64..=500, -40_000i64..40_000), 1..60),
        ) {
            let (mut detector, mut boot_us, mut slewed_us) = (StepDetector::default(), 0i64, 0i64);
            for (ms, ppm, jitter_us) in looks {
                boot_us += ms.cast_signed() * 1000;
                slewed_us += ms.cast_signed() * ppm / 1000;
                let real = 1_772_349_300_000_000 + boot_us + slewed_us + jitter_us;
                let boot = Duration::from_micros(boot_us.unsigned_abs());
                let seen = detector.look(Timestamp::from_microsecond(real).unwrap(), boot);
                prop_assert_eq!(seen, None);
            }
        }

        #[test]
        fn every_jump_is_reported_once_and_by_its_size(
            jumps in vec((1u64..10_000, prop_oneof![Just(0i64), 200_000..300_000_000_000i64, -300_000_000_000..-200_000i64]), 1..40),
            ppm in -400i64..400,
        ) {
            let (mut detector, mut boot_us, mut offset_us) = (StepDetector::default(), 0i64, 0i64);
            detector.look(Timestamp::from_microsecond(1_772_349_300_000_000).unwrap(), Duration::ZERO);
            for (ms, jump_us) in jumps {
                let passed = ms.cast_signed() * 1000;
                boot_us += passed;
                let slew = passed * ppm / 1_000_000;
                offset_us += jump_us + slew;
                let real = Timestamp::from_microsecond(1_772_349_300_000_000 + boot_us + offset_us).unwrap();
                let step = detector.look(real, Duration::from_micros(boot_us.unsigned_abs()));
                prop_assert_eq!(step.is_some(), jump_us != 0);
                if let Some(step) = step {
                    prop_assert_eq!(step.by().as_micros(), i128::from(jump_us + slew));
                    prop_assert_eq!(step.after, real);
                }
            }
        }
    }
}
