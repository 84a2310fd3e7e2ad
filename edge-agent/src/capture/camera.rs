//! A camera that keeps giving frames, whatever happens to its source.
//!
//! One thread owns the pipeline, one at a time. An error, the end of a live stream and silence each
//! end an attempt; the pipeline is torn down wholly and after a wait that doubles, with jitter, the
//! next attempt begins. That goes on for ever, but for a clip to be played once. The thread shows a
//! sign of life at least every [`SLICE`]; GStreamer hanging in a call shows as [`Camera::is_stuck`],
//! for which the remedy is a new process.

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
    credentials::Credentials,
    error::CaptureError,
    frame::Frame,
    pipeline::{self, Pipeline, Pulled},
    queue::{Popped, Pushed, Queue},
    source::{End, Pace, Plan},
    timeline::Timeline,
};
use crate::{
    config::{Capture, Decode, Source},
    health::{Component, Health, Status},
    supervise::Backoff,
};

/// The longest that the thread waits for anything at a time.
const SLICE: Duration = Duration::from_millis(100);
/// How long a source may take from nothing to its first frame, if the configured silence is
/// shorter: connecting, and then waiting for the camera's next key frame.
const START_LIMIT: Duration = Duration::from_secs(8);
/// Frames for so long, and the waits between attempts start over at the shortest.
const STEADY: Duration = Duration::from_secs(10);
/// Attempts that may end without one frame before hardware decoding is given up.
const HARDWARE_TRIES: u32 = 2;
/// No sign of life for so long is a call that does not return.
const STUCK: Duration = Duration::from_secs(30);
/// How long a stop waits for the thread.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How often the measured frame rate is put on the health page.
const RATE_EVERY: Duration = Duration::from_secs(10);
/// A clip that ends so long before its stated length is cut off.
const CUT_OFF: Duration = Duration::from_secs(1);
/// Frames held outside the queue: one in the detector's hands, one in the thread's.
const IN_HANDS: usize = 2;

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
struct Shared {
    queue: Queue<Frame>,
    stop: AtomicBool,
    started: Instant,
    /// Milliseconds after `started`.
    alive_ms: AtomicU64,
    failure: Mutex<Option<CaptureError>>,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn alive(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.alive_ms.store(now, Ordering::Relaxed);
    }

    fn silent_for(&self) -> Duration {
        let last = Duration::from_millis(self.alive_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }
}

impl Camera {
    /// Starts the configured camera and returns at once; a camera that is not there yet is waited
    /// for by the thread.
    ///
    /// # Errors
    /// What no waiting mends: a missing element, clip, device or decoder, a malformed address,
    /// credentials that cannot be read or that others can. [`super::check`] lists all of them.
    pub fn start(config: &Capture, health: Arc<Health>) -> Result<Self, CaptureError> {
        if let Some(problem) = check::problems(config).into_iter().next() {
            return Err(problem);
        }
        let plan = Plan::new(&config.source, config.silence_timeout)?;
        let shared = Arc::new(Shared {
            queue: Queue::new(config.queue_frames),
            stop: AtomicBool::new(false),
            started: Instant::now(),
            alive_ms: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        health.set(Component::Capture, Status::Warn, format!("{}: connecting", plan.name));
        let worker = Worker {
            timeline: Timeline::new(&plan, &config.source, health.clone()),
            plan,
            config: config.clone(),
            health: health.clone(),
            shared: shared.clone(),
            sequence: 0,
            hardware_failures: 0,
        };
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

/// An attempt ended as it should: stopped, or the clip was played.
struct Over;

struct Worker {
    plan: Plan,
    config: Capture,
    health: Arc<Health>,
    shared: Arc<Shared>,
    timeline: Timeline,
    sequence: u64,
    hardware_failures: u32,
}

impl Worker {
    fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let ended = self.attempt();
            self.shared.alive();
            let Err(error) = ended else { break };
            if self.plan.end == End::Finish {
                self.health.set(Component::Capture, Status::Fail, error.to_string());
                let mut failure =
                    self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(error);
                break;
            }
            if began.elapsed() >= STEADY + self.config.silence_timeout {
                backoff.reset();
            }
            self.health.metrics.pipeline_rebuilds.inc();
            // Half the usual waits: the camera is on the pole, not across a network.
            let wait = backoff.wait() / 2;
            let name = self.plan.name;
            tracing::warn!(wait_s = wait.as_secs_f32(), "{name}: {error}; building again");
            self.health.set(Component::Capture, Status::Fail, format!("{name}: {error}"));
            if !self.sleep(wait) {
                break;
            }
        }
        self.shared.queue.close();
    }

    /// Waits, with signs of life; false once stopped.
    fn sleep(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while !self.shared.stopped() {
            self.shared.alive();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(SLICE));
        }
        false
    }

    fn software_only(&self) -> bool {
        self.config.decode == Decode::Software || self.hardware_failures >= HARDWARE_TRIES
    }

    /// Builds a pipeline and takes frames from it until it is of no more use.
    fn attempt(&mut self) -> Result<Over, CaptureError> {
        // Read anew each time: a corrected password works without a restart.
        let secrets = match &self.config.source {
            Source::Rtsp { credentials_file: Some(path), .. } => Some(Credentials::read(path)?),
            _ => None,
        };
        let held = u32::try_from(self.config.queue_frames + IN_HANDS).unwrap_or(u32::MAX);
        let mut pipeline = Pipeline::start(&self.plan, self.software_only(), secrets, held)?;
        let first = self.sequence;
        let ended = self.take_frames(&mut pipeline);
        if pipeline.decoder().is_some_and(|decoder| decoder.hardware) {
            match (&ended, self.sequence == first) {
                (Err(_), true) => self.hardware_failures += 1,
                _ => self.hardware_failures = 0,
            }
        }
        ended
    }

    fn take_frames(&mut self, pipeline: &mut Pipeline) -> Result<Over, CaptureError> {
        let slice = gstreamer::ClockTime::try_from(SLICE).unwrap_or(gstreamer::ClockTime::SECOND);
        let mut last = Instant::now();
        let mut limit = self.config.silence_timeout.max(START_LIMIT);
        let mut rate: Option<Rate> = None;
        let mut taken = 0_u64;
        let mut end = Duration::ZERO;
        loop {
            self.shared.alive();
            if self.shared.stopped() {
                return Ok(Over);
            }
            let asked = Instant::now();
            match pipeline.pull(slice)? {
                Pulled::Sample(sample) => {
                    if !self.deliver(pipeline, &sample)? {
                        return Ok(Over);
                    }
                    taken += 1;
                    end = pipeline.timing(&sample).position.unwrap_or(end);
                    last = Instant::now();
                    limit = self.config.silence_timeout;
                    match &mut rate {
                        None => {
                            rate = Some(Rate { since: last, frames: 0 });
                            self.report(pipeline, &sample, pipeline::stated_rate(&sample));
                        }
                        Some(rate) => {
                            if let Some(measured) = rate.count(last) {
                                self.report(pipeline, &sample, Some(measured));
                            }
                        }
                    }
                }
                Pulled::End => match self.plan.end {
                    End::Failure => return Err(CaptureError::EndOfStream),
                    // A clip without one frame would be started again for ever, at full speed.
                    _ if taken == 0 => return Err(CaptureError::NoFrames),
                    End::Repeat => {
                        pipeline.rewind()?;
                        self.timeline.repeat();
                        taken = 0;
                        last = Instant::now();
                    }
                    End::Finish => return self.whole(pipeline, end),
                },
                Pulled::Nothing if last.elapsed() > limit => {
                    return Err(CaptureError::Silent(last.elapsed()));
                }
                // A sink that is not started answers at once.
                Pulled::Nothing if asked.elapsed() < SLICE / 2 => std::thread::sleep(SLICE / 2),
                Pulled::Nothing => {}
            }
        }
    }

    /// Whether a clip whose last frame stood at `end` is as long as it says.
    fn whole(&self, pipeline: &Pipeline, end: Duration) -> Result<Over, CaptureError> {
        match pipeline.stated_length() {
            Some(stated) if end + CUT_OFF < stated => {
                Err(CaptureError::CutOff { played: end, stated })
            }
            _ => Ok(Over),
        }
    }

    /// Queues one frame; false once stopped.
    fn deliver(
        &mut self,
        pipeline: &Pipeline,
        sample: &gstreamer::Sample,
    ) -> Result<bool, CaptureError> {
        let exposure = self.timeline.exposure(pipeline, pipeline.timing(sample));
        let frame = pipeline::map(sample)
            .and_then(|mapped| Frame::from_mapped(self.sequence, exposure, mapped))
            .ok_or_else(|| CaptureError::NotVideo("a frame that cannot be mapped".into()))?;
        self.sequence += 1;
        self.health.metrics.frames.inc();
        if self.plan.pace != Pace::Unpaced {
            return Ok(match self.shared.queue.push_evicting(frame) {
                Pushed::Evicted(_) => {
                    self.health.metrics.frames_dropped.inc();
                    true
                }
                pushed => !matches!(pushed, Pushed::Closed(_)),
            });
        }
        let mut frame = frame;
        loop {
            self.shared.alive();
            match self.shared.queue.push_waiting(frame, SLICE) {
                Pushed::Full(back) => frame = back,
                pushed => return Ok(!matches!(pushed, Pushed::Closed(_))),
            }
        }
    }

    /// Says what is in use: source, decoder, size and rate.
    fn report(&self, pipeline: &Pipeline, sample: &gstreamer::Sample, rate: Option<f64>) {
        let configured = self.config.decode == Decode::Software;
        let decoder = pipeline.decoder();
        let mut words = vec![self.plan.name.to_owned()];
        words.extend(decoder.as_ref().map(|decoder| decoder.describe(configured)));
        let size = sample.caps().and_then(|caps| caps.structure(0)).and_then(|s| {
            Some(format!("{}x{}", s.get::<i32>("width").ok()?, s.get::<i32>("height").ok()?))
        });
        words.extend(size.map(|size| match rate {
            Some(rate) => format!("{size} {rate:.0} fps"),
            None => size,
        }));
        let fallback = decoder.is_some_and(|decoder| decoder.passed_over.is_some()) && !configured;
        let status = if fallback { Status::Warn } else { Status::Pass };
        self.health.set(Component::Capture, status, words.join(", "));
    }
}

/// Counts frames to a rate.
struct Rate {
    since: Instant,
    frames: u32,
}

impl Rate {
    /// Counts a frame; the mean rate where [`RATE_EVERY`] is over.
    fn count(&mut self, now: Instant) -> Option<f64> {
        self.frames += 1;
        let passed = now.duration_since(self.since);
        (passed >= RATE_EVERY).then(|| {
            let rate = f64::from(self.frames) / passed.as_secs_f64();
            *self = Self { since: now, frames: 0 };
            rate
        })
    }
}

#[cfg(test)]
#[path = "camera_tests.rs"]
mod tests;
