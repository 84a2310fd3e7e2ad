use opencv::core::Rect;

use super::*;
use crate::vision::fixtures;

const W: usize = 1280;
const H: usize = 720;

/// A dark frame with a bright square of 16 × 16 pixels (one cell at half scale) at each place.
fn frame(bright: &[(usize, usize)]) -> Vec<u8> {
    let mut data = vec![40_u8; W * H];
    for &(x, y) in bright {
        for row in y..y + 16 {
            data[row * W + x..row * W + x + 16].fill(255);
        }
    }
    data
}

fn plane(data: &[u8]) -> Plane<'_> {
    Plane { data, width: W, height: H, stride: W }
}

fn detector(change: impl FnOnce(&mut Vision)) -> Detector {
    let models = fixtures::models("toy-detector");
    let mut config = fixtures::config(&models);
    change(&mut config);
    Detector::load(&fixtures::runtime(), &config).expect("loads")
}

fn near(quad: &Quad, x: f32, y: f32) -> bool {
    let c = quad.centre();
    (c.x - x).abs() < 0.01 && (c.y - y).abs() < 0.01
}

#[test]
fn corners_come_back_in_pixels_of_the_full_frame() {
    let mut detector = detector(|_| ());
    let data = frame(&[(320, 160)]);
    let found = detector.detect(plane(&data)).expect("runs");
    assert_eq!(found.len(), 1, "{found:?}");
    let [a, _, c, _] = found[0].corners.0;
    // The toy claims 32×16 on the canvas, which is half the frame's size.
    assert_eq!((a.x, a.y, c.x, c.y), (296.0, 152.0, 360.0, 184.0));
    assert_eq!(found[0].score, 1.0);
    assert_eq!(picture(&detector), Some(Rect::new(0, 0, 640, 360)));
}

#[test]
fn overlapping_detections_are_one_and_the_best_comes_first() {
    let mut detector = detector(|_| ());
    // The second cell touches the first: its box overlaps by 60 %.
    let mut data = frame(&[(320, 160), (336, 160), (800, 480)]);
    for row in 160..176 {
        data[row * W + 336..row * W + 352].fill(248);
    }
    let found = detector.detect(plane(&data)).expect("runs");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].score >= found[1].score);
}

#[test]
fn scores_below_the_threshold_are_dropped() {
    let mut faint = frame(&[(320, 160)]);
    faint.iter_mut().filter(|v| **v == 255).for_each(|v| *v = 230);
    assert!(detector(|_| ()).detect(plane(&faint)).expect("runs").is_empty());
    let found = detector(|c| c.min_score = 0.1).detect(plane(&faint)).expect("runs");
    assert_eq!(found.len(), 1);
}

#[test]
fn only_plates_whose_centre_is_in_a_region_are_found_and_the_rest_is_not_computed() {
    let region = |x: f32, y: f32, w: f32, h: f32| {
        Polygon(vec![
            Point::new(x, y),
            Point::new(x + w, y),
            Point::new(x + w, y + h),
            Point::new(x, y + h),
        ])
    };
    let data = frame(&[(320, 160), (960, 480)]);
    let mut detector = detector(|c| c.regions = vec![region(832.0, 352.0, 320.0, 256.0)]);
    let found = detector.detect(plane(&data)).expect("runs");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(near(&found[0].corners, 968.0, 488.0), "{found:?}");
    let looked_at = picture(&detector).expect("laid out");
    assert!(looked_at.width < 320 && looked_at.height < 320, "{looked_at:?}");
    let everywhere = detector.detect_everywhere(plane(&data)).expect("runs");
    assert_eq!(everywhere.len(), 2);
    assert_eq!(detector.detect(plane(&data)).expect("runs").len(), 1, "regions hold again");
}

#[test]
fn a_source_that_changes_its_size_is_laid_out_anew() {
    let mut detector = detector(|_| ());
    let data = frame(&[(320, 160)]);
    assert_eq!(detector.detect(plane(&data)).expect("runs").len(), 1);
    let small = vec![255_u8; 16 * 8];
    let tiny = Plane { data: &small, width: 16, height: 8, stride: 16 };
    detector.detect(tiny).expect("runs");
    assert_eq!(detector.detect(plane(&data)).expect("runs").len(), 1);
}

#[test]
fn a_plane_that_is_none_is_an_error_and_the_next_frame_is_fine() {
    let mut detector = detector(|_| ());
    let data = frame(&[(320, 160)]);
    let short = Plane { data: &data[..1000], width: W, height: H, stride: W };
    assert!(matches!(detector.detect(short), Err(VisionError::Picture(_))));
    assert_eq!(detector.detect(plane(&data)).expect("runs").len(), 1);
}
