//! The thread that owns the pipeline, one at a time.
//!
//! An error, the end of a live stream and silence each end an attempt; the pipeline is torn down
//! wholly and after a wait that doubles, with jitter, the next attempt begins. That goes on for
//! ever, but for a clip to be played once. A sign of life is shown at least every [`SLICE`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    camera::Shared,
    credentials::Credentials,
    error::CaptureError,
    frame::Frame,
    pipeline::{self, Pipeline, Pulled},
    queue::Pushed,
    source::{End, Pace, Plan},
    timeline::Timeline,
};
use crate::{
    clock::Keeper,
    config::{Capture, Decode, Source},
    health::{Component, Health, Status},
    supervise::Backoff,
};

/// The longest that the thread waits for anything at a time.
const SLICE: Duration = Duration::from_millis(100);
/// How long a source may take from nothing to its first frame, if the configured silence is
/// shorter: connecting, and then waiting for the camera's next key frame, 10 s on thrifty ones.
const START_LIMIT: Duration = Duration::from_secs(15);
/// An attempt that outlives the silence by so much had frames: the waits start over.
const STEADY: Duration = Duration::from_secs(15);
/// Attempts that may end without one frame before hardware decoding is given up.
const HARDWARE_TRIES: u32 = 2;
/// How often the measured frame rate is put on the health page.
const RATE_EVERY: Duration = Duration::from_secs(10);
/// A clip that ends so long before its stated length is cut off.
const CUT_OFF: Duration = Duration::from_secs(1);
/// Frames held outside the queue: one in the detector's hands, one in the thread's.
const IN_HANDS: usize = 2;

/// An attempt ended as it should: stopped, or the clip was played.
struct Over;

/// What the thread works with.
pub(super) struct Worker {
    plan: Plan,
    config: Capture,
    health: Arc<Health>,
    shared: Arc<Shared>,
    timeline: Timeline,
    sequence: u64,
    hardware_failures: u32,
}

impl Worker {
    pub(super) fn new(
        plan: Plan,
        config: Capture,
        keeper: Keeper,
        health: Arc<Health>,
        shared: Arc<Shared>,
    ) -> Self {
        let timeline = Timeline::new(&plan, &config.source, keeper);
        Self { plan, config, health, shared, timeline, sequence: 0, hardware_failures: 0 }
    }

    /// Gives frames until stopped, or until a clip that is played once is over.
    pub(super) fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let ended = self.attempt();
            self.shared.alive();
            let Err(error) = ended else { break };
            if self.plan.end == End::Finish {
                self.health.set(Component::Capture, Status::Fail, error.to_string());
                self.shared.fail(error);
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
                    let now = Instant::now();
                    // Before the frame: who has a frame finds on the health page what it is from.
                    match &mut rate {
                        None => {
                            rate = Some(Rate { since: now, frames: 0 });
                            self.report(pipeline, &sample, pipeline::stated_rate(&sample));
                        }
                        Some(rate) => {
                            if let Some(measured) = rate.count(now) {
                                self.report(pipeline, &sample, Some(measured));
                            }
                        }
                    }
                    if !self.deliver(pipeline, &sample)? {
                        return Ok(Over);
                    }
                    taken += 1;
                    end = pipeline.timing(&sample).position.unwrap_or(end);
                    last = Instant::now();
                    limit = self.config.silence_timeout;
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
