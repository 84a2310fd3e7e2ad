//! A second look at each detected plate: where exactly its four corners are.
//!
//! The detector sees the whole frame small, and its quads are nearly level whatever the plate's angle.
//! The aligner sees the plate and its surroundings at the frame's own resolution. Characters that stand
//! upright in the reader's input are the better half of reading.

use opencv::{core, imgproc, prelude::*};

use super::{
    PlateDetection, VisionError,
    batch::Batch,
    manifest::Kind,
    rectify::Upright,
    session::{Contract, Outlet, Output, ProviderReport, Runtime, show},
};
use crate::{
    capture::Plane,
    config::Vision,
    geometry::{Point, Quad},
};

/// What the aligner sees: the detector's quad with room for the corners of a plate that leans.
pub const WINDOW: Upright = Upright { width: 128, height: 64, margin_x: 0.2, margin_y: 0.3 };

/// What the aligner takes and gives.
const CONTRACT: Contract<1> = Contract {
    input: Outlet { name: "window", shape: &[-1, 1, WINDOW.height as i64, WINDOW.width as i64] },
    outputs: [Outlet { name: "corners", shape: &[-1, 8] }],
};

/// The plate's area may be this share of the detector's quad, and no more than so many times it:
/// outside of that it is another thing that was aligned.
const LIKELY: std::ops::Range<f32> = 0.3..2.0;

/// A plate whose corners moved by more than [`SETTLED`] is looked at again, so often at most: the
/// second window is cut by the first look's corners.
pub const LOOKS: usize = 2;
/// Mean way of the corners, as a share of the plate's height.
const SETTLED: f32 = 0.05;

/// Finds the corners of detected plates.
#[derive(Debug)]
pub struct Aligner {
    batch: Batch<1>,
}

impl Aligner {
    /// Loads the aligner of `config.models_dir` and runs it once for every size of batch.
    ///
    /// # Errors
    /// Every [`VisionError`] but those of pictures.
    pub fn load(runtime: &Runtime, config: &Vision) -> Result<Self, VisionError> {
        let mut batch = Batch::load(runtime, config, Kind::Aligner, &CONTRACT, WINDOW)?;
        batch.prove(check)?;
        Ok(Self { batch })
    }

    /// Which provider runs it.
    #[must_use]
    pub fn report(&self) -> &ProviderReport {
        self.batch.model.report()
    }

    /// The model's version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.batch.model.version()
    }

    /// Puts the corners of `found` (full-frame pixels) where the plates' are. Corners that can't be
    /// the plate's leave the detection as it was.
    ///
    /// # Errors
    /// [`VisionError::Inference`], [`VisionError::NotFinite`], [`VisionError::Contract`] (a shape).
    pub fn align(
        &mut self,
        luma: Plane<'_>,
        found: &mut [PlateDetection],
    ) -> Result<(), VisionError> {
        let mut moving: Vec<usize> = (0..found.len()).collect();
        for _ in 0..LOOKS {
            let quads: Vec<Quad> = moving.iter().map(|&i| found[i].corners).collect();
            let mut seen: Vec<Option<Quad>> = vec![None; quads.len()];
            self.batch.run(luma, &quads, |out, size, plates| {
                check(out, size)?;
                for (row, &plate) in out[0].data.chunks_exact(8).zip(plates) {
                    let corner = |i: usize| Point::new(row[2 * i], row[2 * i + 1]);
                    seen[plate] = Some(Quad([corner(0), corner(1), corner(2), corner(3)]));
                }
                Ok(())
            })?;
            let mut still = Vec::new();
            for ((index, before), seen) in moving.into_iter().zip(quads).zip(seen) {
                let Some(seen) = seen else { continue };
                let after = to_frame(&before, &seen)?;
                if is_likely(&before, &after) {
                    found[index].corners = after;
                    if moved(&before, &after) > SETTLED {
                        still.push(index);
                    }
                }
            }
            moving = still;
        }
        Ok(())
    }
}

/// Points of the window of `quad` in pixels of the frame.
fn to_frame(quad: &Quad, points: &Quad) -> Result<Quad, VisionError> {
    let [from, to] = [WINDOW.corners(), *quad].map(|q| q.0.map(|p| core::Point2f::new(p.x, p.y)));
    let matrix = imgproc::get_perspective_transform_slice(from, to, core::DECOMP_LU)?;
    let m = matrix.data_typed::<f64>()?;
    Ok(Quad(points.0.map(|p| {
        let (x, y) = (f64::from(p.x), f64::from(p.y));
        let row = |i: usize| m[3 * i] * x + m[3 * i + 1] * y + m[3 * i + 2];
        Point::new((row(0) / row(2)) as f32, (row(1) / row(2)) as f32)
    })))
}

/// Whether `after` can be the plate that was detected at `before`: convex, clockwise, of a like size.
fn is_likely(before: &Quad, after: &Quad) -> bool {
    let turns = |i: usize| {
        let [a, b, c] = [0, 1, 2].map(|k| after.0[(i + k) % 4]);
        (b.x - a.x) * (c.y - b.y) - (b.y - a.y) * (c.x - b.x) > 0.0
    };
    (0..4).all(turns) && LIKELY.contains(&(after.area() / before.area()))
}

/// Mean way from corner to corner, as a share of the height.
fn moved(before: &Quad, after: &Quad) -> f32 {
    let way: f32 = before.0.iter().zip(after.0).map(|(a, b)| a.distance(b)).sum();
    way / 4.0 / after.height().max(1.0)
}

fn check(out: &[Output<'_>; 1], size: usize) -> Result<(), String> {
    let wanted = [size as i64, 8];
    if out[0].shape == wanted {
        return Ok(());
    }
    Err(format!(
        "output `corners` came with shape {}, should be {}",
        show(out[0].shape),
        show(&wanted)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::fixtures;

    fn quad(points: [(f32, f32); 4]) -> Quad {
        Quad(points.map(|(x, y)| Point::new(x, y)))
    }

    fn level(x: f32, y: f32, w: f32, h: f32) -> Quad {
        quad([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])
    }

    #[test]
    fn the_windows_own_corners_are_the_detections() {
        let quad = quad([(310., 100.), (420., 112.), (415., 170.), (305., 160.)]);
        let back = to_frame(&quad, &WINDOW.corners()).expect("maps");
        for (a, b) in back.0.iter().zip(quad.0) {
            assert!(a.distance(b) < 0.01, "{back:?}");
        }
    }

    #[test]
    fn every_plate_gets_its_corners_and_unlikely_ones_are_left() {
        // The toy puts the corners of bright plates a fifth of the window inside (and inside of that, when
        // it looks again), and those of dark ones onto one point.
        let models = fixtures::models("toy-detector");
        let mut aligner =
            Aligner::load(&fixtures::runtime(), &fixtures::config(&models)).expect("loads");
        let mut data = vec![0_u8; 640 * 360];
        for row in data.chunks_exact_mut(640) {
            row[..320].fill(250);
        }
        let plane = Plane { data: &data, width: 640, height: 360, stride: 640 };
        let before: Vec<_> = (0..9)
            .map(|i| PlateDetection {
                corners: level(60.0 + (i % 2) as f32 * 400.0, 100.0, 84.0, 48.0),
                score: 0.9,
            })
            .collect();
        let mut found = before.clone();
        aligner.align(plane, &mut found).expect("runs");
        for (i, (before, after)) in before.iter().zip(&found).enumerate() {
            if i % 2 == 1 {
                assert_eq!(before, after, "a point is no plate");
                continue;
            }
            // The window is 1.4 by 1.6 times the plate, about its centre: 0.6 of that at each look.
            let (w, h) = (84.0 * (0.6_f32 * 1.4).powi(2), 48.0 * (0.6_f32 * 1.6).powi(2));
            let [a, _, c, _] = after.corners.0;
            let centre = before.corners.centre();
            for (corner, sign) in [(a, -1.0), (c, 1.0)] {
                let wanted = Point::new(centre.x + sign * w / 2.0, centre.y + sign * h / 2.0);
                assert!(corner.distance(wanted) < 0.1, "{corner:?} {wanted:?}");
            }
        }
    }

    #[test]
    fn a_turned_folded_or_far_too_large_quad_is_not_likely() {
        let before = level(100., 100., 80., 40.);
        assert!(is_likely(&before, &quad([(104., 96.), (178., 108.), (174., 142.), (100., 131.)])));
        let [a, b, c, d] = before.0;
        for unlikely in [
            Quad([b, a, d, c]),
            Quad([a, c, b, d]),
            level(60., 60., 160., 90.),
            level(130., 110., 20., 10.),
            Quad([a, b, Point::new(f32::NAN, 0.0), d]),
        ] {
            assert!(!is_likely(&before, &unlikely), "{unlikely:?}");
        }
    }
}
