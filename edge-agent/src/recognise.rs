//! Frames in, finished passes out: the vision path of one camera in the order it happens.
//!
//! One thread, no queue inside: what [`Recogniser::look`] costs is what a frame costs. A frame
//! that fails (a model's output that is not finite, say) is counted, reported on the health page
//! and skipped; the follower goes on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    capture::Frame,
    config::Config,
    evidence::{BestShots, Shot, quality},
    health::{Component, Health, Status},
    pass::{Follower, Pass},
    vision::{self, Detector, MotionGate, Reader, Runtime, VisionError},
};

/// A pass that has ended, with the frame that shows its plate best.
#[derive(Debug)]
pub struct Finished {
    /// The pass.
    pub pass: Pass,
    /// Its best frame; `None` where none could be held.
    pub shot: Option<Shot>,
}

/// How long the stages of one frame took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Motion gate and detector.
    pub detect: Duration,
    /// Rectification and reader.
    pub read: Duration,
}

/// The vision path of one camera.
pub struct Recogniser {
    config: Config,
    health: Arc<Health>,
    report: vision::ProviderReport,
    detector: Detector,
    reader: Reader,
    gate: MotionGate,
    follower: Option<Follower>,
    shots: BestShots,
    /// Time that the stages of the last frame took.
    pub timing: Timing,
}

impl Recogniser {
    /// Loads both models and checks them.
    ///
    /// # Errors
    /// A missing or altered model, a library that does not load, no provider that works.
    pub fn load(config: &Config, health: Arc<Health>) -> Result<Self, VisionError> {
        let runtime = Runtime::load(config.vision.onnxruntime_library.as_deref())?;
        let detector = Detector::load(&runtime, &config.vision)?;
        let reader = Reader::load(&runtime, &config.vision)?;
        let report = detector.providers().clone();
        let recogniser = Self {
            config: config.clone(),
            health,
            report,
            detector,
            reader,
            gate: MotionGate::default(),
            follower: None,
            shots: BestShots::default(),
            timing: Timing::default(),
        };
        recogniser.say_providers();
        Ok(recogniser)
    }

    /// Name of the execution provider in use.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.report.in_use.name()
    }

    /// Versions of detector and reader.
    #[must_use]
    pub fn versions(&self) -> (&str, &str) {
        (self.detector.version(), self.reader.version())
    }

    /// Looks at one frame; answers the passes that have ended with it.
    pub fn look(&mut self, frame: &Frame) -> Vec<Finished> {
        self.timing = Timing::default();
        if let Err(error) = self.observe(frame) {
            self.health.set(Component::Vision, Status::Fail, error.to_string());
        }
        let ended = self.follower.as_mut().map(|f| f.ended(frame.exposure.utc)).unwrap_or_default();
        self.finished(ended)
    }

    /// Ends every pass: no frame will follow.
    pub fn finish(&mut self) -> Vec<Finished> {
        let ended = self.follower.as_mut().map(Follower::finish).unwrap_or_default();
        self.finished(ended)
    }

    fn observe(&mut self, frame: &Frame) -> Result<(), VisionError> {
        let luma = frame.luma();
        let follower = self
            .follower
            .get_or_insert_with(|| Follower::new(self.config.pass.clone(), luma.width, luma.height));
        if !frame.sequence.is_multiple_of(u64::from(self.config.vision.detect_every)) {
            return Ok(());
        }
        let metrics = &self.health.metrics;
        let started = Instant::now();
        // While a vehicle is followed every frame counts, moving or not.
        let gated = self.config.vision.motion_gate && follower.tracks().is_empty();
        if !self.gate.moved(luma) && gated {
            metrics.frames_still.inc();
            self.timing.detect = started.elapsed();
            return Ok(());
        }
        let detections = self.detector.detect(luma)?;
        self.timing.detect = started.elapsed();
        metrics.detect_seconds.observe(self.timing.detect.as_secs_f64());
        metrics.detections.inc_by(detections.len() as u64);

        let sightings = follower.follow(frame.exposure.utc, &detections);
        let legible = self.config.vision.min_plate_width;
        let wanted: Vec<_> = sightings
            .iter()
            .zip(&detections)
            .filter_map(|(s, d)| {
                let sighting = s.filter(|s| s.wants_reading && d.corners.width() >= legible)?;
                Some((sighting.track, d.corners))
            })
            .collect();
        let started = Instant::now();
        let corners: Vec<_> = wanted.iter().map(|(_, corners)| *corners).collect();
        let readings = self.reader.read(luma, &corners)?;
        if !corners.is_empty() {
            self.timing.read = started.elapsed();
            metrics.read_seconds.observe(self.timing.read.as_secs_f64());
            metrics.readings.inc_by(corners.len() as u64);
        }
        for ((track, corners), reading) in wanted.iter().zip(&readings) {
            let weight = quality(corners, reading.confidence());
            follower.read(*track, reading, weight);
            self.shots.consider(*track, frame, corners, weight);
        }
        let unread = sightings.iter().zip(&detections);
        for (sighting, detection) in unread.filter_map(|(s, d)| Some(((*s)?, d))) {
            if !wanted.iter().any(|(track, _)| *track == sighting.track) {
                // Certain already, or too small: the photo may still get better.
                let weight = quality(&detection.corners, if sighting.wants_reading { 0.0 } else { 0.9 });
                self.shots.consider(sighting.track, frame, &detection.corners, weight);
            }
        }
        let alive = follower.tracks();
        self.shots.retain(|track| alive.contains(&track));
        self.say_providers();
        Ok(())
    }

    fn finished(&mut self, ended: Vec<Pass>) -> Vec<Finished> {
        ended
            .into_iter()
            .map(|pass| Finished { shot: self.shots.take(pass.track), pass })
            .collect()
    }

    /// The provider asked for and the one in use, on the health page.
    fn say_providers(&self) {
        let status = if self.report.fallbacks.is_empty() { Status::Pass } else { Status::Warn };
        self.health.set(Component::Vision, status, self.report.to_string());
    }
}
