//! The two photos of a read: the plate close-up and the context photo, cut from the same frame.
//!
//! [`BestShots`] keeps, for each track, the one frame that shows its plate best; [`photo`] cuts and
//! encodes both photos from it. Each photo carries the sha256 of its bytes, by which the read names
//! it. A photo that can't be made is an error, and then the read goes without: nothing is guessed.

pub mod best;
pub mod photo;

pub use best::{BestShots, Shot, quality};
pub use photo::{Jpeg, close_up, context};

use crate::vision::VisionError;

/// Why a photo could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The corners span nothing inside the frame.
    #[error("the plate's corners span nothing inside the frame of {width}×{height} pixels")]
    Corners {
        /// The frame's width.
        width: usize,
        /// The frame's height.
        height: usize,
    },
    /// The frame's planes don't fit together, or OpenCV failed on them.
    #[error("the photo can't be cut: {0}")]
    Cut(#[from] VisionError),
    /// The JPEG encoder gave nothing.
    #[error("the photo of {width}×{height} pixels can't be encoded")]
    Encode {
        /// The photo's width.
        width: i32,
        /// The photo's height.
        height: i32,
    },
}
