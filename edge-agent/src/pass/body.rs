//! Which tracks are on one vehicle's body. Pure.
//!
//! A sticker or a van's lettering is found beside the plate and moves with it: seen over a pass, the
//! way from one to the other keeps its length *in plate widths*, whatever the distance to the camera.
//! The plate of a vehicle that follows does not: its distance differs, so the way between the two
//! grows or shrinks by more than the plate does.

use crate::geometry::Quad;

/// Farthest that two marks of one vehicle are apart, in plate widths: a body is about 2 m wide and
/// high, a plate 0.3 m (US) to 0.52 m (Europe).
const BODY_WIDTHS: f32 = 6.0;
/// Frames seen together before two tracks are judged.
const MIN_TOGETHER: u32 = 10;
/// Change of the plate's size while seen together from which a judgement is possible.
const MIN_GROWTH: f32 = 1.3;
/// How much the way may change, as a share of its length: the detector's jitter. A plate 5 m behind
/// changes it by half and more while both come from 20 m to 10 m.
const RIGID: f32 = 0.25;

/// How many bodies two tracks are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// The way between them moved as one body does.
    One,
    /// They are too far apart for one, or the way between them changed.
    Two,
    /// Near enough for one, but seen together too briefly to tell.
    OneOrTwo,
}

/// Two tracks seen in the same frames.
#[derive(Debug, Clone)]
pub struct Together {
    frames: u32,
    first: (f32, f32),
    first_width: f32,
    last: (f32, f32),
    last_width: f32,
}

impl Together {
    /// From the first frame that shows both; everything is measured in widths of `plate`.
    #[must_use]
    pub fn new(plate: &Quad, other: &Quad) -> Self {
        let (way, width) = (way(plate, other), plate.width());
        Self { frames: 1, first: way, first_width: width, last: way, last_width: width }
    }

    /// Takes one more frame.
    pub fn see(&mut self, plate: &Quad, other: &Quad) {
        self.frames += 1;
        (self.last, self.last_width) = (way(plate, other), plate.width());
    }

    /// Frames that showed both.
    #[must_use]
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Whether both are on one body, as far as the frames show.
    #[must_use]
    pub fn bodies(&self) -> Bodies {
        let length = |w: (f32, f32)| w.0.hypot(w.1);
        if length(self.first).max(length(self.last)) > BODY_WIDTHS {
            return Bodies::Two;
        }
        let growth =
            self.first_width.max(self.last_width) / self.first_width.min(self.last_width).max(1.0);
        if self.frames < MIN_TOGETHER || growth < MIN_GROWTH {
            return Bodies::OneOrTwo;
        }
        let moved = length((self.last.0 - self.first.0, self.last.1 - self.first.1));
        if moved <= RIGID * length(self.first).max(1.0) { Bodies::One } else { Bodies::Two }
    }
}

/// From one centre to the other, in widths of the first.
fn way(from: &Quad, to: &Quad) -> (f32, f32) {
    let (a, b, width) = (from.centre(), to.centre(), from.width().max(1.0));
    ((b.x - a.x) / width, (b.y - a.y) / width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::motion::tests::plate;

    /// A plate at `distance` metres before a camera 3 m above it, `x` metres aside.
    fn at(distance: f32, x: f32, height: f32) -> Quad {
        let scale = 7500.0 / distance;
        plate(960.0 + x * scale, 3.0_f32.mul_add(scale, -height * scale), 0.3 * scale)
    }

    fn drive(other: impl Fn(f32) -> Quad) -> Bodies {
        let mut together = Together::new(&at(20.0, 0.0, 0.0), &other(20.0));
        for i in 1..30 {
            let distance = 20.0 - 0.35 * i as f32;
            together.see(&at(distance, 0.0, 0.0), &other(distance));
        }
        together.bodies()
    }

    #[test]
    fn a_sticker_beside_the_plate_is_on_the_same_body() {
        assert_eq!(drive(|d| at(d, 0.6, 0.1)), Bodies::One);
    }

    #[test]
    fn a_glimpse_of_both_tells_nothing() {
        let mut together = Together::new(&at(20.0, 0.0, 0.0), &at(20.0, 0.6, 0.1));
        together.see(&at(19.6, 0.0, 0.0), &at(19.6, 0.6, 0.1));
        assert_eq!(together.bodies(), Bodies::OneOrTwo);
    }

    #[test]
    fn the_plate_of_a_vehicle_close_behind_is_on_another_body() {
        assert_eq!(drive(|d| at(d + 5.0, 0.0, 0.0)), Bodies::Two);
    }

    #[test]
    fn the_plate_of_a_vehicle_alongside_is_on_another_body() {
        assert_eq!(drive(|d| at(d, 3.0, 0.0)), Bodies::Two);
    }
}
