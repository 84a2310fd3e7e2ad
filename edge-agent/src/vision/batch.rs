//! The plates of one frame, cut out upright and run through a network together.
//!
//! Batches have fixed sizes ([`SIZES`]): a provider prepares itself once for each. Rows that fill a
//! batch up are not looked at.

use opencv::{core::Mat, prelude::*};

use super::{
    VisionError,
    manifest::Kind,
    rectify::{Upright, rectify},
    session::{Contract, Model, Output, Runtime},
};
use crate::{capture::Plane, config::Vision, geometry::Quad};

/// Sizes of batches; the largest bounds the memory of one inference.
const SIZES: [usize; 4] = [1, 2, 4, 8];

/// A network that takes upright plates and gives `N` outputs.
#[derive(Debug)]
pub(super) struct Batch<const N: usize> {
    pub model: Model<N>,
    shape: Upright,
    upright: Mat,
    input: Vec<f32>,
}

impl<const N: usize> Batch<N> {
    /// Loads the model of `kind`, which takes plates of `shape`.
    pub fn load(
        runtime: &Runtime,
        config: &Vision,
        kind: Kind,
        contract: &Contract<N>,
        shape: Upright,
    ) -> Result<Self, VisionError> {
        let model = Model::load(runtime, config, kind, contract)?;
        let input = vec![0.5; SIZES[SIZES.len() - 1] * shape.pixels()];
        Ok(Self { model, shape, upright: Mat::default(), input })
    }

    /// Runs the model once for every size of batch; `check` gets the outputs and the size.
    pub fn prove(
        &mut self,
        check: impl Fn(&[Output<'_>; N], usize) -> Result<(), String>,
    ) -> Result<(), VisionError> {
        SIZES.into_iter().try_for_each(|size| self.infer(size, |out| check(out, size)))
    }

    /// Runs the plates at `corners` (full-frame pixels), leaving out those that span nothing in the
    /// frame. For each batch `take` gets the outputs, the batch's size, and which of `corners` its
    /// first rows are.
    pub fn run(
        &mut self,
        luma: Plane<'_>,
        corners: &[Quad],
        mut take: impl FnMut(&[Output<'_>; N], usize, &[usize]) -> Result<(), String>,
    ) -> Result<(), VisionError> {
        let largest = SIZES[SIZES.len() - 1];
        let mut waiting: Vec<usize> = Vec::with_capacity(largest);
        for (index, quad) in corners.iter().enumerate() {
            if rectify(luma, quad, self.shape, &mut self.upright)? {
                self.fill(waiting.len())?;
                waiting.push(index);
            }
            if waiting.len() == largest || (index + 1 == corners.len() && !waiting.is_empty()) {
                let size = SIZES.into_iter().find(|&n| n >= waiting.len()).unwrap_or(largest);
                self.infer(size, |out| take(out, size, &waiting))?;
                waiting.clear();
            }
        }
        Ok(())
    }

    /// Copies the upright plate to its place in the batch.
    fn fill(&mut self, place: usize) -> Result<(), VisionError> {
        let pixels = self.upright.data_typed::<u8>()?;
        let plate = &mut self.input[place * self.shape.pixels()..][..self.shape.pixels()];
        for (to, &from) in plate.iter_mut().zip(pixels) {
            *to = f32::from(from) / 255.0;
        }
        Ok(())
    }

    fn infer(
        &mut self,
        size: usize,
        f: impl FnOnce(&[Output<'_>; N]) -> Result<(), String>,
    ) -> Result<(), VisionError> {
        let input = &self.input[..size * self.shape.pixels()];
        self.model.run([size, 1, self.shape.height, self.shape.width], input, |out| f(&out))
    }
}
