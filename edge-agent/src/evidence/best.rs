//! For each track, the one frame that shows its plate best. Pure but for the frame's copy.
//!
//! A frame is copied out of the decoder's memory only when it is better than the track's last by
//! [`BETTER_BY`], and once for all tracks of the same frame. At most [`MAX_SHOTS`] are held: a new
//! track then takes the place of the one that was not looked at for longest, whose read goes
//! without photos, and that is counted. Never fails.

use std::{collections::BTreeMap, sync::Arc};

use crate::{capture::Frame, clock::ExposureTime, geometry::Quad};

/// Tracks whose best frame is held at once. A 1080p frame in colour takes 3.1 MB.
pub const MAX_SHOTS: usize = 16;
/// A frame must be better than the one held by this factor to be copied in its place.
pub const BETTER_BY: f32 = 1.15;

/// Width of a plate, in pixels, above which more does not make it more legible.
const ENOUGH_WIDTH: f32 = 160.0;
/// Quality of a plate that was not read is as if it had been read with this confidence.
const UNREAD: f32 = 0.05;

/// How well a frame shows a plate, 0 to 1: the reader's `confidence` in it (`None`: not read in this
/// frame), times its width up to 160 pixels, times its `sharpness`
/// ([`rectify::sharpness`](crate::vision::rectify::sharpness)), which counts by its root. A person must
/// recognise the plate, so size and sharpness weigh even where the reader is sure in every frame.
#[must_use]
pub fn quality(corners: &Quad, confidence: Option<f32>, sharpness: f32) -> f32 {
    let size = (corners.width() / ENOUGH_WIDTH).clamp(0.0, 1.0);
    let read = confidence.unwrap_or(UNREAD).clamp(UNREAD, 1.0);
    let q = read * size * sharpness.clamp(0.01, 1.0).sqrt();
    if q.is_finite() { q } else { 0.0 }
}

/// A track's best frame.
#[derive(Debug, Clone)]
pub struct Shot {
    /// The frame, free of the decoder; shared with other tracks that it shows.
    pub frame: Arc<Frame>,
    /// The plate's corners in it.
    pub corners: Quad,
    /// See [`quality`].
    pub quality: f32,
    /// The frame's number.
    pub sequence: u64,
    /// When it was exposed.
    pub exposure: ExposureTime,
}

#[derive(Debug)]
struct Held {
    shot: Shot,
    looked_at: u64,
}

/// The best shots of all tracks under way.
#[derive(Debug, Default)]
pub struct BestShots {
    held: BTreeMap<u64, Held>,
    looks: u64,
    evicted: u64,
}

impl BestShots {
    /// Offers `frame` as the best shot of `track`; true where it was taken.
    pub fn consider(&mut self, track: u64, frame: &Frame, corners: Quad, quality: f32) -> bool {
        self.looks += 1;
        if let Some(held) = self.held.get_mut(&track) {
            held.looked_at = self.looks;
            if quality.is_nan() || quality <= held.shot.quality * BETTER_BY {
                return false;
            }
        } else if self.held.len() >= MAX_SHOTS {
            let stalest = self.held.iter().min_by_key(|(_, h)| h.looked_at).map(|(&id, _)| id);
            if let Some(id) = stalest {
                self.held.remove(&id);
                self.evicted += 1;
            }
        }
        let same =
            |h: &&Held| h.shot.sequence == frame.sequence && h.shot.exposure == frame.exposure;
        let kept = self
            .held
            .values()
            .find(same)
            .map_or_else(|| Arc::new(frame.keep()), |h| Arc::clone(&h.shot.frame));
        let shot = Shot {
            frame: kept,
            corners,
            quality: if quality.is_nan() { 0.0 } else { quality },
            sequence: frame.sequence,
            exposure: frame.exposure,
        };
        self.held.insert(track, Held { shot, looked_at: self.looks });
        true
    }

    /// Takes the best shot of `track` out, when its pass has ended.
    pub fn take(&mut self, track: u64) -> Option<Shot> {
        self.held.remove(&track).map(|held| held.shot)
    }

    /// Tracks held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no track is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Shots given up for lack of room, over the life of this.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ClockSource, geometry::Point};

    fn frame(sequence: u64) -> Frame {
        let exposure = ExposureTime {
            utc: jiff::Timestamp::UNIX_EPOCH,
            uncertainty: None,
            source: ClockSource::Recording,
            since_boot: None,
        };
        Frame::from_luma(sequence, exposure, 4, 4, vec![0; 16]).expect("a frame")
    }

    fn quad(width: f32) -> Quad {
        Quad([
            Point::new(0., 0.),
            Point::new(width, 0.),
            Point::new(width, 40.),
            Point::new(0., 40.),
        ])
    }

    #[test]
    fn a_track_keeps_its_best_frame_and_gives_it_once() {
        let mut shots = BestShots::default();
        assert!(shots.consider(1, &frame(1), quad(80.), 0.4));
        assert!(shots.consider(1, &frame(2), quad(90.), 0.8));
        assert!(!shots.consider(1, &frame(3), quad(95.), 0.85), "not better by the factor");
        assert!(!shots.consider(1, &frame(4), quad(60.), f32::NAN));
        let shot = shots.take(1).expect("held");
        assert_eq!((shot.sequence, shot.frame.sequence), (2, 2));
        assert!(shots.take(1).is_none());
    }

    #[test]
    fn tracks_of_one_frame_share_one_copy() {
        let mut shots = BestShots::default();
        let both = frame(1);
        shots.consider(1, &both, quad(80.), 0.4);
        shots.consider(2, &both, quad(70.), 0.4);
        let (a, b) = (shots.take(1).expect("held"), shots.take(2).expect("held"));
        assert!(Arc::ptr_eq(&a.frame, &b.frame));
        assert_ne!(a.corners, b.corners);
    }

    #[test]
    fn the_number_held_is_bounded_and_the_track_not_seen_for_longest_goes() {
        let mut shots = BestShots::default();
        for track in 0..MAX_SHOTS as u64 {
            shots.consider(track, &frame(track), quad(80.), 0.5);
        }
        shots.consider(0, &frame(90), quad(80.), 0.1);
        shots.consider(99, &frame(91), quad(80.), 0.5);
        assert_eq!((shots.len(), shots.evicted()), (MAX_SHOTS, 1));
        assert!(shots.take(1).is_none() && shots.take(0).is_some() && shots.take(99).is_some());
    }

    #[test]
    fn quality_grows_with_size_confidence_and_sharpness_and_is_never_wild() {
        let base = quality(&quad(80.), Some(0.8), 0.3);
        assert!(quality(&quad(120.), Some(0.8), 0.3) > base);
        assert!(quality(&quad(80.), Some(0.95), 0.3) > base);
        assert!(quality(&quad(80.), Some(0.8), 0.5) > base);
        assert!(quality(&quad(80.), None, 0.3) < base);
        assert_eq!(quality(&quad(f32::NAN), Some(f32::INFINITY), f32::NAN), 0.0);
    }
}
