//! Detections of one vehicle become one **pass**; its characters are voted over the frames.
//!
//! Pure: time comes in with each frame, nothing is read or written. [`follow`] decides when a pass has
//! begun and ended, `associate` which detections belong to which `track`, [`motion`] predicts where a
//! plate will be, [`body`] which of them are on one vehicle, [`vote`] what a text is.

use crate::geometry::Quad;

mod associate;
pub mod body;
pub mod follow;
pub mod motion;
mod track;
pub mod vote;

pub use follow::{Follower, Sighting};
pub use track::TrackId;
pub use vote::{Vote, Voted};

/// How the vehicle moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the camera: the plate grew.
    Approaching,
    /// Away from the camera: the plate shrank.
    Receding,
    /// It kept its size.
    Unknown,
}

/// Why a pass has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadReason {
    /// The plate never was wide enough to be read.
    TooSmall,
    /// No frame gave a character.
    NoCharacters,
    /// There is lettering, but not as long or short as a plate's: a van's or a sign's.
    NoPlate,
    /// The frames did not agree well enough.
    LowConfidence,
}

/// What became of a pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The plate's text.
    Read(Voted),
    /// None, and why; never a guess.
    Unread {
        /// Why.
        reason: UnreadReason,
        /// Confidence of the best text that was not good enough, 0 to 1.
        best_confidence: f32,
    },
}

/// One vehicle gone by.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// The track that it was followed as; unique in one run of the agent.
    pub track: TrackId,
    /// The track that a preview of it was given out as.
    pub previewed: Option<TrackId>,
    /// First and last exposure in which its plate was found, in the time that the frames were given in.
    pub first_seen: jiff::Timestamp,
    /// See `first_seen`.
    pub last_seen: jiff::Timestamp,
    /// Frames in which the plate was found.
    pub sightings: u32,
    /// Frames in which it was read.
    pub readings: u32,
    /// Mean of the detector's scores over its sightings, 0 to 1.
    pub score: f32,
    /// Its corners when it was seen last, in pixels of the full frame.
    pub corners: Quad,
    /// Width and height of the full frame, in pixels.
    pub frame: (usize, usize),
    /// How it moved.
    pub direction: Direction,
    /// Whether it was reported while standing still.
    pub parked: bool,
    /// Its text, or why there is none.
    pub outcome: Outcome,
}
