//! CTC output → characters with probabilities. Pure.
//!
//! The reader's output is, for each of T columns of the plate, a probability for "nothing here"
//! (blank) and for each of 36 characters. A text's probability is the sum over all ways to spread
//! it over the columns (Graves et al. 2006, eq. 3), which is also what the network was trained on;
//! so the probabilities here are that sum and not the height of a peak:
//!
//! - a place's candidates are weighed by the probability of the whole text with that one place
//!   changed, or left out;
//! - the places are then scaled together so that their product is the probability of the whole
//!   text, which also counts characters that may be missing between them. So
//!   [`Reading::confidence`](super::Reading::confidence) is the model's own belief in the text.
//!
//! Invariants: characters are `0-9A-Z`; probabilities are finite and 0 to 1; the candidates of a
//! place sum to at most 1. Never fails: input that is no probability counts as 0, and a text
//! longer than any plate's is no text (empty result).

use super::{Character, MAX_ALTERNATIVES};

/// Classes of a column: blank, ten digits, 26 letters.
pub const CLASSES: usize = 37;

/// Longer texts are no plate's: the longest that states issue have 8, with room for stacked
/// letters and dealers' plates.
pub const MAX_CHARACTERS: usize = 12;

/// Columns that are looked at; more than any reader has. Bounds the work.
pub const MAX_COLUMNS: usize = 128;

/// Alternatives below this are not worth their bytes.
const MIN_ALTERNATIVE: f32 = 0.001;

/// Times that the greedy text is changed to a more probable neighbour before it is taken.
const MAX_EDITS: usize = 4;

/// A neighbour must be this much more probable: no flipping between equals.
const EDIT_GAIN: f64 = 1.02;

type Column = [f64; CLASSES];
type Masses = [f64; CLASSES - 1];

/// Decodes `rows`, T rows of [`CLASSES`] probabilities, into the most probable text's characters,
/// left to right. An incomplete last row is left out.
#[must_use]
pub fn decode(rows: &[f32]) -> Vec<Character> {
    let (columns, log_scale) = prepare(rows);
    let mut text = greedy(&columns);
    if text.is_empty() || text.len() > MAX_CHARACTERS {
        return Vec::new();
    }
    let mut lattice = Lattice::new(&columns, &text);
    for _ in 0..MAX_EDITS {
        let Some(better) = lattice.better_neighbour() else { break };
        if better.is_empty() {
            return Vec::new();
        }
        text = better;
        lattice = Lattice::new(&columns, &text);
    }
    places(&lattice, log_scale)
}

/// Columns as usable probabilities, each divided by its largest so that products neither vanish
/// nor depend on it; and the natural logarithm of what was divided out.
fn prepare(rows: &[f32]) -> (Vec<Column>, f64) {
    let mut log_scale = 0.0;
    let columns = rows
        .chunks_exact(CLASSES)
        .take(MAX_COLUMNS)
        .map(|row| {
            let mut column = [0.0; CLASSES];
            for (to, &from) in column.iter_mut().zip(row) {
                *to = if from.is_finite() { f64::from(from).clamp(0.0, 1.0) } else { 0.0 };
            }
            let largest = column.iter().copied().fold(0.0, f64::max);
            if largest > 0.0 {
                column.iter_mut().for_each(|p| *p /= largest);
                log_scale += largest.ln();
            } else {
                column[0] = 1.0;
            }
            column
        })
        .collect();
    (columns, log_scale)
}

/// Best class of each column, repeats collapsed, blanks dropped.
fn greedy(columns: &[Column]) -> Vec<usize> {
    let best = columns.iter().map(|column| {
        (0..CLASSES).max_by(|&a, &b| column[a].total_cmp(&column[b]).then(b.cmp(&a))).unwrap_or(0)
    });
    let mut text = Vec::new();
    let mut last = 0;
    for class in best {
        if class != 0 && class != last {
            text.push(class);
        }
        last = class;
    }
    text
}

/// Forward and backward sums over all ways to spread `text` over the columns. States are blank,
/// first character, blank, second, … blank.
struct Lattice<'a> {
    columns: &'a [Column],
    text: &'a [usize],
    /// `forward[t][s]`: columns `0..=t` spent, standing in state s.
    forward: Vec<Vec<f64>>,
    /// `backward[t][s]`: columns `t..` to be spent, starting in state s.
    backward: Vec<Vec<f64>>,
}

impl<'a> Lattice<'a> {
    fn new(columns: &'a [Column], text: &'a [usize]) -> Self {
        let mut lattice = Self { columns, text, forward: Vec::new(), backward: Vec::new() };
        lattice.forward = lattice.sweep_forward();
        lattice.backward = lattice.sweep_backward();
        lattice
    }

    fn class(&self, state: usize) -> usize {
        if state.is_multiple_of(2) { 0 } else { self.text[state / 2] }
    }

    /// Whether `state + 2` may follow `state`: between different characters no blank is needed.
    fn skips(&self, state: usize) -> bool {
        state % 2 == 1
            && state + 2 < 2 * self.text.len() + 1
            && self.class(state) != self.class(state + 2)
    }

    fn sweep_forward(&self) -> Vec<Vec<f64>> {
        let states = 2 * self.text.len() + 1;
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(self.columns.len());
        for (t, column) in self.columns.iter().enumerate() {
            let row = (0..states)
                .map(|s| {
                    let into = match rows.get(t.wrapping_sub(1)) {
                        None => f64::from(u8::from(s < 2)),
                        Some(last) => {
                            let skip = if s >= 3 && self.skips(s - 2) { last[s - 2] } else { 0.0 };
                            last[s] + if s > 0 { last[s - 1] } else { 0.0 } + skip
                        }
                    };
                    into * column[self.class(s)]
                })
                .collect();
            rows.push(row);
        }
        rows
    }

    fn sweep_backward(&self) -> Vec<Vec<f64>> {
        let states = 2 * self.text.len() + 1;
        let mut rows = vec![vec![0.0; states]; self.columns.len()];
        for t in (0..self.columns.len()).rev() {
            for s in 0..states {
                let onward = match rows.get(t + 1) {
                    None => f64::from(u8::from(s + 2 >= states)),
                    Some(next) => {
                        let skip = if self.skips(s) { next[s + 2] } else { 0.0 };
                        next[s] + next.get(s + 1).copied().unwrap_or(0.0) + skip
                    }
                };
                rows[t][s] = onward * self.columns[t][self.class(s)];
            }
        }
        rows
    }

    /// Probability of the text, up to the scale of [`prepare`].
    fn mass(&self) -> f64 {
        self.forward.last().map_or(0.0, |row| {
            let states = row.len();
            row[states - 1] + if states > 1 { row[states - 2] } else { 0.0 }
        })
    }

    /// Probability of the text for every character put between its first `before` characters and
    /// those from `after` on: `(i, i + 1)` changes place i, `(i, i)` puts one in before it.
    fn masses(&self, before: usize, after: usize) -> Masses {
        let last = before.checked_sub(1).map(|i| self.text[i]);
        let next = self.text.get(after).copied();
        let mut masses = [0.0; CLASSES - 1];
        for (index, mass) in masses.iter_mut().enumerate() {
            let class = index + 1;
            let mut inside = 0.0;
            for (t, column) in self.columns.iter().enumerate() {
                let enter = match self.forward.get(t.wrapping_sub(1)) {
                    None => f64::from(u8::from(before == 0)),
                    Some(row) => {
                        let direct = last.is_some_and(|l| l != class);
                        row[2 * before] + if direct { row[2 * before - 1] } else { 0.0 }
                    }
                };
                inside = (inside + enter) * column[class];
                let exit = match self.backward.get(t + 1) {
                    None => f64::from(u8::from(next.is_none())),
                    Some(row) => {
                        let direct = next.is_some_and(|n| n != class);
                        row[2 * after] + if direct { row[2 * after + 1] } else { 0.0 }
                    }
                };
                *mass += inside * exit;
            }
        }
        masses
    }

    /// The text without its place `i`, and its probability.
    fn without(&self, i: usize) -> (Vec<usize>, f64) {
        let mut text = self.text.to_vec();
        text.remove(i);
        let shorter = Lattice {
            columns: self.columns,
            text: &text,
            forward: Vec::new(),
            backward: Vec::new(),
        };
        let forward = shorter.sweep_forward();
        let mass = Lattice { forward, ..shorter }.mass();
        (text, mass)
    }

    /// The most probable text that differs in one place, if it is more probable than this one.
    fn better_neighbour(&self) -> Option<Vec<usize>> {
        let mut best: Option<(f64, Vec<usize>)> = None;
        let mut offer = |mass: f64, text: &dyn Fn() -> Vec<usize>| {
            if best.as_ref().is_none_or(|(most, _)| mass > *most) {
                best = Some((mass, text()));
            }
        };
        for i in 0..=self.text.len() {
            if i < self.text.len() {
                let (index, mass) = largest(&self.masses(i, i + 1));
                offer(mass, &|| {
                    let mut text = self.text.to_vec();
                    text[i] = index + 1;
                    text
                });
                let (text, mass) = self.without(i);
                offer(mass, &|| text.clone());
            }
            if self.text.len() < MAX_CHARACTERS {
                let (index, mass) = largest(&self.masses(i, i));
                offer(mass, &|| {
                    let mut text = self.text.to_vec();
                    text.insert(i, index + 1);
                    text
                });
            }
        }
        best.filter(|(mass, _)| *mass > self.mass() * EDIT_GAIN).map(|(_, text)| text)
    }
}

fn largest(masses: &Masses) -> (usize, f64) {
    masses
        .iter()
        .copied()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
        .unwrap_or_default()
}

/// The lattice's text as characters; see the module's head for what the probabilities are.
fn places(lattice: &Lattice<'_>, log_scale: f64) -> Vec<Character> {
    let text = lattice.text;
    let shares: Vec<Masses> = (0..text.len())
        .map(|i| {
            let mut masses = lattice.masses(i, i + 1);
            let total = masses.iter().sum::<f64>() + lattice.without(i).1;
            masses.iter_mut().for_each(|m| *m = if total > 0.0 { *m / total } else { 0.0 });
            masses
        })
        .collect();
    let independent: f64 = shares.iter().zip(text).map(|(s, &class)| s[class - 1].ln()).sum();
    let excess = (lattice.mass().ln() + log_scale - independent) / text.len() as f64;
    let scale = if excess.is_finite() { excess.min(0.0).exp() } else { 0.0 };
    shares
        .iter()
        .zip(text)
        .map(|(share, &class)| {
            let probability = |index: usize| ((share[index] * scale) as f32).clamp(0.0, 1.0);
            let mut others: Vec<(char, f32)> = (0..CLASSES - 1)
                .filter(|&index| index + 1 != class && probability(index) >= MIN_ALTERNATIVE)
                .map(|index| (character(index + 1), probability(index)))
                .collect();
            others.sort_by(|a, b| b.1.total_cmp(&a.1));
            others.truncate(MAX_ALTERNATIVES);
            Character {
                text: character(class),
                probability: probability(class - 1),
                alternatives: others,
            }
        })
        .collect()
}

/// The character of class 1 to 36.
fn character(class: usize) -> char {
    const ALPHABET: &[u8; CLASSES - 1] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char::from(ALPHABET[class - 1])
}

#[cfg(test)]
mod tests;
