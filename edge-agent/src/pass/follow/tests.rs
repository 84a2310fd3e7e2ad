//! Promises of the follower, each on a made-up road.

use super::*;
use crate::{
    pass::{Direction, motion::tests::plate},
    vision::Character,
};
use proptest::prelude::*;

const FRAME_MS: i64 = 33;

fn at(frame: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + frame * FRAME_MS).expect("time")
}

fn reading(text: &str) -> Reading {
    let characters = text
        .chars()
        .map(|c| Character { text: c, probability: 0.95, alternatives: vec![] })
        .collect();
    Reading { characters, state: None }
}

fn follower() -> Follower {
    Follower::new(config::Pass::default(), 1920, 1080)
}

/// A vehicle: its text, and its plate's place at each frame (`None`: not seen).
type Vehicle<'a> = (&'a str, Box<dyn Fn(i64) -> Option<Quad> + 'a>);

/// Nears from the top to beyond the bottom of the picture, from frame `from` on, in 60 frames.
fn nearing(x: f32, from: i64) -> Box<dyn Fn(i64) -> Option<Quad>> {
    Box::new(move |f| {
        let t = (f - from) as f32 / 60.0;
        let y = 200.0 + 860.0 * t;
        ((0.0..1.0).contains(&t) && y < 1060.0).then(|| plate(x, y, 70.0 * (1.0 + t)))
    })
}

/// Runs `frames` of a road and gives the passes as they come.
fn drive(follower: &mut Follower, frames: i64, vehicles: &[Vehicle<'_>]) -> Vec<Pass> {
    let mut passes = Vec::new();
    for f in 0..frames {
        let seen: Vec<(&str, PlateDetection)> = vehicles
            .iter()
            .filter_map(|(text, place)| {
                Some((*text, PlateDetection { corners: place(f)?, score: 0.9 }))
            })
            .collect();
        let detections: Vec<_> = seen.iter().map(|(_, d)| *d).collect();
        for ((text, _), sighting) in seen.iter().zip(follower.follow(at(f), &detections)) {
            let sighting = sighting.expect("room for a track");
            if sighting.wants_reading {
                follower.read(sighting.track, &reading(text), 1.0);
            }
        }
        passes.extend(follower.ended(at(f)));
    }
    passes.extend(follower.finish());
    passes
}

fn texts(passes: &[Pass]) -> Vec<String> {
    let mut texts: Vec<String> = passes
        .iter()
        .map(|p| match &p.outcome {
            Outcome::Read(v) => v.text(),
            Outcome::Unread { reason, .. } => format!("{reason:?}"),
        })
        .collect();
    texts.sort();
    texts
}

#[test]
fn one_vehicle_gives_one_read_with_its_direction() {
    let passes = drive(&mut follower(), 120, &[("7ABC123", nearing(900.0, 5))]);
    assert_eq!(texts(&passes), ["7ABC123"]);
    assert_eq!(passes[0].direction, Direction::Approaching);
    assert!(!passes[0].parked);
}

#[test]
fn a_vehicle_that_has_driven_out_of_the_picture_is_told_a_moment_later() {
    let mut follower = follower();
    let place = nearing(900.0, 0);
    let last = (0..60).filter(|&f| place(f).is_some()).max().expect("seen");
    let mut ended = None;
    for f in 0..120 {
        let seen: Vec<_> =
            place(f).map(|corners| PlateDetection { corners, score: 0.9 }).into_iter().collect();
        for sighting in follower.follow(at(f), &seen).into_iter().flatten() {
            follower.read(sighting.track, &reading("7ABC123"), 1.0);
        }
        if !follower.ended(at(f)).is_empty() {
            ended = ended.or(Some(f));
        }
    }
    let frames = ended.expect("the pass ended") - last;
    assert!(frames * FRAME_MS <= 250, "{frames} frames");
}

#[test]
fn a_vehicle_that_stops_half_out_of_the_picture_is_one_pass() {
    // Brakes towards the lower edge, where its plate is cut and found only now and then.
    let brakes = |f: i64| {
        let t = (f as f32 / 90.0).min(1.0);
        let found = f < 90 || f % 8 == 0;
        (f < 150 && found).then(|| plate(900.0, 300.0 + 790.0 * t * (2.0 - t), 90.0 + 30.0 * t))
    };
    let passes = drive(&mut follower(), 240, &[("7ABC123", Box::new(brakes))]);
    assert_eq!(texts(&passes), ["7ABC123"]);
}

#[test]
fn two_vehicles_side_by_side_give_two_reads() {
    let road = [("7ABC123", nearing(600.0, 5)), ("4XYZ987", nearing(1200.0, 6))];
    assert_eq!(texts(&drive(&mut follower(), 120, &road)), ["4XYZ987", "7ABC123"]);
}

#[test]
fn a_vehicle_hidden_for_a_second_and_a_half_is_still_one_pass() {
    let slow = |f: i64| {
        let t = f as f32 / 180.0;
        let hidden = (60..105).contains(&f);
        (t < 1.0 && !hidden).then(|| plate(900.0, 100.0 + 900.0 * t, 80.0 * (1.0 + t)))
    };
    let passes = drive(&mut follower(), 240, &[("7ABC123", Box::new(slow))]);
    assert_eq!(texts(&passes), ["7ABC123"]);
}

#[test]
fn a_vehicle_that_comes_out_elsewhere_is_known_by_its_text() {
    let jumps = |f: i64| {
        let t = f as f32 / 180.0;
        let hidden = (60..90).contains(&f);
        let x = if f < 60 { 500.0 } else { 1300.0 };
        (t < 1.0 && !hidden).then(|| plate(x, 100.0 + 800.0 * t, 80.0 * (1.0 + t)))
    };
    let passes = drive(&mut follower(), 240, &[("7ABC123", Box::new(jumps))]);
    assert_eq!(texts(&passes), ["7ABC123"]);
}

#[test]
fn a_plate_that_rushes_in_at_the_near_edge_is_one_track() {
    // 15 m/s away from a camera 5 m up that sees the road from 7 m on; nothing is read.
    let leaves = |f: i64| {
        let distance = 7.0 + 15.0 * f as f32 * FRAME_MS as f32 / 1000.0;
        let scale = 1500.0 / distance;
        (distance < 30.0).then(|| plate(960.0 - 1.5 * scale, 5.0 * scale, 0.3 * scale))
    };
    let passes = drive(&mut follower(), 120, &[("", Box::new(leaves))]);
    assert_eq!(texts(&passes), ["NoCharacters"]);
}

#[test]
fn a_hidden_vehicle_does_not_take_the_plate_of_one_that_passes_by() {
    let mut follower = follower();
    let mut sees = |f: i64, places: &[Quad]| {
        let detections: Vec<_> =
            places.iter().map(|&corners| PlateDetection { corners, score: 0.9 }).collect();
        let sightings = follower.follow(at(f), &detections);
        sightings.into_iter().flatten().map(|s| s.track).collect::<Vec<_>>()
    };
    let waiting = plate(900.0, 500.0, 90.0);
    // The detector's jitter makes the passing plate no surer than the hidden one's place is vague.
    let passing = |f: i64| plate(1080.0 + (f % 2) as f32 * 8.0, 250.0 + 12.0 * f as f32, 90.0);
    let both = sees(0, &[waiting, passing(0)]);
    (1..12).for_each(|f| assert_eq!(sees(f, &[waiting, passing(f)]), both));
    (12..40).for_each(|f| assert_eq!(sees(f, &[passing(f)]), both[1..], "frame {f}"));
}

#[test]
fn a_plate_that_the_detector_sees_double_is_one_pass() {
    let double = |f: i64| {
        nearing(900.0, 5)(f).map(|q| Quad(q.0.map(|p| Point::new(p.x + 80.0, p.y + 60.0))))
    };
    let road = [("7ABC123", nearing(900.0, 5)), ("7ABC123", Box::new(double) as _)];
    assert_eq!(texts(&drive(&mut follower(), 120, &road)), ["7ABC123"]);
}

#[test]
fn lettering_longer_or_shorter_than_a_plate_is_no_read() {
    for text in ["CALL5550142", "4X4"] {
        let passes = drive(&mut follower(), 120, &[(text, nearing(900.0, 5))]);
        assert_eq!(texts(&passes), ["NoPlate"]);
    }
}

#[test]
fn a_sign_that_is_hidden_and_comes_back_is_no_pass() {
    let sign = |f: i64| (f % 90 < 60).then(|| plate(1750.0, 100.0, 150.0));
    assert!(drive(&mut follower(), 110, &[("ROAD", Box::new(sign))]).is_empty());
}

#[test]
fn a_plate_that_has_left_is_not_taken_for_the_sign_that_a_lorry_half_hides_next() {
    let leaves = |f: i64| {
        let t = f as f32 / 60.0;
        (t < 1.0).then(|| plate(1240.0, 18.0 + 200.0 * (1.0 - t), 65.0 * (1.5 - t / 2.0)))
    };
    let sign = |f: i64| (79..200).contains(&f).then(|| plate(1560.0, 40.0, 120.0));
    let road = [("7ABC123", Box::new(leaves) as _), ("MILLROAD", Box::new(sign) as _)];
    let passes = drive(&mut follower(), 200, &road);
    let plate = passes.iter().find(|p| texts(std::slice::from_ref(p)) == ["7ABC123"]);
    assert_eq!(plate.expect("the plate's pass").sightings, 60);
}

#[test]
fn a_plate_cut_by_the_edge_of_the_picture_is_not_read() {
    let mut follower = follower();
    let cut = PlateDetection { corners: plate(1880.0, 500.0, 100.0), score: 0.9 };
    let sighting = follower.follow(at(0), &[cut])[0].expect("followed");
    assert!(!sighting.whole && !sighting.wants_reading);
}

#[test]
fn a_parked_car_is_read_once_while_it_stands_and_not_again_when_it_leaves() {
    let stops = |f: i64| {
        let moving = |g: i64| plate(900.0, 200.0 + 8.0 * g as f32, 90.0 + g as f32 * 0.3);
        match f {
            0..40 => Some(moving(f)),
            40..340 => Some(moving(40)),
            340..400 => Some(moving(f - 300)),
            _ => None,
        }
    };
    let mut follower = follower();
    let passes = drive(&mut follower, 500, &[("7ABC123", Box::new(stops))]);
    assert_eq!(texts(&passes), ["7ABC123"]);
    assert!(passes[0].parked);
}

#[test]
fn a_parked_car_hidden_for_a_while_is_not_read_again() {
    let stands = |f: i64| {
        let hidden = (300..500).contains(&f);
        (!hidden).then(|| plate(900.0, 500.0, 100.0))
    };
    let passes = drive(&mut follower(), 800, &[("7ABC123", Box::new(stands))]);
    assert_eq!(texts(&passes), ["7ABC123"]);
}

#[test]
fn the_same_vehicle_a_minute_later_is_a_second_pass() {
    let road = [("7ABC123", nearing(900.0, 5)), ("7ABC123", nearing(900.0, 1800))];
    assert_eq!(texts(&drive(&mut follower(), 1900, &road)), ["7ABC123", "7ABC123"]);
}

#[test]
fn a_plate_without_text_is_an_unread_pass_with_its_reason() {
    let passes = drive(&mut follower(), 120, &[("", nearing(900.0, 5))]);
    assert_eq!(texts(&passes), ["NoCharacters"]);
}

#[test]
fn a_flicker_of_two_frames_is_no_pass() {
    let flicker = |f: i64| (f < 2).then(|| plate(900.0, 500.0, 100.0));
    assert!(drive(&mut follower(), 120, &[("7ABC123", Box::new(flicker))]).is_empty());
}

#[test]
fn an_unreadable_thing_that_never_moves_is_no_pass() {
    let sign = |_: i64| Some(plate(900.0, 500.0, 100.0));
    assert!(drive(&mut follower(), 600, &[("", Box::new(sign))]).is_empty());
}

#[test]
fn reading_stops_once_the_vote_is_certain() {
    let mut follower = follower();
    let place = nearing(900.0, 0);
    let mut asked = 0;
    for f in 0..50 {
        let corners = place(f).expect("in the picture");
        let sightings = follower.follow(at(f), &[PlateDetection { corners, score: 0.9 }]);
        if let Some(s) = sightings[0].filter(|s| s.wants_reading) {
            asked += 1;
            follower.read(s.track, &reading("7ABC123"), 1.0);
        }
    }
    assert!((3..50).contains(&asked), "{asked}");
}

proptest! {
    #[test]
    fn any_detections_keep_tracks_bounded_and_give_each_pass_once(
        frames in proptest::collection::vec(
            proptest::collection::vec((0.0_f32..1920.0, 0.0_f32..1080.0, 5.0_f32..400.0), 0..40), 1..40)
    ) {
        let mut follower = follower();
        let mut seen = std::collections::HashSet::new();
        for (f, detections) in frames.iter().enumerate() {
            let detections: Vec<_> = detections
                .iter()
                .map(|&(x, y, w)| PlateDetection { corners: plate(x, y, w), score: 0.5 })
                .collect();
            let sightings = follower.follow(at(f as i64), &detections);
            prop_assert_eq!(sightings.len(), detections.len());
            let mut owners: Vec<_> = sightings.iter().flatten().map(|s| s.track).collect();
            owners.sort();
            let all = owners.len();
            owners.dedup();
            prop_assert_eq!(owners.len(), all);
            prop_assert!(follower.tracks().len() <= MAX_TRACKS);
            for pass in follower.ended(at(f as i64)) {
                prop_assert!(seen.insert(pass.track));
            }
        }
        for pass in follower.finish() {
            prop_assert!(seen.insert(pass.track));
        }
    }
}
