//! Serials in two rows, as motorcycles' and square European plates have them. Pure.
//!
//! The reader reads one line. Of a plate of two rows as a whole it is trained to read nothing; so where
//! it reads nothing and the plate has the proportions of two rows, each half is read as a plate of its
//! own, and the two make a text if both do. So what is high, and unread, costs two more readings.

use super::{Character, Reading};
use crate::geometry::{Point, Quad};

/// Plates of two rows are at most so many times as wide as high: a little more than India's 340 mm ×
/// 200 mm, and less than a plate of the Americas (2), whose name and slogan are no rows.
pub const WIDEST: f32 = 1.8;

/// A row of fewer pixels in height can't be read.
pub const LOWEST: f32 = 12.0;

/// Characters of a row: a prefix of two to half of a long serial.
pub const CHARACTERS: std::ops::RangeInclusive<usize> = 2..=6;

/// How sure the reader must be of each row: less than half, as an O or 0 without a neighbour of its kind
/// makes it half sure of a row that is plain otherwise.
pub const MIN_CONFIDENCE: f32 = 0.45;

/// The upper and the lower half of the plate at `corners`, where `reading`, of the whole, leaves room
/// for two rows.
#[must_use]
pub fn halves(reading: &Reading, corners: &Quad) -> Option<[Quad; 2]> {
    let (width, height) = (corners.width(), corners.height());
    let room = height >= 2.0 * LOWEST && width <= WIDEST * height;
    if !room || !reading.characters.is_empty() {
        return None;
    }
    let [a, b, c, d] = corners.0;
    let between = |p: Point, q: Point| Point::new((p.x + q.x) / 2.0, (p.y + q.y) / 2.0);
    let (left, right) = (between(a, d), between(b, c));
    Some([Quad([a, b, right, left]), Quad([left, right, c, d])])
}

/// The serial of two rows, upper first; `None` where one of them is none.
#[must_use]
pub fn join(upper: Reading, lower: Reading) -> Option<Vec<Character>> {
    let row =
        |r: &Reading| CHARACTERS.contains(&r.characters.len()) && r.confidence() >= MIN_CONFIDENCE;
    (row(&upper) && row(&lower)).then(|| [upper.characters, lower.characters].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str, probability: f32) -> Reading {
        let character = |text| Character { text, probability, alternatives: Vec::new() };
        Reading { characters: text.chars().map(character).collect(), state: None }
    }

    fn plate(width: f32, height: f32) -> Quad {
        let (x, y) = (100.0, 50.0);
        Quad(
            [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
                .map(|(x, y)| Point::new(x, y)),
        )
    }

    #[test]
    fn the_halves_share_the_middle_and_make_up_the_plate() {
        let [upper, lower] = halves(&Reading::default(), &plate(120.0, 80.0)).expect("high enough");
        assert_eq!(upper.bounds(), plate(120.0, 40.0).bounds());
        assert_eq!([lower.0[0], lower.0[1]], [upper.0[3], upper.0[2]]);
        assert!((upper.area() + lower.area() - 120.0 * 80.0).abs() < 1e-3);
    }

    #[test]
    fn a_plate_that_was_read_or_is_wide_or_small_is_not_looked_at_again() {
        assert_eq!(halves(&reading("7ABC123", 0.3), &plate(120.0, 80.0)), None, "read");
        assert_eq!(halves(&Reading::default(), &plate(200.0, 80.0)), None, "wide");
        assert_eq!(halves(&Reading::default(), &plate(30.0, 20.0)), None, "small");
        assert_eq!(halves(&Reading::default(), &plate(f32::NAN, 80.0)), None, "no number");
    }

    #[test]
    fn two_sure_rows_make_a_serial_and_less_makes_none() {
        let text = |upper, lower| {
            join(upper, lower).map(|characters| Reading { characters, state: None }.text())
        };
        assert_eq!(
            text(reading("ZZ99Z", 0.95), reading("Z9999", 0.95)).as_deref(),
            Some("ZZ99ZZ9999")
        );
        assert_eq!(text(reading("ZZ99Z", 0.95), reading("Z9999", 0.8)), None, "unsure");
        assert_eq!(text(reading("ZZ99Z", 0.95), reading("", 0.95)), None, "an empty row");
        assert_eq!(
            text(reading("CALLNOW", 0.99), reading("5550142", 0.99)),
            None,
            "too long for a row"
        );
    }
}
