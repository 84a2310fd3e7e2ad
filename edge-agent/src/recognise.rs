//! Frames in, finished passes out: the vision path of one camera in the order it happens.
//!
//! One thread, no queue inside: what [`Recogniser::look`] costs is what a frame costs. A frame
//! that fails (a model's output that is not finite, say) is counted, reported on the health page
//! and skipped; the follower goes on.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use milepost_wire as wire;
use uuid::Uuid;

use crate::{
    capture::Frame,
    clock::ExposureTime,
    config::Config,
    evidence::{BestShots, Shot, quality},
    geometry::Quad,
    health::{Component, Health, Status},
    pass::{Follower, Pass, TrackId, follow::MAX_TRACKS},
    vision::{self, Detector, MotionGate, Reader, Runtime, VisionError, golden, rectify},
};

/// How often the golden plates are read again: a device or a driver may go wrong on the way.
const PROVE_EVERY: Duration = Duration::from_secs(3600);
/// Plate width in pixels from which a reading counts in full.
const LEGIBLE_WIDTH: f32 = 100.0;
/// A reading that is not sure of itself still counts this much.
const LEAST_WEIGHT: f32 = 0.05;

/// A pass that has ended, with the frame that shows its plate best.
#[derive(Debug)]
pub struct Finished {
    /// What the read or unread pass will be known by, and what its preview was.
    pub id: Uuid,
    /// The pass.
    pub pass: Pass,
    /// Its best frame; `None` where none could be held.
    pub shot: Option<Shot>,
    /// When the best frame was exposed; without one, the last in which the plate was seen.
    pub exposure: ExposureTime,
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
    said: (Status, String),
    /// When the last frame was exposed.
    last: Option<ExposureTime>,
    /// When the golden plates were read last.
    proven_at: Instant,
    /// Whether the last frame failed.
    failing: bool,
    detector: Detector,
    reader: Reader,
    gate: MotionGate,
    follower: Option<Follower>,
    shots: BestShots,
    /// Ids of passes of which a preview was given out.
    previewed: HashMap<TrackId, Uuid>,
    /// Time that the stages of the last frame took.
    pub timing: Timing,
}

impl Recogniser {
    /// Loads the models and checks them.
    ///
    /// # Errors
    /// A missing or altered model, a library that does not load, no provider that works.
    pub fn load(config: &Config, health: Arc<Health>) -> Result<Self, VisionError> {
        let runtime = Runtime::load(config.vision.onnxruntime_library.as_deref())?;
        let mut detector = Detector::load(&runtime, &config.vision)?;
        let mut reader = Reader::load(&runtime, &config.vision)?;
        let said = proven(config, &mut detector, &mut reader)?;
        health.set(Component::Vision, said.0, said.1.clone());
        Ok(Self {
            config: config.clone(),
            health,
            said,
            last: None,
            proven_at: Instant::now(),
            failing: false,
            gate: MotionGate::new(&config.vision.regions),
            detector,
            reader,
            follower: None,
            shots: BestShots::default(),
            previewed: HashMap::new(),
            timing: Timing::default(),
        })
    }

    /// Name of the execution provider in use.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.detector.report().in_use.name()
    }

    /// Versions of the models.
    #[must_use]
    pub fn versions(&self) -> wire::Models {
        wire::Models {
            detector: self.detector.version().into(),
            aligner: self.detector.aligner().version().into(),
            reader: self.reader.version().into(),
        }
    }

    /// Looks at one frame; answers the passes that have ended with it.
    pub fn look(&mut self, frame: &Frame) -> Vec<Finished> {
        self.timing = Timing::default();
        self.last = Some(frame.exposure);
        if let Err(error) = self.observe(frame) {
            self.health.metrics.frames_failed.inc();
            // Said once, when it begins: the health page has it as long as it lasts.
            if !self.failing {
                tracing::error!(%error, "a frame could not be looked at");
            }
            self.failing = true;
            self.health.set(Component::Vision, Status::Fail, error.to_string());
        } else if self.failing {
            self.failing = false;
            self.health.set(Component::Vision, self.said.0, self.said.1.clone());
        }
        let ended =
            self.follower.as_mut().map(|f| f.ended(frame.exposure.steady())).unwrap_or_default();
        self.finished(ended)
    }

    /// The passes under way whose text has become certain with the last frame, each given once, without its
    /// best frame: the vehicle is still in view.
    pub fn previews(&mut self) -> Vec<Finished> {
        let (Some(last), Some(follower)) = (self.last, &mut self.follower) else {
            return Vec::new();
        };
        let preview = |pass: Pass| {
            let id = Uuid::now_v7();
            self.previewed.insert(pass.track, id);
            finished(id, pass, None, last)
        };
        let previews = follower.previews().into_iter().map(preview).collect();
        if self.previewed.len() > MAX_TRACKS {
            // Of what never became a pass.
            let under_way: Vec<TrackId> = follower.previewed().collect();
            self.previewed.retain(|track, _| under_way.contains(track));
        }
        previews
    }

    /// Ends every pass: no frame will follow.
    pub fn finish(&mut self) -> Vec<Finished> {
        let ended = self.follower.as_mut().map(Follower::finish).unwrap_or_default();
        self.finished(ended)
    }

    fn observe(&mut self, frame: &Frame) -> Result<(), VisionError> {
        let luma = frame.luma();
        let follower = self.follower.get_or_insert_with(|| {
            Follower::new(self.config.pass.clone(), luma.width, luma.height)
        });
        if !frame.sequence.is_multiple_of(u64::from(self.config.vision.detect_every)) {
            return Ok(());
        }
        if self.proven_at.elapsed() >= PROVE_EVERY {
            self.proven_at = Instant::now();
            self.said = proven(&self.config, &mut self.detector, &mut self.reader)?;
            self.health.set(Component::Vision, self.said.0, self.said.1.clone());
        }
        let metrics = &self.health.metrics;
        let started = Instant::now();
        // While a vehicle is followed every frame counts, moving or not.
        let gated = self.config.vision.motion_gate && follower.tracks().is_empty();
        if !self.gate.look(luma) && gated {
            metrics.frames_still.inc();
            self.timing.detect = started.elapsed();
            return Ok(());
        }
        let detections = self.detector.detect(luma)?;
        self.timing.detect = started.elapsed();
        metrics.detect_seconds.observe(self.timing.detect.as_secs_f64());
        metrics.detections.inc_by(detections.len() as u64);

        let sightings = follower.follow(frame.exposure.steady(), &detections);
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
            follower.read(*track, reading, weight(corners, reading.confidence()));
        }
        for (sighting, detection) in sightings.iter().zip(&detections) {
            let Some(sighting) = sighting.filter(|s| s.whole) else { continue };
            let read = wanted.iter().position(|(track, _)| *track == sighting.track);
            let confidence = match read {
                Some(i) => Some(readings[i].confidence()),
                // Certain already: the photo may still get better.
                None if !sighting.wants_reading => Some(self.config.pass.certain_confidence),
                None => None,
            };
            let sharpness = rectify::sharpness(luma, &detection.corners);
            let quality = quality(&detection.corners, confidence, sharpness);
            self.shots.consider(sighting.track.0, frame, detection.corners, quality);
        }
        Ok(())
    }

    fn finished(&mut self, ended: Vec<Pass>) -> Vec<Finished> {
        let Some(last) = self.last else { return Vec::new() };
        ended
            .into_iter()
            .map(|pass| {
                let shot = self.shots.take(pass.track.0);
                let id = pass.previewed.and_then(|track| self.previewed.remove(&track));
                finished(id.unwrap_or_else(Uuid::now_v7), pass, shot, last)
            })
            .collect()
    }
}

fn finished(id: Uuid, pass: Pass, shot: Option<Shot>, last: ExposureTime) -> Finished {
    let exposure = shot.as_ref().map_or_else(|| last.at(pass.last_seen), |s| s.exposure);
    // Followed on a time that is never set; told by the clock as it stood at the exposure.
    let first_seen = exposure.at(pass.first_seen).utc;
    let last_seen = exposure.at(pass.last_seen).utc;
    Finished { id, pass: Pass { first_seen, last_seen, ..pass }, shot, exposure }
}

/// How much a reading counts in the vote, above 0 to 1: by its own certainty and the plate's width.
fn weight(corners: &Quad, confidence: f32) -> f32 {
    let size = (corners.width() / LEGIBLE_WIDTH).clamp(0.2, 1.0);
    size * confidence.max(LEAST_WEIGHT)
}

/// What runs, proven by reading the golden plates with the very sessions in use.
fn proven(
    config: &Config,
    detector: &mut Detector,
    reader: &mut Reader,
) -> Result<(Status, String), VisionError> {
    let golden = golden::check(&config.vision.models_dir, detector, reader)?;
    let models = [
        ("detector", detector.report()),
        ("aligner", detector.aligner().report()),
        ("reader", reader.report()),
    ];
    Ok(vision::health(&models, Some(&golden)))
}
