//! How a frame is laid on the detector's canvas, and back. Pure.

use opencv::core::Rect;

use super::{VisionError, plane::whole};
use crate::{
    capture::Plane,
    geometry::{Point, Polygon},
};

/// Pixels of the canvas that one cell of the detector's output stands for.
pub const CELL: usize = 8;
/// The canvas's sides are multiples of this, and at least twice this.
pub const STEP: usize = 32;
/// Longest side of the canvas in pixels: bounds the memory of one inference.
pub const MAX_SIDE: usize = 1536;
/// Frame around the regions of interest that is looked at too, as a share of the frame's width, so
/// that a plate whose centre is just inside is seen whole.
const REGION_MARGIN: f32 = 0.05;

/// Where a frame's picture lies on the canvas.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Size of the frame.
    pub source: (usize, usize),
    /// What of the frame is looked at.
    pub crop: Rect,
    /// Where on the canvas it lies.
    pub picture: Rect,
    /// Size of the canvas.
    pub canvas: (usize, usize),
    asked: (usize, usize),
}

impl Layout {
    /// The layout for frames like `luma`, scaled so that the whole frame would be `width` pixels
    /// wide (never up), with `border` pixels of canvas around.
    ///
    /// # Errors
    /// [`VisionError::Picture`] where the plane is empty.
    pub fn new(
        luma: Plane<'_>,
        width: usize,
        border: usize,
        regions: &[Polygon],
    ) -> Result<Self, VisionError> {
        let frame = whole(luma)?;
        let crop = around(regions, frame);
        let room = (MAX_SIDE - 2 * border.min(MAX_SIDE / 4)) as f32;
        let longest = crop.width.max(crop.height) as f32;
        let scale = (width as f32 / frame.width as f32).min(room / longest).min(1.0);
        let scaled = |n: i32| ((n as f32 * scale).round() as i32).max(1);
        let border = border.min(MAX_SIDE / 4);
        let picture =
            Rect::new(border as i32, border as i32, scaled(crop.width), scaled(crop.height));
        let side = |n: i32| (n as usize + 2 * border).next_multiple_of(STEP).max(2 * STEP);
        Ok(Self {
            source: (luma.width, luma.height),
            crop,
            picture,
            canvas: (side(picture.width), side(picture.height)),
            asked: (width, border),
        })
    }

    /// Whether this is the layout for such frames.
    #[must_use]
    pub fn is_for(
        &self,
        frame_width: usize,
        frame_height: usize,
        width: usize,
        border: usize,
    ) -> bool {
        self.source == (frame_width, frame_height)
            && self.asked == (width, border.min(MAX_SIDE / 4))
    }

    /// A point of the canvas in full-frame pixels.
    #[must_use]
    pub fn to_frame(&self, p: Point) -> Point {
        let along = |p: f32, at: i32, size: i32, crop_at: i32, crop_size: i32| {
            (p - at as f32) * crop_size as f32 / size as f32 + crop_at as f32
        };
        let (c, q) = (self.crop, self.picture);
        Point::new(along(p.x, q.x, q.width, c.x, c.width), along(p.y, q.y, q.height, c.y, c.height))
    }
}

/// The box around all regions and their margin, inside the frame; the frame where there are none or
/// none that touches it.
fn around(regions: &[Polygon], frame: Rect) -> Rect {
    let points =
        || regions.iter().flat_map(|r| &r.0).filter(|p| p.x.is_finite() && p.y.is_finite());
    let margin = REGION_MARGIN * frame.width as f32;
    let clamp = |v: f32, most: i32| (v as i32).clamp(0, most);
    let least = |pick: fn(&Point) -> f32| points().map(pick).fold(f32::MAX, f32::min) - margin;
    let most = |pick: fn(&Point) -> f32| points().map(pick).fold(f32::MIN, f32::max) + margin;
    let (left, top) =
        (clamp(least(|p| p.x).floor(), frame.width), clamp(least(|p| p.y).floor(), frame.height));
    let (right, bottom) =
        (clamp(most(|p| p.x).ceil(), frame.width), clamp(most(|p| p.y).ceil(), frame.height));
    if right > left && bottom > top {
        Rect::new(left, top, right - left, bottom - top)
    } else {
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(data: &[u8], width: usize, height: usize) -> Plane<'_> {
        Plane { data, width, height, stride: width }
    }

    #[test]
    fn a_1080p_frame_lies_on_640_by_384_and_points_come_back() {
        let layout = Layout::new(plane(&[], 1920, 1080), 640, 0, &[]).expect("lays out");
        assert_eq!(layout.canvas, (640, 384));
        assert_eq!((layout.picture.width, layout.picture.height), (640, 360));
        let p = layout.to_frame(Point::new(320.0, 180.0));
        assert!((p.x - 960.0).abs() < 1e-3 && (p.y - 540.0).abs() < 1e-3);
        assert!(layout.is_for(1920, 1080, 640, 0) && !layout.is_for(1920, 1080, 320, 0));
    }

    #[test]
    fn a_region_saves_canvas_and_points_still_come_back_in_frame_pixels() {
        let region = Polygon(
            [(960., 540.), (1440., 540.), (1440., 1080.), (960., 1080.)]
                .map(|(x, y)| Point::new(x, y))
                .into(),
        );
        let layout = Layout::new(plane(&[], 1920, 1080), 640, 0, &[region]).expect("lays out");
        assert_eq!(layout.crop, Rect::new(864, 444, 672, 636));
        assert_eq!(layout.canvas, (224, 224));
        let p = layout.to_frame(Point::new(0.0, 0.0));
        assert_eq!((p.x, p.y), (864.0, 444.0));
    }

    #[test]
    fn small_pictures_are_pasted_and_never_blown_up() {
        let layout = Layout::new(plane(&[], 320, 150), 640, 0, &[]).expect("lays out");
        assert_eq!((layout.picture.width, layout.canvas), (320, (320, 160)));
        let layout = Layout::new(plane(&[], 320, 150), 160, 48, &[]).expect("lays out");
        assert_eq!(layout.picture, Rect::new(48, 48, 160, 75));
        assert_eq!(layout.canvas, (256, 192));
        let p = layout.to_frame(Point::new(48.0, 48.0));
        assert_eq!((p.x, p.y), (0.0, 0.0));
    }

    #[test]
    fn extreme_pictures_stay_within_the_canvas_limit() {
        for (w, h) in [(1, 1), (1, 100_000), (100_000, 3), (20_000, 20_000)] {
            let layout = Layout::new(plane(&[], w, h), 1024, 1000, &[]).expect("lays out");
            assert!(layout.canvas.0 <= MAX_SIDE && layout.canvas.1 <= MAX_SIDE, "{layout:?}");
            assert!(layout.picture.width >= 1 && layout.picture.height >= 1);
        }
        assert!(Layout::new(plane(&[], 0, 3), 640, 0, &[]).is_err());
    }

    #[test]
    fn regions_off_the_frame_leave_the_whole_frame() {
        let off = Polygon(vec![Point::new(5000.0, 5000.0); 3]);
        let layout = Layout::new(plane(&[], 640, 360), 640, 0, &[off]).expect("lays out");
        assert_eq!(layout.crop, Rect::new(0, 0, 640, 360));
    }
}
