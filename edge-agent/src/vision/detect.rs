//! Luma frame → plates: four corners in full-frame pixels and a score. The corners are the
//! [`Aligner`]'s, from a second look at each.
//!
//! The frame (or the box around the regions of interest) is averaged down to the configured width,
//! laid on a grey canvas whose sides are multiples of 32, and run through the detector; peaks of
//! its heat map become quads. Shapes stay fixed for one source, and buffers are kept: providers
//! prepare a kernel for each new shape, and a frame costs no allocation of ours.

use opencv::{
    core::{self, CV_8UC1, CV_32FC1, Mat, Scalar, Size},
    imgproc,
    prelude::*,
};

use super::{
    Aligner, PlateDetection, VisionError,
    layout::{CELL, Layout},
    manifest::Kind,
    plane::with_area,
    session::{Contract, Model, Outlet, Output, ProviderReport, Runtime, show},
};
use crate::{
    capture::Plane,
    config::Vision,
    geometry::{Point, Polygon, Quad},
};

/// What the detector takes and gives.
const CONTRACT: Contract<2> = Contract {
    input: Outlet { name: "luma", shape: &[-1, 1, -1, -1] },
    outputs: [
        Outlet { name: "heat", shape: &[-1, 1, -1, -1] },
        Outlet { name: "corners", shape: &[-1, 8, -1, -1] },
    ],
};

/// Peaks looked at in one frame, best first; more plates than this are in no picture.
pub const MAX_CANDIDATES: usize = 64;
/// Detections whose boxes overlap by more (intersection over union) are one plate.
pub const NMS_IOU: f32 = 0.4;
/// Canvas where there is no picture.
const GREY: f64 = 114.0;

/// Finds plates.
#[derive(Debug)]
pub struct Detector {
    model: Model<2>,
    aligner: Aligner,
    width: usize,
    min_score: f32,
    regions: Vec<Polygon>,
    layout: Option<Layout>,
    canvas: Mat,
    input: Mat,
}

impl Detector {
    /// Loads the detector and the aligner of `config.models_dir` and runs them once.
    ///
    /// # Errors
    /// Every [`VisionError`] but those of pictures.
    pub fn load(runtime: &Runtime, config: &Vision) -> Result<Self, VisionError> {
        // OpenCV would otherwise take every core for a resize.
        core::set_num_threads(i32::try_from(config.threads).unwrap_or(1))?;
        let mut model = Model::load(runtime, config, Kind::Detector, &CONTRACT)?;
        let (h, w) = (64, 96);
        model.run([1, 1, h, w], &vec![0.5; h * w], |out| check(&out, w, h))?;
        Ok(Self {
            model,
            aligner: Aligner::load(runtime, config)?,
            width: config.detect_width,
            min_score: config.min_score,
            regions: config.regions.clone(),
            layout: None,
            canvas: Mat::default(),
            input: Mat::default(),
        })
    }

    /// Which provider runs it.
    #[must_use]
    pub fn report(&self) -> &ProviderReport {
        self.model.report()
    }

    /// The model's version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.model.version()
    }

    /// What gives the corners.
    #[must_use]
    pub const fn aligner(&self) -> &Aligner {
        &self.aligner
    }

    /// The plates of a frame, best first.
    ///
    /// # Errors
    /// [`VisionError::Inference`], [`VisionError::NotFinite`], [`VisionError::Contract`] (a shape),
    /// [`VisionError::Picture`] (no such plane).
    pub fn detect(&mut self, luma: Plane<'_>) -> Result<Vec<PlateDetection>, VisionError> {
        self.detect_at(luma, self.width, 0)
    }

    /// The plates of a picture that is scaled down to `width` (never up), with `border` pixels of
    /// grey around it: for photos, where one scale does not show plates of every size.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn detect_at(
        &mut self,
        luma: Plane<'_>,
        width: usize,
        border: usize,
    ) -> Result<Vec<PlateDetection>, VisionError> {
        let fits =
            self.layout.as_ref().filter(|l| l.is_for(luma.width, luma.height, width, border));
        let layout = match fits {
            Some(layout) => layout.clone(),
            None => {
                let layout = Layout::new(luma, width, border, &self.regions)?;
                self.prepare(&layout)?;
                self.layout.insert(layout).clone()
            }
        };
        with_area(luma, layout.crop, |cut| {
            let mut place = Mat::roi_mut(&mut self.canvas, layout.picture)?;
            let size = Size::new(layout.picture.width, layout.picture.height);
            if cut.size()? == size {
                cut.copy_to(&mut place)?;
            } else {
                imgproc::resize(cut, &mut place, size, 0.0, 0.0, imgproc::INTER_AREA)?;
            }
            Ok(())
        })?;
        self.canvas.convert_to(&mut self.input, CV_32FC1, 1.0 / 255.0, 0.0)?;
        let (w, h) = layout.canvas;
        let (min_score, regions) = (self.min_score, &self.regions);
        let mut found = self.model.run([1, 1, h, w], self.input.data_typed::<f32>()?, |out| {
            check(&out, w, h)?;
            Ok(decode(&out, &layout, min_score, regions))
        })?;
        self.aligner.align(luma, &mut found)?;
        // Two candidates of one plate may have become the same corners.
        Ok(suppress(found))
    }

    /// The plates of a picture wherever they are, regions of interest or not: for golden pictures.
    pub(super) fn detect_everywhere(
        &mut self,
        luma: Plane<'_>,
    ) -> Result<Vec<PlateDetection>, VisionError> {
        let regions = std::mem::take(&mut self.regions);
        self.layout = None;
        let found = self.detect(luma);
        self.regions = regions;
        self.layout = None;
        found
    }

    fn prepare(&mut self, layout: &Layout) -> Result<(), VisionError> {
        let (w, h) = (layout.canvas.0 as i32, layout.canvas.1 as i32);
        self.canvas = Mat::new_rows_cols_with_default(h, w, CV_8UC1, Scalar::all(GREY))?;
        self.input = Mat::new_rows_cols_with_default(h, w, CV_32FC1, Scalar::all(0.0))?;
        Ok(())
    }
}

/// Whether the outputs are of the shape that an input of `w` × `h` must give.
fn check(out: &[Output<'_>; 2], w: usize, h: usize) -> Result<(), String> {
    let (columns, rows) = ((w / CELL) as i64, (h / CELL) as i64);
    for (output, name, planes) in [(&out[0], "heat", 1), (&out[1], "corners", 8)] {
        let wanted = [1, planes, rows, columns];
        if output.shape != wanted {
            return Err(format!(
                "output `{name}` came with shape {} for an input of {w}×{h}, should be {}",
                show(output.shape),
                show(&wanted)
            ));
        }
    }
    Ok(())
}

/// Peaks to plates, in full-frame pixels. Shapes are checked.
fn decode(
    out: &[Output<'_>; 2],
    layout: &Layout,
    min_score: f32,
    regions: &[Polygon],
) -> Vec<PlateDetection> {
    let [heat, corners] = out;
    let columns = layout.canvas.0 / CELL;
    let cells = heat.data.len();
    // A score of exactly 0 is a suppressed cell, whatever the threshold.
    let least = min_score.max(f32::MIN_POSITIVE);
    let mut peaks: Vec<(usize, f32)> =
        heat.data.iter().copied().enumerate().filter(|&(_, score)| score >= least).collect();
    peaks.sort_by(|a, b| b.1.total_cmp(&a.1));
    peaks.truncate(MAX_CANDIDATES);
    let mut found = Vec::new();
    for (cell, score) in peaks {
        let x = ((cell % columns) * CELL + CELL / 2) as f32;
        let y = ((cell / columns) * CELL + CELL / 2) as f32;
        let corner = |i: usize| {
            let at = |k: usize| corners.data[k * cells + cell];
            layout.to_frame(Point::new(x + at(2 * i), y + at(2 * i + 1)))
        };
        let quad = Quad([corner(0), corner(1), corner(2), corner(3)]);
        let inside = regions.is_empty() || regions.iter().any(|r| r.contains(quad.centre()));
        if inside && is_plate(&quad, layout.source) {
            found.push(PlateDetection { corners: quad, score: score.min(1.0) });
        }
    }
    suppress(found)
}

/// Whether the corners can be a plate's: clockwise, of some area, its centre in the frame.
fn is_plate(quad: &Quad, source: (usize, usize)) -> bool {
    let centre = quad.centre();
    let in_frame =
        (0.0..source.0 as f32).contains(&centre.x) && (0.0..source.1 as f32).contains(&centre.y);
    in_frame && quad.area() >= 4.0 && quad.width() >= 4.0 && quad.height() >= 2.0
}

/// Keeps the best of detections that overlap, best first.
#[must_use]
pub fn suppress(mut found: Vec<PlateDetection>) -> Vec<PlateDetection> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<PlateDetection> = Vec::new();
    for one in found {
        let bounds = one.corners.bounds();
        if kept.iter().all(|k| k.corners.bounds().iou(&bounds) <= NMS_IOU) {
            kept.push(one);
        }
    }
    kept
}

/// The picture's place on the canvas, for tests.
#[cfg(test)]
pub(super) fn picture(detector: &Detector) -> Option<opencv::core::Rect> {
    detector.layout.as_ref().map(|l| l.picture)
}

#[cfg(test)]
mod tests;
