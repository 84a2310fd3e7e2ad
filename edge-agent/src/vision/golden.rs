//! Golden plates: pictures whose plates are known, read at start and from time to time to show that
//! models, library and device together still read as they should.

use std::{fs, path::Path};

use super::{Detector, Photo, Reader, VisionError, read::PLATE};
use crate::geometry::{Point, Quad};

/// Boxes must overlap the truth by this (intersection over union).
const MIN_IOU: f32 = 0.5;

/// `golden.json`: rendered plates that the shipped models read with a clear margin, so that a
/// failure means a broken runtime, a wrong file or wrong preprocessing.
#[derive(Debug, serde::Deserialize)]
struct Golden {
    /// Pictures that are the reader's input as it is: one plate each.
    plates: Vec<Crop>,
    /// Pictures of a road with plates.
    scenes: Vec<Scene>,
}

#[derive(Debug, serde::Deserialize)]
struct Crop {
    file: String,
    text: String,
    state: String,
}

#[derive(Debug, serde::Deserialize)]
struct Scene {
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
    fn count(&mut self, picture: &str, outcome: Result<(), &str>) {
        self.plates += 1;
        match outcome {
            Ok(()) => self.right += 1,
            Err(what) => self.wrong.push(format!("{picture}: a plate was {what}")),
        }
    }

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
    let text = fs::read_to_string(&list).map_err(|e| golden_error(&list, e))?;
    let golden: Golden = serde_json::from_str(&text).map_err(|e| golden_error(&list, e))?;
    let mut report = Report::default();
    for crop in &golden.plates {
        let photo = open(&folder, &crop.file)?;
        let reading = reader.read(photo.luma(), &[PLATE.corners()])?;
        let reading = reading.first().cloned().unwrap_or_default();
        let state = reading.state.as_ref().map(|(state, _)| state.as_str());
        report.count(
            &crop.file,
            if reading.text() != crop.text {
                Err("misread")
            } else if state.is_some_and(|state| state != crop.state) {
                Err("given the wrong state")
            } else {
                Ok(())
            },
        );
    }
    for scene in &golden.scenes {
        let photo = open(&folder, &scene.file)?;
        let found = detector.detect_everywhere(photo.luma())?;
        for plate in &scene.plates {
            let truth = Quad(plate.corners.map(|[x, y]| Point::new(x, y))).bounds();
            let hit = found.iter().find(|d| d.corners.bounds().iou(&truth) >= MIN_IOU);
            let Some(hit) = hit else {
                report.count(&scene.file, Err("not found"));
                continue;
            };
            let reading = reader.read(photo.luma(), &[hit.corners])?;
            let right = reading.first().is_some_and(|r| r.text() == plate.text);
            report.count(&scene.file, if right { Ok(()) } else { Err("found but misread") });
        }
    }
    Ok(report)
}

fn golden_error(path: &Path, e: impl std::fmt::Display) -> VisionError {
    VisionError::Golden(format!("{}: {e}", path.display()))
}

fn open(folder: &Path, file: &str) -> Result<Photo, VisionError> {
    let path = folder.join(file);
    let bytes = fs::read(&path).map_err(|e| golden_error(&path, e))?;
    Photo::decode(&bytes).map_err(|e| golden_error(&path, e))
}

#[cfg(test)]
mod tests;
