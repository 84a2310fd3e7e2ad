//! Whether a frame is worth looking at: something moved since the last. Pure.
//!
//! The frame is reduced to a grid of about [`GRID_WIDTH`] cells a row. A cell has moved where it
//! differs from the last frame by more than its own noise and more than the whole picture changed
//! (so that a cloud, or the camera's exposure control, is not motion). A frame is looked at while
//! something moves, for [`HOLD_FRAMES`] after, and at least every [`LOOK_EVERY`] frames, so that a
//! car that is already standing there is found and noise that was misjudged can't blind the agent
//! for longer. Never fails; a plane that is too short counts as moved.

use crate::{capture::Plane, geometry::Polygon};

/// Cells of a row of the grid.
pub const GRID_WIDTH: usize = 160;
/// Frames looked at after the last motion.
pub const HOLD_FRAMES: u32 = 10;
/// At least every n-th frame is looked at, whatever moves.
pub const LOOK_EVERY: u32 = 15;

/// Of a cell's rows, so many are sampled: the mean of the cell needs no more.
const SAMPLED_ROWS: usize = 4;
/// Rows sampled at most: their sum must fit 16 bits.
const MAX_ROWS: usize = 256;
/// Grey levels that a cell may differ by, at least, before it has moved.
const MIN_STEP: f32 = 5.0;
/// Times its own usual difference that a cell may differ by.
const NOISE_FACTOR: f32 = 6.0;
/// Share of a new difference that enters a cell's usual one.
const NOISE_RATE: f32 = 0.03;
/// Grey levels that a cell's usual difference may grow to: a busy road is not noise.
const MAX_NOISE: f32 = 4.0;
/// Pairs of neighbouring cells that must have moved: noise moves single cells.
const MIN_PAIRS: usize = 2;

/// Remembers the last frame's grid.
#[derive(Debug, Default)]
pub struct MotionGate {
    regions: Vec<Polygon>,
    size: (usize, usize),
    last: Vec<f32>,
    now: Vec<f32>,
    noise: Vec<f32>,
    watched: Vec<bool>,
    hold: u32,
    skipped: u32,
}

impl MotionGate {
    /// A gate that watches the boxes around `regions` (full-frame pixels); none: everything.
    #[must_use]
    pub fn new(regions: &[Polygon]) -> Self {
        Self { regions: regions.to_vec(), ..Self::default() }
    }

    /// Takes the next frame and says whether to look at it.
    pub fn look(&mut self, luma: Plane<'_>) -> bool {
        if self.moved(luma) {
            self.hold = HOLD_FRAMES + 1;
        }
        let look = self.hold > 0 || self.skipped + 1 >= LOOK_EVERY;
        self.hold = self.hold.saturating_sub(1);
        self.skipped = if look { 0 } else { self.skipped + 1 };
        look
    }

    fn moved(&mut self, luma: Plane<'_>) -> bool {
        if (luma.width, luma.height) != self.size {
            self.start(luma.width, luma.height);
            return if reduce(luma, &mut self.last) { true } else { self.forget() };
        }
        if !reduce(luma, &mut self.now) {
            return self.forget();
        }
        let shift = median_difference(&self.last, &self.now);
        let columns = grid(luma.width, luma.height).0;
        let (mut pairs, mut left_moved) = (0, false);
        for i in 0..self.now.len() {
            let step = (self.now[i] - self.last[i] - shift).abs();
            let limit = MIN_STEP.max(NOISE_FACTOR * self.noise[i]);
            let moved = step > limit && self.watched[i];
            pairs += usize::from(moved && left_moved && !i.is_multiple_of(columns));
            left_moved = moved;
            let usual = self.noise[i] + NOISE_RATE * (step.min(limit) - self.noise[i]);
            self.noise[i] = usual.min(MAX_NOISE);
        }
        std::mem::swap(&mut self.last, &mut self.now);
        pairs >= MIN_PAIRS
    }

    /// A plane that can't be measured is looked at, and compared with nothing.
    fn forget(&mut self) -> bool {
        self.size = (0, 0);
        true
    }

    fn start(&mut self, width: usize, height: usize) {
        let (columns, rows) = grid(width, height);
        self.size = (width, height);
        self.noise = vec![0.0; columns * rows];
        self.last = vec![0.0; columns * rows];
        self.now = vec![0.0; columns * rows];
        let boxes: Vec<_> = self
            .regions
            .iter()
            .filter(|r| !r.0.is_empty())
            .map(|r| {
                let xs = r.0.iter().map(|p| p.x);
                let ys = r.0.iter().map(|p| p.y);
                (
                    xs.clone().fold(f32::MAX, f32::min)..=xs.fold(f32::MIN, f32::max),
                    ys.clone().fold(f32::MAX, f32::min)..=ys.fold(f32::MIN, f32::max),
                )
            })
            .collect();
        self.watched = (0..columns * rows)
            .map(|i| {
                let x = (i % columns) as f32 + 0.5;
                let y = (i / columns) as f32 + 0.5;
                let x = x * width as f32 / columns as f32;
                let y = y * height as f32 / rows as f32;
                boxes.is_empty() || boxes.iter().any(|(xs, ys)| xs.contains(&x) && ys.contains(&y))
            })
            .collect();
    }
}

/// Cells a row and rows of the grid for a picture.
fn grid(width: usize, height: usize) -> (usize, usize) {
    let columns = GRID_WIDTH.min(width).max(1);
    (columns, (height * columns / width.max(1)).clamp(1, height.max(1)))
}

/// Mean of each cell into `cells`; false where the plane is too short.
fn reduce(luma: Plane<'_>, cells: &mut [f32]) -> bool {
    let (columns, rows) = grid(luma.width, luma.height);
    let needed = luma.stride * luma.height.saturating_sub(1) + luma.width;
    if luma.width == 0 || luma.data.len() < needed || cells.len() != columns * rows {
        return false;
    }
    // Rows first, which the compiler turns into wide additions; then cells.
    let mut sums = vec![0_u16; luma.width];
    for row in 0..rows {
        let (top, bottom) = (row * luma.height / rows, (row + 1) * luma.height / rows);
        sums.fill(0);
        let mut sampled = 0;
        for y in (top..bottom).step_by(((bottom - top) / SAMPLED_ROWS).max(1)).take(MAX_ROWS) {
            let line = &luma.data[y * luma.stride..][..luma.width];
            sums.iter_mut().zip(line).for_each(|(sum, &v)| *sum += u16::from(v));
            sampled += 1;
        }
        for column in 0..columns {
            let (from, to) = (column * luma.width / columns, (column + 1) * luma.width / columns);
            let sum: u32 = sums[from..to].iter().map(|&v| u32::from(v)).sum();
            cells[row * columns + column] = sum as f32 / ((to - from) * sampled).max(1) as f32;
        }
    }
    true
}

/// Median of the cells' differences, in whole grey levels: what the whole picture changed by.
fn median_difference(last: &[f32], now: &[f32]) -> f32 {
    let mut counts = [0_u32; 511];
    for (a, b) in last.iter().zip(now) {
        counts[((b - a).round().clamp(-255.0, 255.0) + 255.0) as usize] += 1;
    }
    let half = now.len() as u32 / 2;
    let mut below = 0;
    for (level, count) in counts.iter().enumerate() {
        below += count;
        if below > half {
            return level as f32 - 255.0;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Point;

    const W: usize = 640;
    const H: usize = 360;

    /// Deterministic noise of `sigma`-like amplitude on a gradient.
    fn picture(seed: u32, noise: u32, light: u8) -> Vec<u8> {
        let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
        (0..W * H)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let base = 60 + (i % W / 8) as u32 + u32::from(light);
                (base + (state >> 16) % (noise + 1)) as u8
            })
            .collect()
    }

    fn look(gate: &mut MotionGate, data: &[u8]) -> bool {
        gate.look(Plane { data, width: W, height: H, stride: W })
    }

    /// Frames looked at of `n`, after the start has settled.
    fn looked(gate: &mut MotionGate, n: u32, frame: impl Fn(u32) -> Vec<u8>) -> u32 {
        for i in 0..60 {
            look(gate, &frame(i));
        }
        (60..60 + n).filter(|&i| look(gate, &frame(i))).count() as u32
    }

    fn with_block(mut data: Vec<u8>, x: usize, y: usize) -> Vec<u8> {
        for row in y..y + 30 {
            data[row * W + x..row * W + x + 60].fill(220);
        }
        data
    }

    #[test]
    fn a_still_noisy_scene_is_looked_at_only_now_and_then() {
        let mut gate = MotionGate::default();
        assert_eq!(looked(&mut gate, 60, |i| picture(i, 24, 0)), 60 / LOOK_EVERY);
    }

    #[test]
    fn slow_light_change_and_a_jump_of_the_exposure_are_not_motion() {
        let mut gate = MotionGate::default();
        assert_eq!(looked(&mut gate, 60, |i| picture(i, 8, (i / 4) as u8)), 60 / LOOK_EVERY);
        let mut gate = MotionGate::default();
        let n = looked(&mut gate, 60, |i| {
            picture(i, 8, if (i / 25).is_multiple_of(2) { 0 } else { 25 })
        });
        assert_eq!(n, 60 / LOOK_EVERY);
    }

    #[test]
    fn a_moving_block_is_looked_at_in_every_frame_and_a_while_after() {
        let mut gate = MotionGate::default();
        looked(&mut gate, 2, |i| picture(i, 8, 0));
        for i in 0..50 {
            let frame = with_block(picture(i, 8, 0), 10 + 8 * i as usize, 200);
            assert!(look(&mut gate, &frame), "frame {i}");
        }
        let still = with_block(picture(99, 8, 0), 410, 200);
        let after = (0..100).take_while(|_| look(&mut gate, &still)).count();
        assert!(after as u32 >= HOLD_FRAMES, "{after}");
    }

    #[test]
    fn a_busy_road_does_not_become_noise() {
        let mut gate = MotionGate::default();
        let n = looked(&mut gate, 120, |i| {
            with_block(picture(i, 8, 0), (24 * i as usize) % (W - 60), 200)
        });
        assert_eq!(n, 120);
    }

    #[test]
    fn motion_outside_the_regions_is_not_looked_at() {
        let region = Polygon(
            [(0., 0.), (640., 0.), (640., 150.), (0., 150.)].map(|(x, y)| Point::new(x, y)).into(),
        );
        let moving =
            |y: usize| move |i: u32| with_block(picture(i, 8, 0), (24 * i as usize) % (W - 60), y);
        let mut gate = MotionGate::new(std::slice::from_ref(&region));
        assert_eq!(looked(&mut gate, 60, moving(250)), 60 / LOOK_EVERY);
        let mut gate = MotionGate::new(&[region]);
        assert_eq!(looked(&mut gate, 60, moving(50)), 60);
    }

    #[test]
    fn a_new_size_or_a_plane_too_short_is_looked_at() {
        let mut gate = MotionGate::default();
        looked(&mut gate, 1, |i| picture(i, 8, 0));
        let small = vec![0; 64 * 36];
        assert!(gate.look(Plane { data: &small, width: 64, height: 36, stride: 64 }));
        for _ in 0..40 {
            assert!(gate.look(Plane { data: &small, width: 640, height: 360, stride: 640 }));
        }
        assert!(gate.look(Plane { data: &[], width: 0, height: 0, stride: 0 }));
    }
}
