//! Restarts with back-off: what fails is tried again for ever, ever more slowly, never in step.

use std::time::Duration;

use rand::RngExt;

/// First wait.
pub const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait: an installer who plugs the cable in again is not kept longer.
pub const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Waits that double, with jitter, until told that it works again.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_WAIT }
    }
}

impl Backoff {
    /// How long to wait before the next try: half to all of a time that doubles up to
    /// [`LONGEST_WAIT`]. The jitter keeps a thousand poles from returning at once.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.next = (self.next * 2).min(LONGEST_WAIT);
        wait
    }

    /// It works again: the next wait is the first.
    pub fn reset(&mut self) {
        self.next = FIRST_WAIT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_over_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.wait()).collect();
        assert!(waits[0] <= FIRST_WAIT && waits[0] >= FIRST_WAIT / 2);
        assert!(waits[11] >= LONGEST_WAIT / 2 && waits[11] <= LONGEST_WAIT);
        backoff.reset();
        assert!(backoff.wait() <= FIRST_WAIT);
    }
}
