//! One plate followed from frame to frame.

use std::time::Duration;

use jiff::Timestamp;

use super::{Direction, Vote, motion::Motion};
use crate::{
    geometry::{Point, Quad},
    look_alikes::fold,
    vision::{PlateDetection, Reading},
};

/// Speed under which a plate stands still, in plate widths a second.
const STILL: f32 = 0.25;
/// A track that never got further than this from its start, in plate widths, did not pass by.
const MOVED: f32 = 0.7;
/// Texts of so many characters are not shared by two vehicles in one picture.
const DISTINCT_CHARACTERS: usize = 4;
/// Growth or shrinkage of the plate that says which way the vehicle went.
const DIRECTION_RATIO: f32 = 1.12;

/// Names a track for the life of a [`Follower`](super::Follower).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u64);

/// A plate under way.
#[derive(Debug)]
pub(super) struct Track {
    pub id: TrackId,
    pub motion: Motion,
    /// Time of `motion`.
    pub at: Timestamp,
    pub first_seen: Timestamp,
    pub start: Point,
    pub corners: Quad,
    pub first_width: f32,
    pub last_width: f32,
    pub widest: f32,
    pub sightings: u32,
    /// Sum of the detector's scores.
    pub score: f32,
    pub moved: bool,
    pub still_since: Option<Timestamp>,
    pub vote: Vote,
    pub certain: bool,
    /// Its text, look-alikes taken as one, once two frames agreed on one long enough to tell vehicles
    /// apart.
    pub settled: Option<String>,
    /// Its pass was given out already.
    pub reported: bool,
    /// A preview was given out, under the name that the track had then.
    pub previewed: Option<TrackId>,
}

impl Track {
    /// A track that begins with a plate at `corners`; its first sighting is still to come.
    pub fn new(id: TrackId, at: Timestamp, corners: &Quad, reported: bool) -> Self {
        let width = corners.width();
        Self {
            id,
            motion: Motion::new(corners),
            at,
            first_seen: at,
            start: corners.centre(),
            corners: *corners,
            first_width: width,
            last_width: width,
            widest: width,
            sightings: 0,
            score: 0.0,
            moved: false,
            still_since: None,
            vote: Vote::default(),
            certain: false,
            settled: None,
            reported,
            previewed: None,
        }
    }

    /// Takes a frame in which it was found.
    pub fn see(&mut self, at: Timestamp, detection: &PlateDetection) {
        let corners = &detection.corners;
        self.score += detection.score;
        if self.sightings > 0 {
            let dt = elapsed(self.at, at).as_secs_f32();
            self.motion = self.motion.predicted(dt).corrected(corners);
        }
        self.at = at;
        self.sightings += 1;
        self.corners = *corners;
        self.last_width = corners.width();
        self.widest = self.widest.max(self.last_width);
        self.moved |= corners.centre().distance(self.start) > MOVED * self.widest;
        if self.motion.speed() > STILL {
            self.still_since = None;
        } else {
            self.still_since.get_or_insert(at);
        }
    }

    /// Adds what was read of it. The vote is certain from `enough` readings and a confidence of
    /// `certain` on.
    pub fn read(&mut self, reading: &Reading, weight: f32, enough: u32, certain: f32) {
        self.vote.add(reading, weight);
        let (voted, readings) = (self.vote.result(), self.vote.readings());
        self.certain =
            readings >= enough && voted.as_ref().is_some_and(|v| v.confidence >= certain);
        self.settled = voted
            .filter(|v| readings >= 2 && v.legibility() > 0.5)
            .map(|v| fold(&v.text()))
            .filter(|text| text.len() >= DISTINCT_CHARACTERS);
    }

    /// Takes over what another track saw of the same vehicle; its own place and vote stay.
    pub fn join(&mut self, other: &Self) {
        if other.first_seen < self.first_seen {
            self.first_seen = other.first_seen;
            self.start = other.start;
            self.first_width = other.first_width;
        }
        self.widest = self.widest.max(other.widest);
        self.sightings += other.sightings;
        self.score += other.score;
        self.moved |= other.moved;
        self.reported |= other.reported;
        self.previewed = self.previewed.or(other.previewed);
    }

    /// Mean of the detector's scores.
    pub fn mean_score(&self) -> f32 {
        self.score / self.sightings.max(1) as f32
    }

    /// Which way it went, as far as its size says.
    pub fn direction(&self) -> Direction {
        let growth = self.last_width / self.first_width.max(1.0);
        if growth > DIRECTION_RATIO {
            Direction::Approaching
        } else if growth < 1.0 / DIRECTION_RATIO {
            Direction::Receding
        } else {
            Direction::Unknown
        }
    }
}

/// Time from `from` to `to`; zero where the clock went back.
pub(super) fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// How many times larger the one is than the other, 1 or more.
pub(super) fn ratio(a: f32, b: f32) -> f32 {
    a.max(b) / a.min(b).max(1.0)
}
