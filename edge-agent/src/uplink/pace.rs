//! How much may be under way besides live events, measured by how soon the broker acknowledges.
//! Pure.
//!
//! A live event waits behind the bytes that went into the line before it. So that this wait stays
//! short on a slow line, what a message waited there is measured (its time to the acknowledgement,
//! less the quickest on this connection, which is the way itself): above [`LONG_WAIT`] half as much
//! may be under way from then on, below it slowly more again.

use std::time::Duration;

/// A wait in the line that is too long for what follows.
pub const LONG_WAIT: Duration = Duration::from_secs(1);

/// The measure of one connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    quickest: Option<Duration>,
    most: f64,
    slots: f64,
}

impl Pace {
    /// Of a new connection with at most so many messages under way.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a few slots")]
    pub fn new(most: usize) -> Self {
        let most = most.max(1) as f64;
        Self { quickest: None, most, slots: most }
    }

    /// A message was acknowledged after `took`.
    pub fn acknowledged(&mut self, took: Duration) {
        let quickest = self.quickest.map_or(took, |q| q.min(took));
        self.quickest = Some(quickest);
        self.slots = if took - quickest > LONG_WAIT {
            (self.slots / 2.0).max(1.0)
        } else {
            (self.slots + 1.0 / self.slots).min(self.most)
        };
    }

    /// Messages that may be under way, live events aside; at least one.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to a few")]
    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    /// Whether less than everything may be under way.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.slots < self.most / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_gets_one_at_a_time_and_a_mended_one_everything_again() {
        let mut pace = Pace::new(16);
        pace.acknowledged(Duration::from_millis(100));
        assert_eq!((pace.slots(), pace.is_slow()), (16, false));
        for _ in 0..5 {
            pace.acknowledged(Duration::from_secs(3));
        }
        assert_eq!((pace.slots(), pace.is_slow()), (1, true));
        for _ in 0..200 {
            pace.acknowledged(Duration::from_millis(300));
        }
        assert_eq!((pace.slots(), pace.is_slow()), (16, false));
    }

    #[test]
    fn a_long_way_is_not_a_slow_line() {
        let mut pace = Pace::new(16);
        for _ in 0..50 {
            pace.acknowledged(Duration::from_millis(2500));
        }
        assert_eq!(pace.slots(), 16);
    }
}
