//! Records taken while the clock was not synchronised, and their true times once it is.
//!
//! A record carries its capture on the machine's own clock, which goes on through steps and slews.
//! One moment of the disciplined clock with its place on that clock therefore gives the true time of
//! every record of this boot ([`wire::TimeCorrection`]): of those remembered here by name, and of
//! all others by rule. So neither the memory's limit nor a restart of the agent leaves a record
//! uncorrected; a reboot does, as nothing tells how long the machine was off.
//!
//! That a correction is owed is marked by a file with the boot's id, for a process that starts after
//! the clock was synchronised. Where the file can't be written, only that case is lost, with a
//! warning.

use std::{collections::VecDeque, fs, io, path::PathBuf, time::Duration};

use jiff::Timestamp;
use milepost_wire::{
    self as wire,
    time::{MAX_CORRECTED, MAX_DRIFT_PPM},
};
use uuid::Uuid;

use super::{ClockSource, kernel::Moment, reference::State};

/// Records remembered by name; the oldest beyond it are corrected by rule.
pub const MAX_REMEMBERED: usize = 1000;
/// A clock that is known this well is good enough to correct by.
const GOOD_ENOUGH: Duration = Duration::from_millis(100);
/// How long a synchronised clock is given to become so: a large offset may be slewed away.
const SETTLE_LIMIT: Duration = Duration::from_secs(300);

/// A moment of the synchronised clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// When.
    pub at: Moment,
    /// What keeps the clock, and how well.
    pub state: State,
}

/// A record that was kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    /// Its event.
    pub id: Uuid,
    /// Its place in the ledger.
    pub sequence: u64,
    /// As published.
    pub captured_at: Timestamp,
    /// The same on the machine's own clock.
    pub boot_time: wire::BootTime,
}

/// What is owed to the records of this boot.
#[derive(Debug)]
pub struct Corrections {
    mark: PathBuf,
    boot_id: Option<Uuid>,
    remembered: VecDeque<Taken>,
    /// Some that are owed a correction are not remembered.
    unnamed: bool,
    /// When the clock was first seen synchronised since the last of them.
    synchronised_since: Option<Duration>,
}

impl Corrections {
    /// What this process owes, and, by the file `mark`, what an earlier one of this boot did.
    #[must_use]
    pub fn new(mark: PathBuf, boot_id: Option<Uuid>) -> Self {
        let marked = fs::read_to_string(&mark).ok().and_then(|text| text.trim().parse().ok());
        let unnamed = boot_id.is_some() && marked == boot_id;
        Self { mark, boot_id, remembered: VecDeque::new(), unnamed, synchronised_since: None }
    }

    /// Takes note of a record whose time came from `source`.
    pub fn taken(&mut self, source: ClockSource, taken: Taken) {
        if source != ClockSource::Unsynchronised {
            return;
        }
        self.synchronised_since = None;
        if !self.are_owed()
            && let Err(error) = fs::write(&self.mark, taken.boot_time.boot_id.to_string())
        {
            tracing::warn!(%error, "a restart before the clock is set leaves reads uncorrected");
        }
        self.remembered.push_back(taken);
        if self.remembered.len() > MAX_REMEMBERED {
            self.remembered.pop_front();
            self.unnamed = true;
        }
    }

    /// Whether any is.
    #[must_use]
    pub fn are_owed(&self) -> bool {
        self.unnamed || !self.remembered.is_empty()
    }

    /// The corrections that can be made with this moment of the synchronised clock; none while
    /// nothing is owed or the clock is still settling. They are owed until [`Self::made`].
    pub fn due(&mut self, reference: &Reference) -> Vec<wire::TimeCorrection> {
        let (true, Some(boot_id)) = (self.are_owed(), self.boot_id) else { return Vec::new() };
        let now = reference.at.since_boot;
        let since = *self.synchronised_since.get_or_insert(now);
        let good = reference.state.bound.is_some_and(|bound| bound <= GOOD_ENOUGH);
        if !good && now.saturating_sub(since) < SETTLE_LIMIT {
            return Vec::new();
        }
        let rule = wire::TimeCorrection {
            time_source: reference.state.source.wire(),
            reference_at: reference.at.utc,
            reference_uncertainty_s: reference.state.bound.map(|b| b.as_secs_f64()),
            reference_boot_time: wire::BootTime {
                boot_id,
                since_boot_s: now.as_secs_f64(),
                uncertainty_s: 0.0,
            },
            drift_ppm: MAX_DRIFT_PPM,
            records: Vec::new(),
            unnamed: self.unnamed,
        };
        let records: Vec<_> =
            self.remembered.iter().filter_map(|taken| corrected(&rule, taken)).collect();
        let mut corrections: Vec<_> = records
            .chunks(MAX_CORRECTED)
            .map(|some| wire::TimeCorrection { records: some.to_vec(), ..rule.clone() })
            .collect();
        if corrections.is_empty() {
            corrections.push(rule);
        }
        corrections
    }

    /// What was due is in the ledger.
    pub fn made(&mut self) {
        self.remembered.clear();
        (self.unnamed, self.synchronised_since) = (false, None);
        match fs::remove_file(&self.mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // The correction is then made once more, by rule, after a restart: harmless.
                tracing::warn!(%error, "the mark of an owed correction could not be removed");
            }
            _ => {}
        }
    }
}

fn corrected(rule: &wire::TimeCorrection, taken: &Taken) -> Option<wire::CorrectedTime> {
    let (corrected_at, uncertainty_s) = rule.correct(taken.boot_time)?;
    let Taken { id, sequence, captured_at, .. } = *taken;
    Some(wire::CorrectedTime { id, sequence, captured_at, corrected_at, uncertainty_s })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::outbox::MAX_RECORD_BYTES;

    const BOOT: Uuid = Uuid::from_u128(0x5bd1);
    const FREE: ClockSource = ClockSource::Unsynchronised;

    fn second(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    /// Taken `s` seconds after the start of a machine that takes now for 1970.
    fn taken(s: u64) -> Taken {
        Taken {
            id: Uuid::from_u128(u128::from(s) + (7 << 76)),
            sequence: s + 1,
            captured_at: second(s.cast_signed()),
            boot_time: wire::BootTime {
                boot_id: BOOT,
                since_boot_s: s as f64,
                uncertainty_s: 0.04,
            },
        }
    }

    /// The clock, right since NTP set it, `s` seconds after the machine's start.
    fn reference(s: u64, bound: Option<Duration>) -> Reference {
        let since_boot = Duration::from_secs(s);
        let at = Moment {
            utc: second(1_772_349_300 + s.cast_signed()),
            boottime: since_boot,
            since_boot,
        };
        Reference { at, state: State { source: ClockSource::Ntp, bound, by: None } }
    }

    fn good(s: u64) -> Reference {
        reference(s, Some(Duration::from_millis(4)))
    }

    #[test]
    fn every_record_of_an_unsynchronised_clock_gets_its_true_time_beside_the_published_one_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut owed = Corrections::new(folder.path().join("mark"), Some(BOOT));
        assert!(owed.due(&good(1)).is_empty());
        for s in 10..55 {
            owed.taken(FREE, taken(s));
        }
        owed.taken(ClockSource::Ntp, taken(60));
        let corrections = owed.due(&good(100));
        owed.made();
        let records: Vec<_> = corrections.iter().flat_map(|c| &c.records).collect();
        assert_eq!(records.len(), 45);
        for (s, record) in (10..).zip(records) {
            assert_eq!((record.id, record.sequence), (taken(s).id, s + 1));
            assert_eq!(record.captured_at, second(s.cast_signed()));
            assert_eq!(record.corrected_at, second(1_772_349_300 + s.cast_signed()));
            let expected = 0.004 + 0.04 + (100 - s) as f64 * 500e-6;
            assert!((record.uncertainty_s.unwrap() - expected).abs() < 1e-9);
        }
        assert!(corrections.iter().all(|c| !c.unnamed));
        assert!(owed.due(&good(101)).is_empty(), "made once");
        // Captured before, kept after: a pass lasts.
        owed.taken(FREE, taken(99));
        assert_eq!(owed.due(&good(102))[0].records[0].sequence, 100);
    }

    #[test]
    fn a_correction_waits_until_the_clock_is_known_well_but_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let mut owed = Corrections::new(folder.path().join("mark"), Some(BOOT));
        owed.taken(FREE, taken(10));
        let poor = |s| reference(s, Some(Duration::from_secs(9)));
        assert!(owed.due(&poor(20)).is_empty());
        assert!(owed.due(&poor(319)).is_empty());
        assert_eq!(owed.due(&poor(320))[0].records.len(), 1);
        assert_eq!(owed.due(&good(30))[0].reference_uncertainty_s, Some(0.004));
        let unknown = owed.due(&reference(400, None));
        assert_eq!(unknown[0].records[0].uncertainty_s, None, "not known is not zero");
    }

    #[test]
    fn records_of_an_earlier_process_of_this_boot_are_corrected_by_rule_and_of_no_other_boot() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        Corrections::new(mark.clone(), Some(BOOT)).taken(FREE, taken(10));
        assert!(!Corrections::new(mark.clone(), Some(Uuid::nil())).are_owed());
        assert!(!Corrections::new(mark.clone(), None).are_owed());
        let mut owed = Corrections::new(mark.clone(), Some(BOOT));
        let [correction] = &owed.due(&good(100))[..] else { panic!("one") };
        assert!(correction.unnamed && correction.records.is_empty());
        let (at, _) = correction.correct(taken(10).boot_time).unwrap();
        assert_eq!(at, second(1_772_349_310));
        owed.made();
        assert!(!Corrections::new(mark, Some(BOOT)).are_owed());
    }

    #[test]
    fn days_without_a_time_server_fill_no_memory_and_every_event_fits_into_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let mut owed = Corrections::new(folder.path().join("mark"), Some(BOOT));
        for s in 0..20_000 {
            owed.taken(FREE, taken(4_000_000_000 + s));
        }
        let corrections = owed.due(&good(5_000_000_000));
        assert_eq!(corrections.iter().map(|c| c.records.len()).sum::<usize>(), MAX_REMEMBERED);
        assert!(corrections.iter().all(|c| c.unnamed));
        let long = "x".repeat(64);
        let root = wire::Root::new(&long, &long, &long).unwrap();
        for mut data in corrections {
            // The longest that a time or a number is in JSON.
            for record in &mut data.records {
                record.captured_at += SignedDuration::from_nanos(123_456_789);
                record.corrected_at += SignedDuration::from_nanos(123_456_789);
                record.sequence = u64::MAX;
                record.uncertainty_s = Some(1.0 / 3.0 * 1e7);
            }
            let ledger = wire::Ledger { epoch: BOOT, sequence: 1 };
            let time = data.reference_at;
            let event = wire::Event::new(BOOT, root.source(), time, Some(ledger), data);
            let bytes = event.to_json().unwrap().len();
            // What the store adds: see `Record::encode`.
            assert!(bytes + 300 < MAX_RECORD_BYTES, "{bytes} bytes");
        }
    }
}
