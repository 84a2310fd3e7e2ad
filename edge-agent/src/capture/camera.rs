//! A camera that keeps giving frames, whatever happens to its source: the handle.
//!
//! The work is done by one thread ([`super::worker`]), joined by the bounded queue. The thread shows
//! signs of life; GStreamer hanging in a call shows as [`Camera::is_stuck`], for which the remedy is
//! a new process.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    check,
    error::CaptureError,
    frame::Frame,
    queue::{Popped, Queue},
    source::Plan,
    worker::Worker,
};
use crate::{
    clock::Keeper,
    config::Capture,
    health::{Component, Health, Status},
};

/// No sign of life for so long is a call that does not return.
const STUCK: Duration = Duration::from_secs(30);
/// How long a stop waits for the thread.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What [`Camera::next`] found.
#[derive(Debug)]
pub enum Next {
    /// The oldest frame waiting.
    Frame(Frame),
    /// None in time; the camera is being waited for.
    Idle,
    /// No more will come: the clip was played to its end or could not be gone on with
    /// ([`Camera::failure`]), or the camera was stopped.
    Ended,
}

/// A running camera. Dropping it stops it.
#[derive(Debug)]
pub struct Camera {
    shared: Arc<Shared>,
    health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its handle both see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue<Frame>,
    stop: AtomicBool,
    started: Instant,
    /// Milliseconds after `started`.
    alive_ms: AtomicU64,
    failure: Mutex<Option<CaptureError>>,
}

impl Shared {
    /// Whether the thread is to end.
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A sign of life.
    pub(super) fn alive(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.alive_ms.store(now, Ordering::Relaxed);
    }

    /// Why the thread ended before its clip did.
    pub(super) fn fail(&self, failure: CaptureError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    fn silent_for(&self) -> Duration {
        let last = Duration::from_millis(self.alive_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }
}

impl Camera {
    /// Starts the configured camera and returns at once; `keeper` says what keeps the clock that its
    /// frames' times come from. A camera that is not there yet is waited
    /// for by the thread.
    ///
    /// # Errors
    /// What no waiting mends: a missing element, clip, device or decoder, a malformed address,
    /// credentials that cannot be read or that others can. [`super::check`] lists all of them.
    pub fn start(
        config: &Capture,
        keeper: Keeper,
        health: Arc<Health>,
    ) -> Result<Self, CaptureError> {
        if let Some(problem) = check::problems(config).into_iter().next() {
            return Err(problem);
        }
        let plan = Plan::new(&config.source)?;
        let shared = Arc::new(Shared {
            queue: Queue::new(config.queue_frames),
            stop: AtomicBool::new(false),
            started: Instant::now(),
            alive_ms: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        health.set(Component::Capture, Status::Warn, format!("{}: connecting", plan.name));
        let worker = Worker::new(plan, config.clone(), keeper, health.clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || worker.run())
            .map_err(|e| CaptureError::Init(e.to_string()))?;
        Ok(Self { shared, health, thread: Some(thread) })
    }

    /// The next frame, waited for at most `patience`.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Next {
        match self.shared.queue.pop(patience) {
            Popped::Item(frame) => Next::Frame(frame),
            Popped::Closed => Next::Ended,
            Popped::Timeout => {
                if self.is_stuck() {
                    let output = "GStreamer does not return from a call: restart the agent";
                    self.health.set(Component::Capture, Status::Fail, output);
                }
                Next::Idle
            }
        }
    }

    /// Why a clip to be played once ended early; `None` where it ended well or goes on.
    #[must_use]
    pub fn failure(&self) -> Option<CaptureError> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether GStreamer has been in one call for over 30 s: a driver hangs, and only a new process
    /// helps.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let running = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        running && self.shared.silent_for() > STUCK
    }

    /// Stops in order: the pipeline is down when this returns, at the latest after 5 s.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.queue.close_and_clear();
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + STOP_LIMIT;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                tracing::error!("capture does not stop: GStreamer does not return from a call");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.join().is_err() {
            tracing::error!("capture ended in a panic");
        }
    }
}

#[cfg(test)]
#[path = "camera_tests.rs"]
mod tests;
