//! Golden plates: pictures whose plates are known, read at start and from time to time to show that
//! models, library and device together still read as they should.

use std::{fs, path::Path};

use super::{Detector, Photo, Reader, VisionError};
use crate::geometry::{Point, Quad};

/// Boxes must overlap the truth by this (intersection over union).
const MIN_IOU: f32 = 0.5;

/// `golden.json`: one entry a picture.
#[derive(Debug, serde::Deserialize)]
struct Picture {
    file: String,
    plates: Vec<Plate>,
}

#[derive(Debug, serde::Deserialize)]
struct Plate {
    text: String,
    corners: [[f32; 2]; 4],
}

/// What the golden plates showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Plates looked for.
    pub plates: usize,
    /// Plates found and read exactly.
    pub right: usize,
    /// For each other plate, its picture and what was the matter. Golden plates are made up.
    pub wrong: Vec<String>,
}

impl Report {
    /// Whether every golden plate was read.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.plates > 0 && self.right == self.plates
    }
}

/// Reads the golden plates of `models_dir/golden` with the very sessions that are in use.
///
/// # Errors
/// [`VisionError::Golden`] where the pictures are missing or malformed; [`VisionError`]s of the
/// stages. A plate that is not read is no error but an entry of [`Report::wrong`].
pub fn check(
    models_dir: &Path,
    detector: &mut Detector,
    reader: &mut Reader,
) -> Result<Report, VisionError> {
    let folder = models_dir.join("golden");
    let list = folder.join("golden.json");
    let wrong = |path: &Path, e: String| VisionError::Golden(format!("{}: {e}", path.display()));
    let text = fs::read_to_string(&list).map_err(|e| wrong(&list, e.to_string()))?;
    let pictures: Vec<Picture> =
        serde_json::from_str(&text).map_err(|e| wrong(&list, e.to_string()))?;
    let mut report = Report::default();
    for picture in &pictures {
        let path = folder.join(&picture.file);
        let bytes = fs::read(&path).map_err(|e| wrong(&path, e.to_string()))?;
        let photo = Photo::decode(&bytes).map_err(|e| wrong(&path, e.to_string()))?;
        let found = detector.detect_everywhere(photo.luma())?;
        for plate in &picture.plates {
            report.plates += 1;
            let truth = Quad(plate.corners.map(|[x, y]| Point::new(x, y))).bounds();
            let hit = found.iter().find(|d| d.corners.bounds().iou(&truth) >= MIN_IOU);
            let Some(hit) = hit else {
                report.wrong.push(format!("{}: a plate was not found", picture.file));
                continue;
            };
            let reading = reader.read(photo.luma(), &[hit.corners])?;
            if reading.first().is_some_and(|r| r.text() == plate.text) {
                report.right += 1;
            } else {
                report.wrong.push(format!("{}: a plate was found but misread", picture.file));
            }
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
