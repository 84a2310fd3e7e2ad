//! A finished pass as the event that the server gets, with its two photos.
//!
//! Both photos are cut from the one frame that the read's time and corners come from. A photo that
//! can't be made is withheld with the reason; the read goes out all the same.

use milepost_wire as wire;

use crate::{
    clock::Taken,
    config,
    evidence::{self, Jpeg, Shot},
    geometry::Quad,
    outbox,
    pass::{self, Outcome, Voted},
    recognise::Finished,
    vision,
};

/// What stands in every event of one camera.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Where the camera is.
    pub position: wire::Position,
    /// Versions of the models.
    pub models: wire::Models,
    /// Execution provider in use.
    pub execution_provider: String,
    /// How photos are made.
    pub evidence: config::Evidence,
}

impl Origin {
    /// From the settings and what is really in use.
    #[must_use]
    pub fn new(config: &config::Config, models: wire::Models, provider: &str) -> Self {
        Self {
            position: wire::Position {
                latitude_deg: config.site.latitude_deg,
                longitude_deg: config.site.longitude_deg,
                heading_deg: config.site.heading_deg,
            },
            models,
            execution_provider: provider.into(),
            evidence: config.evidence.clone(),
        }
    }
}

/// What is to be kept of a pass.
#[derive(Debug)]
pub enum Report {
    /// A read, its plate close-up and its context photo.
    Read(Box<wire::Read>, Option<Photos>),
    /// A pass without text.
    Unread(Box<wire::UnreadPass>),
}

impl Report {
    /// What a later correction of its time needs, but for its sequence; `None` where the time has no
    /// place on the machine's own clock.
    #[must_use]
    pub fn taken(&self) -> Option<impl FnOnce(u64) -> Taken> {
        let (id, captured_at, boot_time) = match self {
            Self::Read(read, _) => (read.read_id, read.captured_at, read.boot_time),
            Self::Unread(pass) => (pass.pass_id, pass.captured_at, pass.boot_time),
        };
        let boot_time = boot_time?;
        Some(move |sequence| Taken { id, sequence, captured_at, boot_time })
    }
}

/// The two photos of a read, from the same frame.
#[derive(Debug)]
pub struct Photos {
    /// The plate close-up.
    pub plate: Jpeg,
    /// The vehicle's front or rear.
    pub context: Jpeg,
}

impl Photos {
    /// Bytes of the larger one.
    fn largest(&self) -> usize {
        self.plate.bytes.len().max(self.context.bytes.len())
    }
}

/// The read of a pass whose vehicle is still in view; `None` where it has no text.
#[must_use]
pub fn preview(pass: &Finished, origin: &Origin) -> Option<wire::Read> {
    let reason = "a preview: the photos come with the read".to_owned();
    let evidence = wire::Evidence { plate: None, context: None, withheld_reason: Some(reason) };
    match &pass.pass.outcome {
        Outcome::Read(voted) => Some(read(pass, voted, evidence, origin)),
        Outcome::Unread { .. } => None,
    }
}

/// Makes the event's data and the photos of a finished pass.
#[must_use]
pub fn report(finished: &Finished, origin: &Origin) -> Report {
    let pass = &finished.pass;
    let shot = finished.shot.as_ref();
    match &pass.outcome {
        Outcome::Read(voted) => {
            let (evidence, photos) = photos(shot, &origin.evidence);
            Report::Read(Box::new(read(finished, voted, evidence, origin)), photos)
        }
        Outcome::Unread { reason, best_confidence } => {
            let exposure = finished.exposure;
            Report::Unread(Box::new(wire::UnreadPass {
                pass_id: finished.id,
                reason: match reason {
                    pass::UnreadReason::TooSmall => wire::UnreadReason::TooSmall,
                    pass::UnreadReason::NoPlate => wire::UnreadReason::NoPlate,
                    pass::UnreadReason::NoCharacters => wire::UnreadReason::NoCharacters,
                    pass::UnreadReason::LowConfidence => wire::UnreadReason::LowConfidence,
                },
                direction: direction(pass.direction),
                captured_at: exposure.utc,
                time_source: exposure.source.wire(),
                time_uncertainty_s: exposure.uncertainty.map(|u| u.as_secs_f64()),
                boot_time: exposure.boot_time(),
                first_seen_at: pass.first_seen,
                last_seen_at: pass.last_seen,
                frames_seen: pass.sightings,
                frames_read: pass.readings,
                best_confidence: (*best_confidence > 0.0).then_some(*best_confidence),
                position: origin.position,
            }))
        }
    }
}

fn read(
    finished: &Finished,
    voted: &Voted,
    evidence: wire::Evidence,
    origin: &Origin,
) -> wire::Read {
    let Finished { id, pass, shot, exposure } = finished;
    wire::Read {
        read_id: *id,
        plate_text: voted.text(),
        raw_text: voted.raw.clone(),
        confidence: voted.confidence,
        characters: voted.characters.iter().map(character).collect(),
        alternatives: voted
            .alternatives
            .iter()
            .map(|(text, p)| wire::TextAlternative { text: text.clone(), probability: *p })
            .collect(),
        state: voted
            .state
            .as_ref()
            .filter(|(code, _)| code.contains('-'))
            .map(|(code, p)| wire::State { code: code.clone(), confidence: *p }),
        direction: direction(pass.direction),
        captured_at: exposure.utc,
        time_source: exposure.source.wire(),
        time_uncertainty_s: exposure.uncertainty.map(|u| u.as_secs_f64()),
        boot_time: exposure.boot_time(),
        first_seen_at: pass.first_seen,
        last_seen_at: pass.last_seen,
        frames_seen: pass.sightings,
        frames_read: pass.readings,
        position: origin.position,
        plate_corners_px: corners(shot.as_ref().map_or(pass.corners, |s| s.corners)),
        frame_width_px: pass.frame.0 as u32,
        frame_height_px: pass.frame.1 as u32,
        evidence,
        models: origin.models.clone(),
        execution_provider: origin.execution_provider.clone(),
    }
}

fn photos(shot: Option<&Shot>, config: &config::Evidence) -> (wire::Evidence, Option<Photos>) {
    let withheld = |reason: String| {
        (wire::Evidence { plate: None, context: None, withheld_reason: Some(reason) }, None)
    };
    let Some(shot) = shot else { return withheld("no frame of the pass could be held".into()) };
    let made = evidence::close_up(&shot.frame, &shot.corners, config)
        .and_then(|plate| Ok(Photos { plate, context: evidence::context(&shot.frame, config)? }));
    match made {
        Ok(photos) if photos.largest() > outbox::MAX_PHOTO_BYTES => withheld(format!(
            "a photo of {} bytes is over the limit of {}: lower [evidence]",
            photos.largest(),
            outbox::MAX_PHOTO_BYTES
        )),
        Ok(photos) => {
            let info = |jpeg: &Jpeg| wire::PhotoInfo {
                sha256: jpeg.sha256.clone(),
                width_px: jpeg.width as u32,
                height_px: jpeg.height as u32,
                bytes: jpeg.bytes.len() as u64,
            };
            let evidence = wire::Evidence {
                plate: Some(info(&photos.plate)),
                context: Some(info(&photos.context)),
                withheld_reason: None,
            };
            (evidence, Some(photos))
        }
        Err(error) => withheld(error.to_string()),
    }
}

fn corners(quad: Quad) -> [[f32; 2]; 4] {
    quad.0.map(|p| [p.x, p.y])
}

fn character(c: &vision::Character) -> wire::Character {
    wire::Character {
        text: c.text.into(),
        probability: c.probability,
        alternatives: c
            .alternatives
            .iter()
            .map(|(text, p)| wire::TextAlternative { text: (*text).into(), probability: *p })
            .collect(),
    }
}

const fn direction(direction: pass::Direction) -> wire::Direction {
    match direction {
        pass::Direction::Approaching => wire::Direction::Approaching,
        pass::Direction::Receding => wire::Direction::Receding,
        pass::Direction::Unknown => wire::Direction::Unknown,
    }
}
