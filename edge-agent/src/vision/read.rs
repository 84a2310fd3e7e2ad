//! Upright plates → characters with probabilities, and the state of origin.
//!
//! Plates of one frame are read together, in batches of fixed sizes ([`BATCHES`]): a provider
//! prepares itself once for each. Rows that pad a batch are not looked at.

use std::{fs, path::Path};

use opencv::{core::Mat, prelude::*};

use super::{
    Reading, VisionError,
    ctc::{CLASSES, decode},
    manifest::Kind,
    rectify::{HEIGHT, WIDTH, rectify},
    session::{Contract, Model, Outlet, Output, ProviderReport, Runtime, show},
};
use crate::{capture::Plane, config::Vision, geometry::Quad};

/// What the reader takes and gives.
const CONTRACT: Contract = Contract {
    input: Outlet { name: "plate", shape: &[-1, 1, HEIGHT as i64, WIDTH as i64] },
    outputs: [
        Outlet { name: "characters", shape: &[-1, -1, CLASSES as i64] },
        Outlet { name: "state", shape: &[-1, -1] },
    ],
};

/// Sizes of batches; the largest bounds the memory of one inference.
pub const BATCHES: [usize; 4] = [1, 2, 4, 8];

/// The line of `states.txt` for plates of no state that the reader knows.
const OTHER: &str = "other";

/// A state less probable than this is no opinion: with some 60 states, a guess.
pub const MIN_STATE: f32 = 0.15;

/// Reads plates.
#[derive(Debug)]
pub struct Reader {
    model: Model,
    states: Vec<String>,
    upright: Mat,
    input: Vec<f32>,
}

impl Reader {
    /// Loads the reader of `config.models_dir` with its `states.txt`, and runs it once for every
    /// size of batch.
    ///
    /// # Errors
    /// Every [`VisionError`] but those of pictures.
    pub fn load(runtime: &Runtime, config: &Vision) -> Result<Self, VisionError> {
        let mut model = Model::load(runtime, config, Kind::Reader, &CONTRACT)?;
        let states = load_states(&config.models_dir, &model)?;
        let input = vec![0.5; BATCHES[BATCHES.len() - 1] * WIDTH * HEIGHT];
        for batch in BATCHES {
            model.run(shape(batch), &input[..batch * WIDTH * HEIGHT], |out| {
                check(&out, batch, states.len())
            })?;
        }
        Ok(Self { model, states, upright: Mat::default(), input })
    }

    /// Which provider runs it.
    #[must_use]
    pub fn report(&self) -> &ProviderReport {
        self.model.report()
    }

    /// The model's version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.model.version()
    }

    /// One reading for each of `corners` (full-frame pixels), in their order; an empty reading for
    /// corners that span nothing in the frame.
    ///
    /// # Errors
    /// [`VisionError::Inference`], [`VisionError::NotFinite`], [`VisionError::Contract`] (a shape).
    pub fn read(&mut self, luma: Plane<'_>, corners: &[Quad]) -> Result<Vec<Reading>, VisionError> {
        let mut readings = vec![Reading::default(); corners.len()];
        let largest = BATCHES[BATCHES.len() - 1];
        let mut waiting: Vec<usize> = Vec::with_capacity(largest);
        for (index, quad) in corners.iter().enumerate() {
            if rectify(luma, quad, &mut self.upright)? {
                self.fill(waiting.len())?;
                waiting.push(index);
            }
            if waiting.len() == largest || (index + 1 == corners.len() && !waiting.is_empty()) {
                self.run(&waiting, &mut readings)?;
                waiting.clear();
            }
        }
        Ok(readings)
    }

    /// Copies the upright plate to its place in the batch.
    fn fill(&mut self, place: usize) -> Result<(), VisionError> {
        let pixels = self.upright.data_typed::<u8>()?;
        let plate = &mut self.input[place * WIDTH * HEIGHT..(place + 1) * WIDTH * HEIGHT];
        for (to, &from) in plate.iter_mut().zip(pixels) {
            *to = f32::from(from) / 255.0;
        }
        Ok(())
    }

    fn run(&mut self, plates: &[usize], readings: &mut [Reading]) -> Result<(), VisionError> {
        let batch = BATCHES.into_iter().find(|&n| n >= plates.len()).unwrap_or(plates.len());
        let states = &self.states;
        let input = &self.input[..batch * WIDTH * HEIGHT];
        self.model.run(shape(batch), input, |out| {
            check(&out, batch, states.len())?;
            let [characters, state] = &out;
            let columns = characters.data.len() / batch;
            for (row, &plate) in plates.iter().enumerate() {
                readings[plate] = Reading {
                    characters: decode(&characters.data[row * columns..][..columns]),
                    state: best_state(states, &state.data[row * states.len()..][..states.len()]),
                };
            }
            Ok(())
        })
    }
}

fn shape(batch: usize) -> [usize; 4] {
    [batch, 1, HEIGHT, WIDTH]
}

/// The most probable state; `None` where that is "other" or a guess.
fn best_state(states: &[String], probabilities: &[f32]) -> Option<(String, f32)> {
    let (index, &p) = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    (states[index] != OTHER && p >= MIN_STATE).then(|| (states[index].clone(), p.clamp(0.0, 1.0)))
}

fn check(out: &[Output<'_>; 2], batch: usize, states: usize) -> Result<(), String> {
    let [characters, state] = out;
    let &[n, columns, classes] = characters.shape else {
        return Err(format!("output `characters` came with shape {}", show(characters.shape)));
    };
    if n != batch as i64 || columns < 1 || classes != CLASSES as i64 {
        return Err(format!(
            "output `characters` came with shape {}, should be [{batch}, ?, {CLASSES}]",
            show(characters.shape)
        ));
    }
    if state.shape != [batch as i64, states as i64] {
        return Err(format!(
            "output `state` came with shape {}, but states.txt has {states} lines",
            show(state.shape)
        ));
    }
    Ok(())
}

/// `states.txt`, which must agree with the list that the model carries itself, if it does.
fn load_states(models_dir: &Path, model: &Model) -> Result<Vec<String>, VisionError> {
    let path = models_dir.join("states.txt");
    let text = fs::read_to_string(&path)
        .map_err(|e| VisionError::ModelFile { path: path.clone(), reason: e.to_string() })?;
    let states: Vec<String> =
        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    if let Some(own) = model.metadata("states")
        && own.split(',').ne(states.iter().map(String::as_str))
    {
        return Err(VisionError::Contract {
            model: model.file().to_owned(),
            problem: format!("{} is not the list of states it was trained with", path.display()),
        });
    }
    Ok(states)
}

#[cfg(test)]
mod tests;
