//! Plates found, made upright and read. The only module that knows ONNX Runtime.
//!
//! ```text
//! frame ─ motion gate ─ detect ─ align (four corners) ─ rectify ─ read (characters, state)
//! ```
//!
//! [`Runtime::load`] once, then [`Detector::load`] and [`Reader::load`]; each takes `&mut self` to
//! run, so one of each belongs to one thread. What can fail is a [`VisionError`], which says what
//! to do.

use crate::geometry::Quad;

pub mod align;
mod batch;
pub mod ctc;
pub mod detect;
mod error;
#[cfg(test)]
mod fixtures;
pub mod golden;
pub mod layout;
pub mod manifest;
pub mod motion;
pub mod photo;
mod placement;
pub(crate) mod plane;
mod provider;
pub mod read;
pub mod rectify;
pub mod serial;
pub mod session;
pub mod still;
pub mod two_rows;

pub use align::Aligner;
pub use detect::Detector;
pub use error::VisionError;
pub use motion::MotionGate;
pub use photo::Photo;
pub use read::Reader;
pub use session::{ProviderReport, Runtime, health};

/// A plate found in a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlateDetection {
    /// Corners in pixels of the full frame.
    pub corners: Quad,
    /// The detector's score, 0 to 1.
    pub score: f32,
}

/// One character place of a reading.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Character {
    /// The most probable character, `0-9A-Z`.
    pub text: char,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// The next most probable, best first, at most [`MAX_ALTERNATIVES`].
    pub alternatives: Vec<(char, f32)>,
}

/// How many alternatives a character place carries.
pub const MAX_ALTERNATIVES: usize = 4;

/// The text of one detection in one frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Left to right; empty where nothing could be read.
    pub characters: Vec<Character>,
    /// State of origin, `US-CA` style, and its probability; `None` where the reader has no opinion.
    pub state: Option<(String, f32)>,
}

impl Reading {
    /// The text of the best characters.
    #[must_use]
    pub fn text(&self) -> String {
        self.characters.iter().map(|c| c.text).collect()
    }

    /// Probability that the whole text is right, taking the places as independent; 0 where empty.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        if self.characters.is_empty() {
            return 0.0;
        }
        self.characters.iter().map(|c| c.probability).product()
    }
}
