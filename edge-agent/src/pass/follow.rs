//! Which detections are one vehicle, and when its pass has ended.
//!
//! A track is in one of these states:
//!
//! ```text
//! seen ──unseen──► driven out of the picture ──a moment───────► ended (one pass)
//!   │              at its edge ────────────────lost_after────► ended
//!   │              in mid-picture: hidden ─────rejoin_within──► ended
//!   │                                └─ found again, by place or by text ─► seen
//!   └──still for parked_after──► reported (one pass); silent until it has gone for good
//! ```
//!
//! Invariants: a detection belongs to one track at most; a track yields one [`Pass`] at most;
//! tracks and the memory of parked vehicles are bounded.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    Outcome, Pass, UnreadReason, Voted,
    associate::associate,
    body::{Bodies, Together},
    track::{Track, TrackId, elapsed, ratio},
};
use crate::{
    config,
    geometry::{Point, Quad},
    vision::{PlateDetection, Reading},
};

/// Tracks followed at once; a detection beyond is not followed. Two lanes hold about ten vehicles.
pub const MAX_TRACKS: usize = 32;
/// Parked vehicles remembered at once.
const MAX_PARKED: usize = 16;
/// How long a parked vehicle that is not seen any more is remembered: hidden by a lorry, then back.
const PARKED_MEMORY: Duration = Duration::from_secs(30 * 60);
/// Share of its sightings that lettering has beside its plate: now and then the plate is missed.
const ALWAYS_BESIDE: f32 = 0.8;
/// How much more the detector takes a plate for one than the lettering beside it.
const CLEARLY_SURER: f32 = 0.1;
/// A plate that has driven wholly out of the picture is waited for this long: a few frames, for a motion that
/// was told from jitter.
const DRIVEN_OUT: Duration = Duration::from_millis(150);
/// A plate was seen at the edge of the picture within so many of its widths.
const NEAR_EDGE: f32 = 2.0;
/// A plate's height in widths, at the most: in two rows.
const TALLEST: f32 = 0.6;
/// Corners may lie outside the picture by this much, in pixels, before the plate counts as cut.
const CUT: f32 = 1.0;

/// Where a detection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Its track.
    pub track: TrackId,
    /// Whether the whole plate is in the picture; one cut by its edge is followed, no more.
    pub whole: bool,
    /// Whether reading it is worth the time: false for a cut plate, and once the vote is certain or
    /// the pass reported.
    pub wants_reading: bool,
}

/// A parked vehicle that was reported, or a thing that never moved: not to be reported again.
#[derive(Debug)]
struct Parked {
    at: Point,
    width: f32,
    last_seen: Timestamp,
}

/// Follows plates over the frames of one camera.
#[derive(Debug)]
pub struct Follower {
    config: config::Pass,
    frame: (f32, f32),
    tracks: Vec<Track>,
    parked: Vec<Parked>,
    /// Mean detector score of the tracks in `together`, the ended ones among them.
    scores: BTreeMap<TrackId, f32>,
    /// Pairs of tracks seen in the same frames, the older first.
    together: BTreeMap<(TrackId, TrackId), Together>,
    next: u64,
}

impl Follower {
    /// A follower for frames of `width` × `height` pixels.
    #[must_use]
    pub fn new(config: config::Pass, width: usize, height: usize) -> Self {
        let frame = (width as f32, height as f32);
        Self {
            config,
            frame,
            tracks: Vec::new(),
            parked: Vec::new(),
            scores: BTreeMap::new(),
            together: BTreeMap::new(),
            next: 0,
        }
    }

    /// Takes the detections of one frame exposed at `at`; answers, for each, its track, or `None`
    /// where [`MAX_TRACKS`] are followed already. Frames must come in the order of exposure.
    pub fn follow(
        &mut self,
        at: Timestamp,
        detections: &[PlateDetection],
    ) -> Vec<Option<Sighting>> {
        let owners = associate(&self.tracks, &self.config, at, detections);
        let sightings: Vec<_> = owners
            .into_iter()
            .zip(detections)
            .map(|(owner, detection)| {
                let i = match owner {
                    Some(i) => i,
                    None if self.tracks.len() < MAX_TRACKS => self.start(at, &detection.corners),
                    None => return None,
                };
                let track = &mut self.tracks[i];
                track.see(at, detection);
                self.scores.insert(track.id, track.mean_score());
                let track = &self.tracks[i];
                let whole = self.is_whole(&detection.corners);
                let wants_reading = whole && !track.certain && !track.reported;
                Some(Sighting { track: track.id, whole, wants_reading })
            })
            .collect();
        self.see_together(&sightings, detections);
        sightings
    }

    /// Remembers which tracks are seen in the same frames, and how they lie to each other.
    fn see_together(&mut self, sightings: &[Option<Sighting>], detections: &[PlateDetection]) {
        let seen = || {
            let both = sightings.iter().zip(detections);
            both.filter_map(|(s, d)| Some((s.filter(|s| s.whole)?.track, d.corners)))
        };
        for (a, plate) in seen() {
            for (b, other) in seen().filter(|&(b, _)| a < b) {
                self.together
                    .entry((a, b))
                    .and_modify(|t| t.see(&plate, &other))
                    .or_insert_with(|| Together::new(&plate, &other));
            }
        }
    }

    /// Whether another track on the same body is the plate, and `track` only lettering beside it:
    /// the one that the detector takes more for a plate. Where the frames can't tell one body from
    /// two, a track that was hardly ever seen without the other is taken for lettering: a vehicle
    /// behind comes later into the picture or leaves it later.
    fn is_beside_the_plate(&self, track: &Track) -> bool {
        let own = track.mean_score();
        let always = |together: &Together| {
            together.frames() as f32 >= ALWAYS_BESIDE * track.sightings as f32
        };
        self.together.iter().any(|((a, b), together)| {
            let other = match track.id {
                id if id == *a => b,
                id if id == *b => a,
                _ => return false,
            };
            let surer_by = self.scores.get(other).map_or(0.0, |score| score - own);
            match together.bodies() {
                Bodies::One => surer_by > 0.0,
                Bodies::OneOrTwo => surer_by >= CLEARLY_SURER && always(together),
                Bodies::Two => false,
            }
        })
    }

    /// Adds what was read of a sighting. `weight`, above 0 to 1, says how well it could be seen.
    pub fn read(&mut self, track: TrackId, reading: &Reading, weight: f32) {
        let (enough, certain) = (self.config.min_sightings, self.config.certain_confidence);
        if let Some(track) = self.tracks.iter_mut().find(|t| t.id == track) {
            track.read(reading, weight, enough, certain);
        }
        self.rejoin_by_text();
    }

    /// Tracks that are followed now.
    #[must_use]
    pub fn tracks(&self) -> Vec<TrackId> {
        self.tracks.iter().map(|t| t.id).collect()
    }

    /// The passes that have ended by `at`, each given once.
    pub fn ended(&mut self, at: Timestamp) -> Vec<Pass> {
        let mut passes = Vec::new();
        let mut i = 0;
        while i < self.tracks.len() {
            let unseen = elapsed(self.tracks[i].at, at);
            if unseen >= self.patience(&self.tracks[i], unseen) {
                let track = self.tracks.swap_remove(i);
                passes.extend(self.end(track));
                continue;
            }
            if !self.tracks[i].reported && self.is_parked(&self.tracks[i], at) {
                passes.extend(self.park(i));
            }
            i += 1;
        }
        self.forget_pairs();
        self.parked.retain(|p| elapsed(p.last_seen, at) < PARKED_MEMORY);
        passes
    }

    /// Names of tracks under which previews of passes under way were given out.
    pub fn previewed(&self) -> impl Iterator<Item = TrackId> {
        self.tracks.iter().filter_map(|track| track.previewed)
    }

    /// The passes under way whose text has become certain, each given once: they may still change.
    pub fn previews(&mut self) -> Vec<Pass> {
        let new = |t: &Track| t.certain && t.moved && !t.reported && t.previewed.is_none();
        let new: Vec<usize> = (0..self.tracks.len())
            .filter(|&i| new(&self.tracks[i]) && !self.is_beside_the_plate(&self.tracks[i]))
            .collect();
        let previews = new.into_iter().map(|i| {
            let track = &mut self.tracks[i];
            track.previewed = Some(track.id);
            self.pass(&self.tracks[i], false)
        });
        previews.filter(|pass| matches!(pass.outcome, Outcome::Read(_))).collect()
    }

    /// Keeps only pairs of which a track is still followed.
    fn forget_pairs(&mut self) {
        let alive: Vec<TrackId> = self.tracks.iter().map(|t| t.id).collect();
        self.together.retain(|(a, b), _| alive.contains(a) || alive.contains(b));
        let together = &self.together;
        self.scores.retain(|id, _| together.keys().any(|(a, b)| a == id || b == id));
    }

    /// Ends every track: nothing more will come.
    pub fn finish(&mut self) -> Vec<Pass> {
        let tracks = std::mem::take(&mut self.tracks);
        tracks.into_iter().filter_map(|t| self.end(t)).collect()
    }

    fn start(&mut self, at: Timestamp, corners: &Quad) -> usize {
        let (start, width) = (corners.centre(), corners.width());
        // Something that was reported standing here, or never moved, is still that.
        let known = self
            .parked
            .iter()
            .position(|p| p.at.distance(start) < p.width / 2.0 && ratio(p.width, width) < 1.3);
        if let Some(known) = known {
            self.parked.swap_remove(known);
        }
        let id = TrackId(self.next);
        self.next += 1;
        self.tracks.push(Track::new(id, at, corners, known.is_some()));
        self.tracks.len() - 1
    }

    /// Whether all four corners are in the picture, allowing for the detector's jitter.
    fn is_whole(&self, corners: &Quad) -> bool {
        let inside = |v: f32, size: f32| (-CUT..=size + CUT).contains(&v);
        corners.0.iter().all(|p| inside(p.x, self.frame.0) && inside(p.y, self.frame.1))
    }

    /// How long a plate, `unseen` for that long, is waited for, by where it must be now.
    fn patience(&self, track: &Track, unseen: Duration) -> Duration {
        let ahead = track.motion.predicted(unseen.as_secs_f32());
        let (centre, width) = (ahead.centre(), ahead.width());
        let within = |x: f32, y: f32| {
            let inside = |v: f32, margin: f32, size: f32| v > margin && v < size - margin;
            inside(centre.x, x, self.frame.0) && inside(centre.y, y, self.frame.1)
        };
        let lost_after = self.config.lost_after;
        // One hidden in mid-picture may have braked since.
        let last = track.motion.centre();
        let near = |v: f32, size: f32| v < NEAR_EDGE * width || v > size - NEAR_EDGE * width;
        let at_edge = near(last.x, self.frame.0) || near(last.y, self.frame.1);
        if at_edge && !within(-width / 2.0, -width * TALLEST / 2.0) {
            lost_after.min(DRIVEN_OUT)
        } else if within(width, width) {
            lost_after.max(self.config.rejoin_within)
        } else {
            lost_after
        }
    }

    fn is_parked(&self, track: &Track, at: Timestamp) -> bool {
        track.sightings >= self.config.min_sightings
            && track.still_since.is_some_and(|since| elapsed(since, at) >= self.config.parked_after)
    }

    /// Reports a standing vehicle. Something unreadable that never moved is no vehicle gone by: it
    /// is only remembered, so that it costs nothing more.
    fn park(&mut self, i: usize) -> Option<Pass> {
        let track = &mut self.tracks[i];
        track.reported = true;
        let pass = self.pass(&self.tracks[i], true);
        let readable = matches!(pass.outcome, Outcome::Read(_));
        (readable || self.tracks[i].moved).then_some(pass)
    }

    fn end(&mut self, track: Track) -> Option<Pass> {
        if track.reported {
            if !track.moved || track.still_since.is_some() {
                self.remember(&track);
            }
            return None;
        }
        if track.sightings < self.config.min_sightings {
            return None;
        }
        if self.is_beside_the_plate(&track) {
            return None;
        }
        // A vehicle that stands is reported by `park`; what never moved and did not stand for long
        // is a sign that was hidden and came back.
        track.moved.then(|| self.pass(&track, false))
    }

    fn remember(&mut self, track: &Track) {
        if self.parked.len() == MAX_PARKED {
            self.parked.remove(0);
        }
        self.parked.push(Parked {
            at: track.motion.centre(),
            width: track.last_width,
            last_seen: track.at,
        });
    }

    /// Two tracks with the same text are one vehicle: it was hidden and came out elsewhere than
    /// predicted, or the detector lost hold of it. The older one joins the one seen last.
    fn rejoin_by_text(&mut self) {
        let settled = |i: usize| self.tracks[i].settled.as_deref();
        let pair = (0..self.tracks.len())
            .flat_map(|a| (a + 1..self.tracks.len()).map(move |b| (a, b)))
            .find(|&(a, b)| settled(a).is_some() && settled(a) == settled(b));
        let Some((a, b)) = pair else { return };
        let (kept, joined) = if self.tracks[a].at >= self.tracks[b].at { (a, b) } else { (b, a) };
        let joined_at = joined;
        let joined = self.tracks.remove(joined_at);
        let kept = &mut self.tracks[if kept > joined_at { kept - 1 } else { kept }];
        kept.join(&joined);
    }

    fn pass(&self, track: &Track, parked: bool) -> Pass {
        Pass {
            track: track.id,
            previewed: track.previewed,
            first_seen: track.first_seen,
            last_seen: track.at,
            sightings: track.sightings,
            readings: track.vote.readings(),
            score: track.mean_score(),
            direction: track.direction(),
            parked,
            corners: track.corners,
            frame: (self.frame.0 as usize, self.frame.1 as usize),
            outcome: self.outcome(track.vote.result(), track.vote.readings()),
        }
    }

    /// Whether a plate may say this: lettering on vans and signs is longer, shorter, or a word.
    fn is_plausible(&self, voted: &Voted) -> bool {
        let lengths = self.config.min_characters..=self.config.max_characters;
        lengths.contains(&voted.characters.len())
    }

    fn outcome(&self, voted: Option<Voted>, readings: u32) -> Outcome {
        match voted {
            Some(v) if !self.is_plausible(&v) => {
                Outcome::Unread { reason: UnreadReason::NoPlate, best_confidence: v.confidence }
            }
            // Between look-alikes the alternatives say what the confidence can't.
            Some(v) if v.legibility() >= self.config.min_confidence => Outcome::Read(v),
            Some(v) => Outcome::Unread {
                reason: UnreadReason::LowConfidence,
                best_confidence: v.confidence,
            },
            None if readings == 0 => {
                Outcome::Unread { reason: UnreadReason::TooSmall, best_confidence: 0.0 }
            }
            None => Outcome::Unread { reason: UnreadReason::NoCharacters, best_confidence: 0.0 },
        }
    }
}

#[cfg(test)]
mod tests;
