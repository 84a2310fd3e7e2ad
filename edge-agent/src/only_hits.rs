//! Reads that are not kept, counted: for agencies that may keep none but those that match a list. Pure.
//!
//! A read without a match is dropped at once, before anything of it is written; what the ledger gets is how
//! many there were and from when to when. The count is in memory: where the agent ends unasked, the last
//! [`ENTER_EVERY`] of it is lost, and the ledger's next entry, the restart, says when.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use milepost_wire::DroppedReads;

/// How often what was dropped is entered into the ledger.
pub const ENTER_EVERY: Duration = Duration::from_secs(600);

/// What was dropped and is not in the ledger yet.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Exposures of the first and the last, and how many.
    reads: Option<(Timestamp, Timestamp, u64)>,
    /// When the first was dropped.
    since: Option<Instant>,
}

impl Dropped {
    /// One more, exposed at this time.
    pub fn count(&mut self, captured_at: Timestamp, now: Instant) {
        let (first, last, reads) = self.reads.unwrap_or((captured_at, captured_at, 0));
        // Passes end in another order than they were exposed in.
        self.reads = Some((first.min(captured_at), last.max(captured_at), reads + 1));
        self.since.get_or_insert(now);
    }

    /// The entry that is due: what was dropped for [`ENTER_EVERY`], or all of it at the `end`.
    #[must_use]
    pub fn due(&self, now: Instant, end: bool) -> Option<DroppedReads> {
        let since = self.since?;
        let (first_captured_at, last_captured_at, reads) = self.reads?;
        (end || now.saturating_duration_since(since) >= ENTER_EVERY).then_some(DroppedReads {
            first_captured_at,
            last_captured_at,
            reads,
        })
    }

    /// The ledger has what was due.
    pub fn entered(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dropped_read_is_counted_once_in_one_entry() {
        let (mut dropped, start) = (Dropped::default(), Instant::now());
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        assert_eq!(dropped.due(start, true), None, "nothing was dropped");
        for second in [20, 10, 30] {
            dropped.count(at(second), start);
        }
        assert_eq!(dropped.due(start, false), None, "not yet");
        let due = dropped.due(start + ENTER_EVERY, false).unwrap();
        assert_eq!(Some(due.clone()), dropped.due(start, true));
        assert_eq!((due.first_captured_at, due.last_captured_at, due.reads), (at(10), at(30), 3));
        dropped.entered();
        assert_eq!(dropped.due(start + ENTER_EVERY, true), None);
        dropped.count(at(40), start);
        assert_eq!(dropped.due(start, true).unwrap().reads, 1);
    }
}
