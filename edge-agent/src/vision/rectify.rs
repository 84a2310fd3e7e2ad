//! A plate made upright: homography from its four corners to the reader's input.

use opencv::{
    core::{self, Mat, Point2f, Rect, Scalar, Size, ToInputArray},
    imgproc,
};

use super::{
    VisionError,
    plane::{area_around, whole, with_area},
};
use crate::{
    capture::Plane,
    geometry::{Point, Quad},
};

/// How a plate is cut out: the size of the picture, and how far inside it the plate lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upright {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Margin left and right of the plate, as a share of its width.
    pub margin_x: f32,
    /// Margin above and below the plate, as a share of its height.
    pub margin_y: f32,
}

impl Upright {
    /// Pixels of the picture.
    #[must_use]
    pub const fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// Where the plate's corners come to lie, in pixels of the picture.
    #[must_use]
    pub fn corners(&self) -> Quad {
        let (w, h) = (self.width as f32, self.height as f32);
        let x = w * self.margin_x / (1.0 + 2.0 * self.margin_x);
        let y = h * self.margin_y / (1.0 + 2.0 * self.margin_y);
        Quad([(x, y), (w - x, y), (w - x, h - y), (x, h - y)].map(|(x, y)| Point::new(x, y)))
    }
}

/// Plates wider than this many times their width in the picture are averaged down first:
/// bilinear sampling would skip pixels. The networks' trainings cut photos by the same rule.
const SHRINK_ABOVE: f32 = 2.0;

/// Area around the corners that is cut out, as a share of the plate: the margins and some skew.
const CUT: f32 = 0.35;

/// Warps the plate at `corners` (full-frame pixels) into `upright`, 8 bit, of `shape`. Outside of the
/// frame its edge is repeated. `Ok(false)`: the corners span no area in the frame, and `upright` is
/// left as it was.
///
/// # Errors
/// OpenCV's.
pub fn rectify(
    luma: Plane<'_>,
    corners: &Quad,
    shape: Upright,
    upright: &mut Mat,
) -> Result<bool, VisionError> {
    if corners.width() < 1.0 || corners.height() < 1.0 {
        return Ok(false);
    }
    let Some(area) = area_around(corners, CUT, whole(luma)?) else { return Ok(false) };
    with_area(luma, area, |cut| {
        let wide = corners.width() / shape.corners().width();
        if wide <= SHRINK_ABOVE {
            return warp(cut, corners, area, (1.0, 1.0), shape, upright);
        }
        let by = |n: i32| ((n as f32 / wide * 1.25).round() as i32).clamp(1, n);
        let size = Size::new(by(area.width), by(area.height));
        let mut small = Mat::default();
        imgproc::resize(cut, &mut small, size, 0.0, 0.0, imgproc::INTER_AREA)?;
        let scale = |to: i32, from: i32| to as f32 / from as f32;
        let scales = (scale(size.width, area.width), scale(size.height, area.height));
        warp(&small, corners, area, scales, shape, upright)
    })
}

/// Warps from `source`, which shows `area` of the frame at `scales`.
fn warp(
    source: &impl ToInputArray,
    corners: &Quad,
    area: Rect,
    (sx, sy): (f32, f32),
    shape: Upright,
    upright: &mut Mat,
) -> Result<bool, VisionError> {
    // OpenCV's pixel centres are whole numbers, ours are halves.
    let to = shape.corners().0.map(|p| Point2f::new(p.x - 0.5, p.y - 0.5));
    let from = corners
        .0
        .map(|p| Point2f::new((p.x - area.x as f32) * sx - 0.5, (p.y - area.y as f32) * sy - 0.5));
    let matrix = imgproc::get_perspective_transform_slice(from, to, core::DECOMP_LU)?;
    imgproc::warp_perspective(
        source,
        upright,
        &matrix,
        Size::new(shape.width as i32, shape.height as i32),
        imgproc::INTER_LINEAR,
        core::BORDER_REPLICATE,
        Scalar::default(),
    )?;
    Ok(true)
}

/// How crisp the strokes inside `corners` are, 0 (flat or smeared) to 1: half the mean square of the
/// step between neighbouring pixels of a row over the variance (which is one minus the correlation of
/// neighbours), times the area's width over 100 pixels, as strokes grow with the plate. A stroke's edge
/// counts the less the more pixels it is smeared over.
/// 0 where the corners span nothing in the frame.
#[must_use]
pub fn sharpness(luma: Plane<'_>, corners: &Quad) -> f32 {
    let bounds = Rect::new(
        0,
        0,
        i32::try_from(luma.width).unwrap_or(0),
        i32::try_from(luma.height).unwrap_or(0),
    );
    let Some(area) = area_around(corners, 0.0, bounds) else { return 0.0 };
    let (left, width) = (area.x as usize, area.width as usize);
    let (mut steps, mut sum, mut squares, mut n) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for y in area.y as usize..(area.y + area.height) as usize {
        let start = y * luma.stride + left;
        let Some(row) = luma.data.get(start..start + width) else { return 0.0 };
        // Per row in whole numbers: quick, and no row can overflow.
        let step: u64 = row.windows(2).map(|p| u64::from(p[0].abs_diff(p[1])).pow(2)).sum();
        let total: u64 = row.iter().map(|&v| u64::from(v)).sum();
        let square: u64 = row.iter().map(|&v| u64::from(v) * u64::from(v)).sum();
        steps += step as f64;
        sum += total as f64;
        squares += square as f64;
        n += width as f64;
    }
    let variance = squares / n - (sum / n).powi(2);
    if variance < 4.0 {
        return 0.0;
    }
    (steps / n / (2.0 * variance) * area.width as f64 / 100.0).clamp(0.0, 1.0) as f32
}

#[cfg(test)]
mod tests {
    use opencv::prelude::*;

    use super::*;
    use crate::vision::read::PLATE;

    fn quad(points: [(f32, f32); 4]) -> Quad {
        Quad(points.map(|(x, y)| Point::new(x, y)))
    }

    /// A frame that is white inside the axis-aligned plate, but its left half black.
    fn frame(x: usize, y: usize, w: usize, h: usize) -> Vec<u8> {
        let mut data = vec![90_u8; 640 * 360];
        for row in y..y + h {
            for column in x..x + w {
                data[row * 640 + column] = if column < x + w / 2 { 10 } else { 250 };
            }
        }
        data
    }

    #[test]
    fn the_plate_comes_upright_with_its_margins() {
        for (x, y, w, h) in [(300, 100, 80, 40), (100, 50, 400, 200)] {
            let data = frame(x, y, w, h);
            let plane = Plane { data: &data, width: 640, height: 360, stride: 640 };
            let (l, t, r, b) = (x as f32, y as f32, (x + w) as f32, (y + h) as f32);
            let mut upright = Mat::default();
            assert!(
                rectify(plane, &quad([(l, t), (r, t), (r, b), (l, b)]), PLATE, &mut upright)
                    .expect("warps")
            );
            let at = |x: i32, y: i32| *upright.at_2d::<u8>(y, x).expect("inside");
            assert_eq!((upright.cols(), upright.rows()), (160, 64));
            assert_eq!([at(3, 32), at(156, 32), at(80, 1), at(80, 62)], [90; 4], "margins");
            assert_eq!([at(14, 10), at(70, 50)], [10; 2], "left half");
            assert_eq!([at(90, 10), at(146, 50)], [250; 2], "right half");
        }
    }

    #[test]
    fn a_picture_that_is_a_readers_input_comes_out_as_it_is() {
        let data: Vec<u8> = (0..PLATE.pixels()).map(|i| (i * 7 % 251) as u8).collect();
        let plane =
            Plane { data: &data, width: PLATE.width, height: PLATE.height, stride: PLATE.width };
        let mut upright = Mat::default();
        assert!(rectify(plane, &PLATE.corners(), PLATE, &mut upright).expect("warps"));
        let out = upright.data_typed::<u8>().expect("pixels");
        let off = out.iter().zip(&data).filter(|(a, b)| a.abs_diff(**b) > 3).count();
        assert!(off < 20, "{off} pixels differ");
    }

    #[test]
    fn corners_turned_by_a_quarter_turn_the_plate() {
        let data = frame(300, 100, 80, 40);
        let plane = Plane { data: &data, width: 640, height: 360, stride: 640 };
        let mut upright = Mat::default();
        let turned = quad([(380., 100.), (380., 140.), (300., 140.), (300., 100.)]);
        assert!(rectify(plane, &turned, PLATE, &mut upright).expect("warps"));
        let at = |x: i32, y: i32| *upright.at_2d::<u8>(y, x).expect("inside");
        assert_eq!([at(80, 15), at(80, 50)], [250, 10], "its top is the frame's right");
    }

    #[test]
    fn corners_without_area_or_outside_are_no_plate() {
        let data = vec![0; 640 * 360];
        let plane = Plane { data: &data, width: 640, height: 360, stride: 640 };
        let mut upright = Mat::default();
        for corners in [
            quad([(5., 5.); 4]),
            quad([(-90., 5.), (-50., 5.), (-50., 20.), (-90., 20.)]),
            quad([(f32::NAN, 5.), (50., 5.), (50., 20.), (0., 20.)]),
        ] {
            assert!(!rectify(plane, &corners, PLATE, &mut upright).expect("no error"));
        }
    }

    #[test]
    fn a_smeared_plate_is_less_sharp_than_a_crisp_one_and_a_flat_one_not_at_all() {
        let stripes = |period: usize| -> Vec<u8> {
            (0..100 * 40)
                .map(|i| if (i % 100 / period).is_multiple_of(2) { 20 } else { 220 })
                .collect()
        };
        let corners = quad([(0., 0.), (100., 0.), (100., 40.), (0., 40.)]);
        let score =
            |data: &[u8]| sharpness(Plane { data, width: 100, height: 40, stride: 100 }, &corners);
        let crisp = stripes(4);
        let smeared: Vec<u8> = crisp
            .chunks(100)
            .flat_map(|row| {
                (0..100_usize).map(|x| {
                    let part = &row[x.saturating_sub(3)..(x + 3).min(100)];
                    (part.iter().map(|&v| u32::from(v)).sum::<u32>() / part.len() as u32) as u8
                })
            })
            .collect();
        assert!(score(&crisp) > score(&smeared) + 0.05, "{} {}", score(&crisp), score(&smeared));
        assert_eq!(score(&vec![120; 100 * 40]), 0.0);
    }
}
