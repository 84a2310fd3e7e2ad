//! Milliseconds of each network by precision and threads, on a 1080p frame:
//! `cargo bench -p milepost --bench precision`. Needs the models and ONNX Runtime (`make setup`).
//!
//! The kinds take turns in every round, so that what else the machine does hits all alike; the best
//! round of each counts. Which is quicker depends on the processor: INT8 wins where it has dot
//! product instructions (VNNI, Arm's dotprod).

use std::{path::Path, time::Instant};

use milepost::{
    capture::Plane,
    config::{Config, Precision, Provider, Vision},
    geometry::{Point, Quad},
    vision::{Aligner, Detector, PlateDetection, Reader, Runtime, VisionError},
};

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;
const ROUNDS: usize = 40;
const PLATES: usize = 4;

struct Networks {
    name: String,
    detector: Detector,
    aligner: Aligner,
    reader: Reader,
    /// Best milliseconds of detection, of aligning and of reading four plates.
    best: [f64; 3],
}

impl Networks {
    fn load(
        runtime: &Runtime,
        defaults: &Vision,
        precision: Precision,
        threads: usize,
    ) -> Result<Self, VisionError> {
        let vision = Vision {
            models_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("../models"),
            execution_providers: vec![Provider::Cpu],
            precision,
            threads,
            // Finds nothing: what finds more reads more.
            min_score: 0.99,
            ..defaults.clone()
        };
        Ok(Self {
            name: format!(
                "{}, {threads} thread{}",
                precision.name(),
                if threads > 1 { "s" } else { "" }
            ),
            detector: Detector::load(runtime, &vision)?,
            aligner: Aligner::load(runtime, &vision)?,
            reader: Reader::load(runtime, &vision)?,
            best: [f64::MAX; 3],
        })
    }

    fn round(&mut self, luma: Plane<'_>, plates: &[Quad]) -> Result<(), VisionError> {
        let mut found: Vec<_> =
            plates.iter().map(|&corners| PlateDetection { corners, score: 1.0 }).collect();
        let started = Instant::now();
        self.detector.detect(luma)?;
        let detected = Instant::now();
        self.aligner.align(luma, &mut found)?;
        let aligned = Instant::now();
        self.reader.read(luma, plates)?;
        let took = [detected - started, aligned - detected, aligned.elapsed()];
        for (best, took) in self.best.iter_mut().zip(took) {
            *best = best.min(took.as_secs_f64() * 1e3);
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (runtime, defaults) = (Runtime::load(None)?, Config::embedded()?.vision);
    let luma: Vec<u8> =
        (0..WIDTH * HEIGHT).map(|i| (i % WIDTH / 16 + i / WIDTH / 9) as u8).collect();
    let luma = Plane { data: &luma, width: WIDTH, height: HEIGHT, stride: WIDTH };
    let plates: Vec<Quad> = (0..PLATES)
        .map(|i| {
            let (x, y) = (200.0 + 180.0 * i as f32, 600.0);
            Quad(
                [(0., 0.), (140., 6.), (138., 76.), (-2., 70.)]
                    .map(|(dx, dy)| Point::new(x + dx, y + dy)),
            )
        })
        .collect();
    let mut all = Vec::new();
    for precision in [Precision::Fp32, Precision::Int8] {
        for threads in [1, 2] {
            all.push(Networks::load(&runtime, &defaults, precision, threads)?);
        }
    }
    for _ in 0..ROUNDS {
        all.iter_mut().try_for_each(|networks| networks.round(luma, &plates))?;
    }
    let of = all[0].best;
    println!(
        "| networks         | detect at 640, ms | align {PLATES}, ms | read {PLATES}, ms | all, of the first |"
    );
    println!(
        "| ---------------- | ----------------: | ----------: | ---------: | ----------------: |"
    );
    for Networks { name, best, .. } in &all {
        let ratio = best.iter().sum::<f64>() / of.iter().sum::<f64>();
        println!(
            "| {name:<16} | {:>17.2} | {:>11.2} | {:>10.2} | {ratio:>17.2} |",
            best[0], best[1], best[2]
        );
    }
    Ok(())
}
