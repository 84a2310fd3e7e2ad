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
    /// What the entry will say.
    reads: Option<DroppedReads>,
    /// When the first was dropped.
    since: Option<Instant>,
}

impl Dropped {
    /// One more, exposed at this time; `searched`: every list could be.
    pub fn count(&mut self, captured_at: Timestamp, searched: bool, now: Instant) {
        let said = self.reads.get_or_insert(DroppedReads {
            first_captured_at: captured_at,
            last_captured_at: captured_at,
            reads: 0,
            not_searched: 0,
        });
        // Passes end in another order than they were exposed in.
        said.first_captured_at = said.first_captured_at.min(captured_at);
        said.last_captured_at = said.last_captured_at.max(captured_at);
        said.reads += 1;
        said.not_searched += u64::from(!searched);
        self.since.get_or_insert(now);
    }

    /// The entry that is due: what was dropped for [`ENTER_EVERY`], or all of it at the `end`.
    #[must_use]
    pub fn due(&self, now: Instant, end: bool) -> Option<DroppedReads> {
        let since = self.since?;
        let is_due = end || now.saturating_duration_since(since) >= ENTER_EVERY;
        self.reads.clone().filter(|_| is_due)
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
            dropped.count(at(second), second != 10, start);
        }
        assert_eq!(dropped.due(start, false), None, "not yet");
        let due = dropped.due(start + ENTER_EVERY, false).unwrap();
        assert_eq!(Some(due.clone()), dropped.due(start, true));
        assert_eq!((due.first_captured_at, due.last_captured_at), (at(10), at(30)));
        assert_eq!((due.reads, due.not_searched), (3, 1));
        dropped.entered();
        assert_eq!(dropped.due(start + ENTER_EVERY, true), None);
        dropped.count(at(40), true, start);
        assert_eq!(dropped.due(start, true).unwrap().reads, 1);
    }
}
