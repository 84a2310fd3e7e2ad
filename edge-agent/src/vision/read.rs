//! Upright plates → characters with probabilities, and the state of origin.

use std::{fs, path::Path};

use super::{
    Reading, VisionError,
    batch::Batch,
    ctc::{CLASSES, decode},
    manifest::Kind,
    rectify::Upright,
    session::{Contract, Model, Outlet, Output, ProviderReport, Runtime, show},
    two_rows,
};
use crate::{capture::Plane, config::Vision, geometry::Quad};

/// What the reader sees of a plate.
pub const PLATE: Upright = Upright { width: 160, height: 64, margin_x: 0.06, margin_y: 0.12 };

/// What the reader takes and gives.
const CONTRACT: Contract<2> = Contract {
    input: Outlet { name: "plate", shape: &[-1, 1, PLATE.height as i64, PLATE.width as i64] },
    outputs: [
        Outlet { name: "characters", shape: &[-1, -1, CLASSES as i64] },
        Outlet { name: "state", shape: &[-1, -1] },
    ],
};

/// The line of `states.txt` for plates of no state that the reader knows.
const OTHER: &str = "other";

/// A state less probable than this is no opinion: with some 60 states, a guess.
pub const MIN_STATE: f32 = 0.15;

/// Reads plates.
#[derive(Debug)]
pub struct Reader {
    batch: Batch<2>,
    states: Vec<String>,
}

impl Reader {
    /// Loads the reader of `config.models_dir` with its `states.txt`, and runs it once for every
    /// size of batch.
    ///
    /// # Errors
    /// Every [`VisionError`] but those of pictures.
    pub fn load(runtime: &Runtime, config: &Vision) -> Result<Self, VisionError> {
        let mut batch = Batch::load(runtime, config, Kind::Reader, &CONTRACT, PLATE)?;
        let states = load_states(&config.models_dir, &batch.model)?;
        batch.prove(|out, size| check(out, size, states.len()))?;
        Ok(Self { batch, states })
    }

    /// Which provider runs it.
    #[must_use]
    pub fn report(&self) -> &ProviderReport {
        self.batch.model.report()
    }

    /// The model's version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.batch.model.version()
    }

    /// One reading for each of `corners` (full-frame pixels), in their order; an empty reading for
    /// corners that span nothing in the frame. Where nothing is read in one line, two are tried
    /// ([`two_rows`]).
    ///
    /// # Errors
    /// [`VisionError::Inference`], [`VisionError::NotFinite`], [`VisionError::Contract`] (a shape).
    pub fn read(&mut self, luma: Plane<'_>, corners: &[Quad]) -> Result<Vec<Reading>, VisionError> {
        let mut readings = self.read_lines(luma, corners)?;
        let high: Vec<(usize, [Quad; 2])> = (readings.iter().zip(corners).enumerate())
            .filter_map(|(plate, (reading, quad))| Some((plate, two_rows::halves(reading, quad)?)))
            .collect();
        let rows: Vec<Quad> = high.iter().flat_map(|(_, halves)| *halves).collect();
        let mut rows = self.read_lines(luma, &rows)?.into_iter();
        for (plate, _) in high {
            if let (Some(upper), Some(lower)) = (rows.next(), rows.next())
                && let Some(characters) = two_rows::join(upper, lower)
            {
                readings[plate].characters = characters;
            }
        }
        Ok(readings)
    }

    /// One reading for each of `corners`, each taken as a single line.
    fn read_lines(
        &mut self,
        luma: Plane<'_>,
        corners: &[Quad],
    ) -> Result<Vec<Reading>, VisionError> {
        let mut readings = vec![Reading::default(); corners.len()];
        let states = &self.states;
        self.batch.run(luma, corners, |out, size, plates| {
            check(out, size, states.len())?;
            let [characters, state] = out;
            let columns = characters.data.len() / size;
            for (row, &plate) in plates.iter().enumerate() {
                readings[plate] = Reading {
                    characters: decode(&characters.data[row * columns..][..columns]),
                    state: best_state(states, &state.data[row * states.len()..][..states.len()]),
                };
            }
            Ok(())
        })?;
        Ok(readings)
    }
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
fn load_states(models_dir: &Path, model: &Model<2>) -> Result<Vec<String>, VisionError> {
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
