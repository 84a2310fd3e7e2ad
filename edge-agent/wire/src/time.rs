//! The pole's clock in the ledger: that it was set, and what that says about times taken before.
//!
//! Two times of one `boot_id` differ by the seconds that went by, whatever was done to the clock in
//! between. So one moment of which both times are known gives the UTC of every other.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{event::Data, read::TimeSource, schema};

/// How far a machine's own clock may run wrong, in millionths: the kernel's limit for correcting it
/// (`adjtimex(2)`). Quartz is five times better.
pub const MAX_DRIFT_PPM: f64 = 500.0;

/// Most records in one correction, so that its event stays under 6 kB.
pub const MAX_CORRECTED: usize = 20;

/// A moment on the machine's own clock: it starts with the machine, and nothing sets it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BootTime {
    /// Which start of the machine.
    #[schemars(schema_with = "schema::uuid")]
    pub boot_id: Uuid,
    /// Seconds since then.
    #[schemars(range(min = 0.0))]
    pub since_boot_s: f64,
    /// Half-width of the interval that holds the true value.
    #[schemars(range(min = 0.0))]
    pub uncertainty_s: f64,
}

/// The pole's real-time clock was set: by its time service, or by hand. Times that came before say
/// what the clock said then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClockStep {
    /// What the clock would have said when the step was noticed, had it not been set.
    #[schemars(schema_with = "schema::date_time")]
    pub before: Timestamp,
    /// What it said.
    #[schemars(schema_with = "schema::date_time")]
    pub after: Timestamp,
    /// `after` minus `before`.
    pub step_s: f64,
    /// What disciplined the clock before.
    pub source_before: TimeSource,
    /// What disciplined it when the step was noticed.
    pub source_after: TimeSource,
    /// The last look at which it had not been set, on the machine's own clock.
    pub not_yet: Option<BootTime>,
    /// The look at which it had been.
    pub noticed: Option<BootTime>,
}

impl Data for ClockStep {
    const TYPE: &'static str = "org.milepost.alpr.clock_step.v1";
    const IN_LEDGER: bool = true;
}

/// The true time of records that were taken with a clock that was not synchronised. The records
/// stay as they are; this stands beside them.
///
/// `records` names what the pole remembers. The rule holds for every record with
/// `time_source: unsynchronised` and this `boot_id` ([`Self::correct`]), named or not; of several
/// corrections of one record the one with the least uncertainty counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeCorrection {
    /// What disciplines the clock now.
    pub time_source: TimeSource,
    /// A moment in UTC by the disciplined clock.
    #[schemars(schema_with = "schema::date_time")]
    pub reference_at: Timestamp,
    /// Half-width of the interval that holds its true time; null where it is not known.
    #[schemars(range(min = 0.0))]
    pub reference_uncertainty_s: Option<f64>,
    /// The same moment on the machine's own clock.
    pub reference_boot_time: BootTime,
    /// How far the machine's own clock may run wrong, in millionths.
    #[schemars(range(min = 0.0))]
    pub drift_ppm: f64,
    /// Records and their times, oldest first.
    #[schemars(length(max = 20))]
    pub records: Vec<CorrectedTime>,
    /// Records that were taken with the unsynchronised clock and that no correction names, because
    /// the pole restarted its agent since or could not remember them all: the rule holds for them.
    pub unnamed: bool,
}

impl Data for TimeCorrection {
    const TYPE: &'static str = "org.milepost.alpr.time_correction.v1";
    const IN_LEDGER: bool = true;
}

/// A record's two times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CorrectedTime {
    /// The record's event.
    #[schemars(schema_with = "schema::uuid")]
    pub id: Uuid,
    /// Its place in the ledger, in the epoch of this event.
    #[schemars(range(min = 1))]
    pub sequence: u64,
    /// As published.
    #[schemars(schema_with = "schema::date_time")]
    pub captured_at: Timestamp,
    /// As it is known now.
    #[schemars(schema_with = "schema::date_time")]
    pub corrected_at: Timestamp,
    /// Half-width of the interval that holds the true time; null where it is not known.
    #[schemars(range(min = 0.0))]
    pub uncertainty_s: Option<f64>,
}

impl TimeCorrection {
    /// The UTC of a moment on the machine's own clock, with its uncertainty where that is known;
    /// `None` for another start of the machine.
    #[must_use]
    pub fn correct(&self, moment: BootTime) -> Option<(Timestamp, Option<f64>)> {
        if moment.boot_id != self.reference_boot_time.boot_id {
            return None;
        }
        let by = moment.since_boot_s - self.reference_boot_time.since_boot_s;
        let span = SignedDuration::try_from_secs_f64(by).ok()?;
        let at = self.reference_at.checked_add(span).ok()?;
        let uncertainty = self.reference_uncertainty_s.map(|reference| {
            reference
                + self.reference_boot_time.uncertainty_s
                + moment.uncertainty_s
                + by.abs() * self.drift_ppm / 1e6
        });
        Some((at, uncertainty))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::examples;

    proptest! {
        #[test]
        fn the_true_time_lies_in_the_corrected_interval_whatever_the_drift(
            before_s in -400_000.0..400_000.0f64,
            drift_ppm in -MAX_DRIFT_PPM..MAX_DRIFT_PPM,
            late_s in 0.0..0.5f64,
        ) {
            let correction = examples::time_correction().data;
            let reference = correction.reference_boot_time;
            let truth = correction.reference_at - SignedDuration::from_secs_f64(before_s);
            let moment = BootTime {
                since_boot_s: reference.since_boot_s - before_s * (1.0 + drift_ppm / 1e6) + late_s,
                uncertainty_s: 0.5,
                ..reference
            };
            let (at, uncertainty) = correction.correct(moment).unwrap();
            let off = at.duration_since(truth).as_secs_f64().abs();
            prop_assert!(off <= uncertainty.unwrap() + 1e-6, "{off} s off, {uncertainty:?} stated");
        }
    }

    #[test]
    fn another_start_of_the_machine_is_not_corrected() {
        let correction = examples::time_correction().data;
        let moment = BootTime { boot_id: Uuid::nil(), ..correction.reference_boot_time };
        assert_eq!(correction.correct(moment), None);
    }
}
