//! How much may be under way besides live events, measured by how soon the broker acknowledges.
//! Pure.
//!
//! A live event waits behind the bytes that went into the line before it. So that this wait stays
//! short on a slow line, what a message waited there is measured (its time to the acknowledgement,
//! less the quickest on this connection, which is the way itself): above [`LONG_WAIT`] half as much
//! may be under way from then on, below it slowly more again; and after a photo that took longer,
//! one photo at a time until one takes less.

use std::time::Duration;

/// A wait in the line that is too long for what follows.
pub const LONG_WAIT: Duration = Duration::from_millis(500);

/// The measure of one connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    quickest: Option<Duration>,
    most: f64,
    slots: f64,
    slow_photos: bool,
}

impl Pace {
    /// Of a new connection with at most so many messages under way.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a few slots")]
    pub fn new(most: usize) -> Self {
        let most = most.max(1) as f64;
        Self { quickest: None, most, slots: most, slow_photos: false }
    }

    /// A message was acknowledged after `took`.
    pub fn acknowledged(&mut self, took: Duration, is_photo: bool) {
        let quickest = self.quickest.map_or(took, |q| q.min(took));
        self.quickest = Some(quickest);
        let is_long = took - quickest > LONG_WAIT;
        if is_photo {
            self.slow_photos = is_long;
        }
        self.slots = if is_long {
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

    /// Whether photos go one at a time.
    #[must_use]
    pub fn has_slow_photos(&self) -> bool {
        self.slow_photos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_gets_one_at_a_time_and_a_mended_one_everything_again() {
        let mut pace = Pace::new(16);
        pace.acknowledged(Duration::from_millis(100), true);
        assert_eq!((pace.slots(), pace.has_slow_photos()), (16, false));
        for _ in 0..5 {
            pace.acknowledged(Duration::from_secs(3), true);
        }
        assert_eq!((pace.slots(), pace.has_slow_photos()), (1, true));
        for _ in 0..200 {
            pace.acknowledged(Duration::from_millis(300), false);
        }
        assert_eq!(
            (pace.slots(), pace.has_slow_photos()),
            (16, true),
            "events say nothing of photos"
        );
        pace.acknowledged(Duration::from_millis(300), true);
        assert!(!pace.has_slow_photos());
    }

    #[test]
    fn a_long_way_is_not_a_slow_line() {
        let mut pace = Pace::new(16);
        for _ in 0..50 {
            pace.acknowledged(Duration::from_millis(2500), true);
        }
        assert_eq!(pace.slots(), 16);
    }
}
