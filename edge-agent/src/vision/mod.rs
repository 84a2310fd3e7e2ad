//! Plates found, made upright and read. The only module that knows ONNX Runtime.

use crate::geometry::Quad;

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
