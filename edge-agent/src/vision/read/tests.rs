use super::*;
use crate::{geometry::Point, vision::fixtures};

const W: usize = 640;
const H: usize = 360;

/// A frame of plates of 60 × 30 pixels, bright where `bright`, and their corners.
fn plates(bright: &[bool]) -> (Vec<u8>, Vec<Quad>) {
    let mut data = vec![128_u8; W * H];
    let corners = bright.iter().enumerate().map(|(i, &bright)| {
        let (x, y) = (i % 6 * 100 + 10, i / 6 * 80 + 20);
        for row in y - 10..y + 40 {
            data[row * W + x - 10..row * W + x + 70].fill(if bright { 250 } else { 5 });
        }
        let (x, y) = (x as f32, y as f32);
        Quad(
            [(x, y), (x + 60., y), (x + 60., y + 30.), (x, y + 30.)].map(|(x, y)| Point::new(x, y)),
        )
    });
    let corners = corners.collect();
    (data, corners)
}

fn reader() -> Reader {
    let models = fixtures::models("toy-detector");
    Reader::load(&fixtures::runtime(), &fixtures::config(&models)).expect("loads")
}

#[test]
fn every_plate_of_any_number_gets_its_own_reading_in_order() {
    let mut reader = reader();
    for n in [0, 1, 2, 3, 5, 8, 9, 19] {
        let bright: Vec<bool> = (0..n).map(|i| i % 3 == 0).collect();
        let (data, corners) = plates(&bright);
        let plane = Plane { data: &data, width: W, height: H, stride: W };
        let texts: Vec<String> =
            reader.read(plane, &corners).expect("runs").iter().map(Reading::text).collect();
        let wanted: Vec<_> = bright.iter().map(|&b| if b { "1A" } else { "0A" }).collect();
        assert_eq!(texts, wanted, "{n} plates");
    }
}

#[test]
fn corners_that_span_nothing_give_an_empty_reading_in_their_place() {
    let mut reader = reader();
    let (data, mut corners) = plates(&[true, true, true]);
    corners[1] = Quad([Point::new(5.0, 5.0); 4]);
    corners.push(Quad([Point::new(f32::NAN, 5.0); 4]));
    let plane = Plane { data: &data, width: W, height: H, stride: W };
    let texts: Vec<String> =
        reader.read(plane, &corners).expect("runs").iter().map(Reading::text).collect();
    assert_eq!(texts, ["1A", "", "1A", ""]);
}

#[test]
fn a_reading_carries_probabilities_alternatives_and_the_state() {
    let mut reader = reader();
    let (data, corners) = plates(&[true]);
    let plane = Plane { data: &data, width: W, height: H, stride: W };
    let reading = &reader.read(plane, &corners).expect("runs")[0];
    let last = &reading.characters[1];
    assert!((last.probability - 0.8).abs() < 1e-3, "{reading:?}");
    assert_eq!(last.alternatives[0].0, 'B');
    assert!((reading.confidence() - 0.9 * 0.8).abs() < 1e-3);
    assert_eq!(reading.state, Some(("US-CA".into(), 0.75)));
}

#[test]
fn a_plate_of_no_known_state_has_none() {
    let states = ["US-CA".to_owned(), OTHER.to_owned()];
    assert_eq!(best_state(&states, &[0.1, 0.9]), None);
    assert_eq!(best_state(&states, &[0.1, 0.05]), None, "a guess");
    assert_eq!(best_state(&states, &[0.9, 0.1]), Some(("US-CA".into(), 0.9)));
}
