//! Which track a detection belongs to.
//!
//! Two plates are never nearer than a vehicle's width, so narrow gates decide nearly everything and
//! the nearest pair first is as good as the best assignment of all.

use jiff::Timestamp;

use super::track::{Track, elapsed};
use crate::{config, vision::PlateDetection};

/// Gate of the association, in standard deviations of the prediction …
const GATE_SIGMAS: f32 = 5.0;
/// … and in plate widths: two plates are never nearer than a vehicle's width, six of them.
const GATE_WIDTHS: f32 = 3.0;
/// A hidden vehicle's place is less sure: gate in plate widths when it is found again.
const REJOIN_WIDTHS: f32 = 6.0;
/// One plate is not so many times wider than predicted, however long it was hidden.
const GATE_GROWTH: f32 = 1.6;

/// For each detection the index of its track: within the gates, and nearest pairs first. Tracks
/// just seen come before hidden ones, which may be anywhere and so are near to everything.
pub(super) fn associate(
    tracks: &[Track],
    config: &config::Pass,
    at: Timestamp,
    detections: &[PlateDetection],
) -> Vec<Option<usize>> {
    let mut pairs = Vec::new();
    for (t, track) in tracks.iter().enumerate() {
        let unseen = elapsed(track.at, at);
        let predicted = track.motion.predicted(unseen.as_secs_f32());
        let gate = if unseen < config.lost_after { GATE_WIDTHS } else { REJOIN_WIDTHS };
        for (d, detection) in detections.iter().enumerate() {
            let distance = predicted.distance(&detection.corners);
            if distance.sigmas < GATE_SIGMAS
                && distance.widths < gate
                && distance.growth < GATE_GROWTH
            {
                pairs.push((unseen, distance.sigmas, t, d));
            }
        }
    }
    pairs.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut owners = vec![None; detections.len()];
    let mut taken = vec![false; tracks.len()];
    for (.., t, d) in pairs {
        if !taken[t] && owners[d].is_none() {
            (taken[t], owners[d]) = (true, Some(t));
        }
    }
    owners
}
