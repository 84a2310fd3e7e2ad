//! Milliseconds of each step of the vision and evidence path, on a 1080p frame, one thread:
//! `cargo bench -p milepost --bench vision`. Needs the models and ONNX Runtime (`make setup`).
//!
//! The frame is drawn: its cost does not depend on what it shows, but for plates read. The best of
//! many runs is what the step costs on an idle core; the median includes what else the machine did.

use std::{hint::black_box, path::Path, time::Instant};

use milepost::{
    capture::Frame,
    clock::{ClockSource, ExposureTime},
    config::{Config, Evidence, Provider, Vision},
    evidence,
    geometry::{Point, Quad},
    vision::{
        Aligner, Detector, MotionGate, PlateDetection, Reader, Runtime, VisionError, ctc,
        read::PLATE, rectify,
    },
};

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;
const RUNS: usize = 60;

fn frame() -> Option<Frame> {
    let exposure = ExposureTime {
        utc: jiff::Timestamp::UNIX_EPOCH,
        uncertainty: None,
        source: ClockSource::Recording,
        since_boot: None,
    };
    let mut state = 1_u32;
    let luma = (0..WIDTH * HEIGHT).map(|i| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (i % WIDTH / 16 + (state >> 27) as usize) as u8
    });
    Frame::from_luma(0, exposure, WIDTH, HEIGHT, luma.collect())
}

fn plate(i: usize) -> Quad {
    let (x, y) = (200.0 + 180.0 * i as f32, 600.0);
    let corners = [(x, y), (x + 140.0, y + 6.0), (x + 138.0, y + 76.0), (x - 2.0, y + 70.0)];
    Quad(corners.map(|(x, y)| Point::new(x, y)))
}

fn measure(step: &str, mut run: impl FnMut()) {
    run();
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("| {step:<36} | {:>8.2} | {:>8.2} |", times[0], times[RUNS / 2]);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vision = Vision {
        models_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("../models"),
        execution_providers: vec![Provider::Cpu],
        threads: 1,
        ..Config::embedded()?.vision
    };
    let photos = Evidence { jpeg_quality: 85, context_width: 1280 };
    let runtime = Runtime::load(None)?;
    let mut detector = Detector::load(&runtime, &vision)?;
    let mut reader = Reader::load(&runtime, &vision)?;
    let mut gate = MotionGate::default();
    let frame = frame().ok_or("the frame's size is wrong")?;
    let luma = frame.luma();
    let plates: Vec<Quad> = (0..8).map(plate).collect();

    println!("| step (1920×1080, 1 thread)           | best, ms | median   |");
    println!("| ------------------------------------ | -------: | -------: |");
    measure("motion gate", || _ = black_box(gate.look(luma)));
    for width in [480, 640, 960] {
        let mut failed: Option<VisionError> = None;
        measure(&format!("detect at {width}"), || {
            failed = detector.detect_at(luma, width, 0).err().or(failed.take());
        });
        failed.map_or(Ok(()), Err)?;
    }
    let mut aligner = Aligner::load(&runtime, &vision)?;
    for n in [1, 4] {
        let mut failed: Option<VisionError> = None;
        let found: Vec<_> =
            plates[..n].iter().map(|&corners| PlateDetection { corners, score: 1.0 }).collect();
        measure(&format!("align {n}"), || {
            failed = aligner.align(luma, &mut found.clone()).err().or(failed.take());
        });
        failed.map_or(Ok(()), Err)?;
    }
    for n in [1, 2, 4, 8] {
        let mut failed: Option<VisionError> = None;
        measure(&format!("straighten and read {n}"), || {
            failed = reader.read(luma, &plates[..n]).err().or(failed.take());
        });
        failed.map_or(Ok(()), Err)?;
    }
    // Something unread, and high enough for two rows: read whole and by halves.
    let Quad([a, b, c, d]) = plates[0];
    let high = Quad([a, b, Point::new(c.x, c.y + 30.0), Point::new(d.x, d.y + 30.0)]);
    let mut failed: Option<VisionError> = None;
    measure("straighten and read 1, unread, high", || {
        failed = reader.read(luma, &[high]).err().or(failed.take());
    });
    failed.map_or(Ok(()), Err)?;
    let mut upright = opencv::core::Mat::default();
    measure("straighten 1", || {
        _ = black_box(rectify::rectify(luma, &plates[0], PLATE, &mut upright))
    });
    let rows: Vec<f32> = (0..40 * ctc::CLASSES)
        .map(|i| {
            let (column, class) = (i / ctc::CLASSES, i % ctc::CLASSES);
            let letter = if column % 5 == 2 { column / 5 + 11 } else { 0 };
            if class == letter { 0.9 } else { 0.1 / 36.0 }
        })
        .collect();
    measure("decode 8 characters", || _ = black_box(ctc::decode(&rows)));
    measure("sharpness", || _ = black_box(rectify::sharpness(luma, &plates[0])));
    measure("keep a frame", || _ = black_box(frame.keep()));
    measure("close-up", || _ = black_box(evidence::close_up(&frame, &plates[0], &photos)));
    measure("context photo", || _ = black_box(evidence::context(&frame, &photos)));
    Ok(())
}
