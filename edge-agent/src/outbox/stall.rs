//! A commit that never ends, or a writer that panics: sled was seen to do both after an I/O error. Nothing
//! in this process can mend that, so the process ends, and the service manager starts it again.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use super::sled_state::opening_time;
use crate::health::{Component, Health, Status};

/// Longest that the writer may be at one thing.
const LIMIT: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Until when the writer must be through with what it does; `None` while it waits for work.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy(Arc<Mutex<Option<Instant>>>);

impl Busy {
    /// Work begins, or goes on to the next step.
    pub(super) fn begin(&self) {
        self.set(Some(LIMIT));
    }

    /// A store of so many bytes is opened again.
    pub(super) fn begin_opening(&self, bytes: u64) {
        self.set(Some(LIMIT + opening_time(bytes)));
    }

    /// It waits for work.
    pub(super) fn end(&self) {
        self.set(None);
    }

    fn set(&self, limit: Option<Duration>) {
        let until = limit.map(|limit| Instant::now() + limit);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Ends the process when work takes longer than it may; the watch ends with the last handle.
    pub(super) fn watch(&self, health: Arc<Health>) -> std::io::Result<()> {
        let busy = Arc::downgrade(&self.0);
        let watch = move || {
            while let Some(until) = until(&busy) {
                if until.is_some_and(|until| Instant::now() > until) {
                    end(&health, "the store does not answer: the agent ends, to be started again");
                }
                thread::sleep(LOOK);
            }
        };
        thread::Builder::new().name("outbox-watch".into()).spawn(watch).map(drop)
    }
}

/// Held by the writer's thread: its panic ends the process, in builds that unwind too. A pole that can't
/// keep must not look like one that does.
pub(super) struct EndOnPanic(pub(super) Arc<Health>);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            end(&self.0, "the store failed for good: the agent ends, to be started again");
        }
    }
}

fn end(health: &Health, output: &str) -> ! {
    health.set(Component::Outbox, Status::Fail, output);
    tracing::error!("{output}");
    std::process::abort()
}

fn until(busy: &Weak<Mutex<Option<Instant>>>) -> Option<Option<Instant>> {
    Some(*busy.upgrade()?.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use super::*;

    /// Set in the copy of this program that is to be ended.
    const STUCK: &str = "MILEPOST_TEST_STUCK";

    #[test]
    fn a_writer_that_is_at_one_thing_for_too_long_ends_the_process_and_one_that_goes_on_does_not() {
        if std::env::var_os(STUCK).is_some() {
            let busy = Busy::default();
            busy.watch(Arc::default()).unwrap();
            (0..3).for_each(|_| {
                busy.begin();
                thread::sleep(LOOK);
            });
            eprintln!("still here");
            busy.set(Some(Duration::ZERO));
            loop {
                thread::park();
            }
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let name = "outbox::stall::tests::a_writer_that_is_at_one_thing_for_too_long_ends_the_process_and_one_that_goes_on_does_not";
        let ended = child.args([name, "--exact", "--nocapture"]).env(STUCK, "1").output().unwrap();
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains("still here"), "{ended:?}");
    }
}
