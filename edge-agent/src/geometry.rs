//! Points, quads and boxes in pixels: what capture, vision and pass talk to each other in.
//!
//! Pixel coordinates grow right and down; (0, 0) is the top left corner of the top left pixel.

/// A point in pixels of the full frame.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Point {
    /// Pixels from the left edge.
    pub x: f32,
    /// Pixels from the top edge.
    pub y: f32,
}

impl Point {
    /// A point from its coordinates in pixels.
    #[must_use]
    pub const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// Distance to `other` in pixels.
    #[must_use]
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// The four corners of a plate, clockwise from the plate's own top left.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Quad(pub [Point; 4]);

impl Quad {
    /// The smallest axis-aligned box around the corners.
    #[must_use]
    pub fn bounds(&self) -> Box2 {
        let fold = |f: fn(f32, f32) -> f32, pick: fn(&Point) -> f32| {
            self.0.iter().map(pick).reduce(f).unwrap_or_default()
        };
        let (x, y) = (fold(f32::min, |p| p.x), fold(f32::min, |p| p.y));
        Box2 { x, y, width: fold(f32::max, |p| p.x) - x, height: fold(f32::max, |p| p.y) - y }
    }

    /// Mean of the corners.
    #[must_use]
    pub fn centre(&self) -> Point {
        let (x, y) = self.0.iter().fold((0.0, 0.0), |(x, y), p| (x + p.x, y + p.y));
        Point::new(x / 4.0, y / 4.0)
    }

    /// Mean length of the top and the bottom edge, in pixels.
    #[must_use]
    pub fn width(&self) -> f32 {
        (self.0[0].distance(self.0[1]) + self.0[3].distance(self.0[2])) / 2.0
    }

    /// Mean length of the left and the right edge, in pixels.
    #[must_use]
    pub fn height(&self) -> f32 {
        (self.0[0].distance(self.0[3]) + self.0[1].distance(self.0[2])) / 2.0
    }

    /// Area in square pixels, positive where the corners go clockwise.
    #[must_use]
    pub fn area(&self) -> f32 {
        let [a, b, c, d] = self.0;
        ((c.x - a.x) * (d.y - b.y) - (d.x - b.x) * (c.y - a.y)) / 2.0
    }
}

/// An axis-aligned box in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Box2 {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl Box2 {
    /// Intersection over union with `other`, 0 to 1; 0 where both are empty.
    #[must_use]
    pub fn iou(&self, other: &Self) -> f32 {
        let w = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let h = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        let shared = w.max(0.0) * h.max(0.0);
        let union = self.width * self.height + other.width * other.height - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }
}

/// A polygon in pixels of the full frame; a region of interest.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Polygon(pub Vec<Point>);

impl Polygon {
    /// Whether `point` lies inside, by the even-odd rule. A polygon of under three points holds none.
    #[must_use]
    pub fn contains(&self, point: Point) -> bool {
        let n = self.0.len();
        if n < 3 {
            return false;
        }
        (0..n).fold(false, |inside, i| {
            let (a, b) = (self.0[i], self.0[(i + 1) % n]);
            let crosses = (a.y > point.y) != (b.y > point.y)
                && point.x < (b.x - a.x) * (point.y - a.y) / (b.y - a.y) + a.x;
            inside ^ crosses
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_a_box_with_itself_is_one_and_with_a_far_one_zero() {
        let a = Box2 { x: 1.0, y: 2.0, width: 10.0, height: 5.0 };
        let far = Box2 { x: 100.0, ..a };
        assert!((a.iou(&a) - 1.0).abs() < 1e-6);
        assert_eq!(a.iou(&far), 0.0);
        assert_eq!(Box2::default().iou(&Box2::default()), 0.0);
    }

    #[test]
    fn a_polygon_holds_its_middle_and_not_its_outside() {
        let square = Polygon(vec![
            Point::new(0.0, 0.0),
            Point::new(4.0, 0.0),
            Point::new(4.0, 4.0),
            Point::new(0.0, 4.0),
        ]);
        assert!(square.contains(Point::new(2.0, 2.0)));
        assert!(!square.contains(Point::new(5.0, 2.0)));
        assert!(!Polygon(vec![Point::new(0.0, 0.0)]).contains(Point::new(0.0, 0.0)));
    }
}
