//! Restarts with back-off: what fails is tried again for ever, ever more slowly, never in step.

use std::{
    thread,
    time::{Duration, Instant},
};

use rand::RngExt;
use tokio_util::sync::CancellationToken;

use crate::health::{Component, Health, Status};

/// First wait.
pub const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait: an installer who plugs the cable in again is not kept longer.
pub const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// How long a sleep goes without a look whether it is to end.
const NAP: Duration = Duration::from_millis(250);

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

/// Tries until it works, with back-off; `None` where it still failed when the agent was stopped.
pub fn again<T, E: std::error::Error>(
    component: Component,
    health: &Health,
    stop: &CancellationToken,
    mut work: impl FnMut() -> Result<T, E>,
) -> Option<T> {
    let mut backoff = Backoff::default();
    loop {
        match work() {
            Ok(done) => return Some(done),
            Err(error) => {
                tracing::error!(component = component.name(), %error, "failed, trying again");
                health.set(component, Status::Fail, error.to_string());
            }
        }
        if stop.is_cancelled() {
            return None;
        }
        sleep(backoff.wait(), stop);
    }
}

/// Sleeps, in short steps so that a stop is not kept waiting.
pub fn sleep(time: Duration, stop: &CancellationToken) {
    let until = Instant::now().checked_add(time);
    while !stop.is_cancelled() && until.is_none_or(|until| Instant::now() < until) {
        thread::sleep(NAP.min(time));
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
