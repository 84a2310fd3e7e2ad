//! What a plate says, voted over the frames of its pass by probability.
//!
//! Each reading is aligned to the columns agreed so far (a character may be missed or doubled in
//! one frame), and adds the logarithm of its probabilities to them. Frames of one pass share
//! their blur and their light, so `n` of them count as `√n` independent looks: this is our own
//! choice, between averaging (ten agreeing frames would be worth one) and a plain product (which
//! would call a repeated mistake certain). Between look-alikes, O and 0, they count as *one* look
//! however many they are: what makes the two alike is on the plate and the same in every frame. There
//! the serial formats have a say ([`serial`](crate::vision::serial)).

use crate::{
    look_alikes,
    vision::{
        Character, MAX_ALTERNATIVES, Reading,
        serial::{SERIALS, alike},
    },
};

/// `0-9A-Z`.
const ALPHABET: usize = 36;
/// Probability below which a character counts as equally unlikely: no single frame may veto.
const FLOOR: f32 = 1e-3;
/// Columns beyond which a reading is noise: the longest plate has 8 characters, some readers double.
const MAX_COLUMNS: usize = 16;
/// Score of leaving a character out of the alignment. A match scores 0 to 1.
const GAP: f32 = -0.4;
/// Score of two characters that give each other no probability.
const MISMATCH: f32 = -0.3;
/// Whole-plate alternatives given.
const MAX_TEXTS: usize = 3;

fn index(c: char) -> Option<usize> {
    match c {
        '0'..='9' => Some(c as usize - '0' as usize),
        'A'..='Z' => Some(c as usize - 'A' as usize + 10),
        _ => None,
    }
}

fn character(i: usize) -> char {
    char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i])
}

/// Probability of each character at one place of one reading; what the reading does not list
/// shares what is left.
fn distribution(c: &Character) -> [f32; ALPHABET] {
    let listed = || {
        std::iter::once((c.text, c.probability))
            .chain(c.alternatives.iter().copied())
            .filter_map(|(text, p)| Some((index(text)?, p.clamp(0.0, 1.0))))
    };
    let (mass, count) = listed().fold((0.0, 0), |(m, n), (_, p)| (m + p, n + 1));
    let rest = (1.0 - mass).max(0.0) / (ALPHABET - count).max(1) as f32;
    let mut all = [rest.max(FLOOR); ALPHABET];
    listed().for_each(|(i, p)| all[i] = p.max(FLOOR));
    all
}

/// One character place agreed so far.
#[derive(Debug, Clone)]
struct Column {
    /// Weighted sum of log probabilities.
    logs: [f32; ALPHABET],
    /// Weight of the readings that had a character here.
    present: f32,
}

impl Column {
    /// The posterior of `looks` independent looks, of one among look-alikes.
    fn judged(&self, looks: f32) -> [f32; ALPHABET] {
        let (mut all, one) = (self.posterior(looks), self.posterior(1.0));
        let mut done = [false; ALPHABET];
        for i in 0..ALPHABET {
            let Some(group) = look_alikes::group(character(i)).filter(|_| !done[i]) else {
                continue;
            };
            let group: Vec<usize> = group.chars().filter_map(index).collect();
            let mass = |p: &[f32; ALPHABET]| group.iter().map(|&j| p[j]).sum::<f32>();
            let scale = mass(&all) / mass(&one).max(f32::MIN_POSITIVE);
            for &j in &group {
                (all[j], done[j]) = (one[j] * scale, true);
            }
        }
        all
    }

    fn posterior(&self, looks: f32) -> [f32; ALPHABET] {
        let scale = looks / self.present.max(f32::EPSILON);
        let top = self.logs.iter().copied().fold(f32::MIN, f32::max);
        let mut p = self.logs.map(|l| ((l - top) * scale).exp());
        let sum: f32 = p.iter().sum();
        p.iter_mut().for_each(|v| *v /= sum);
        p
    }

    /// How well one reading's place agrees, −0.3 to 1: the mean probability that it gives to what
    /// the column has seen.
    fn agreement(&self, place: &[f32; ALPHABET]) -> f32 {
        let same: f32 = self.posterior(1.0).iter().zip(place).map(|(a, b)| a * b).sum();
        if same < 0.02 { MISMATCH } else { same }
    }
}

/// A text with its certainty.
#[derive(Debug, Clone, PartialEq)]
pub struct Voted {
    /// Left to right, each with probability and alternatives.
    pub characters: Vec<Character>,
    /// Probability that the whole text is right, 0 to 1, taking the places as independent.
    pub confidence: f32,
    /// Other whole texts, best first, each with one place changed.
    pub alternatives: Vec<(String, f32)>,
    /// State of origin and its share of the votes, 0 to 1.
    pub state: Option<(String, f32)>,
    /// The text by the pictures alone, before serial formats weighed look-alikes.
    pub raw: String,
}

impl Voted {
    /// The text of the best characters.
    #[must_use]
    pub fn text(&self) -> String {
        self.characters.iter().map(|c| c.text).collect()
    }

    /// Probability that the text is right but for look-alikes, 0 to 1: how well it could be seen.
    #[must_use]
    pub fn legibility(&self) -> f32 {
        let place = |c: &Character| c.probability + alike(c).map(|(_, p)| p).sum::<f32>();
        self.characters.iter().map(place).product::<f32>().min(1.0)
    }
}

/// The vote of one pass.
#[derive(Debug, Clone, Default)]
pub struct Vote {
    columns: Vec<Column>,
    /// Sum of the weights of all readings that had text.
    weight: f32,
    readings: u32,
    states: Vec<(String, f32)>,
    state_weight: f32,
}

impl Vote {
    /// Readings counted, those without text among them.
    #[must_use]
    pub const fn readings(&self) -> u32 {
        self.readings
    }

    /// Whether any reading had text.
    #[must_use]
    pub fn has_text(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Adds one frame's reading. `weight`, above 0 to 1, says how well the plate could be seen.
    pub fn add(&mut self, reading: &Reading, weight: f32) {
        self.readings += 1;
        let places: Vec<_> = reading
            .characters
            .iter()
            .filter(|c| index(c.text).is_some())
            .map(distribution)
            .collect();
        if places.is_empty() || places.len() > MAX_COLUMNS || !weight.is_finite() || weight <= 0.0 {
            return;
        }
        if let Some((state, p)) = &reading.state {
            self.state_weight += weight;
            match self.states.iter_mut().find(|(s, _)| s == state) {
                Some((_, sum)) => *sum += weight * p,
                None => self.states.push((state.clone(), weight * p)),
            }
        }
        self.weight += weight;
        let steps = align(&self.columns, &places);
        let (mut old, mut places) =
            (std::mem::take(&mut self.columns).into_iter(), places.into_iter());
        for step in steps {
            let column = if step == Step::Insert { None } else { old.next() };
            let place = if step == Step::Skip { None } else { places.next() };
            let mut column = column.unwrap_or(Column { logs: [0.0; ALPHABET], present: 0.0 });
            if let Some(place) = place {
                column.present += weight;
                column.logs.iter_mut().zip(place).for_each(|(l, p)| *l += weight * p.ln());
            }
            self.columns.push(column);
        }
        if self.columns.len() > MAX_COLUMNS {
            // Too many inserted places: forget the ones seen least.
            let mut seen: Vec<f32> = self.columns.iter().map(|c| c.present).collect();
            seen.sort_by(f32::total_cmp);
            let least = seen[self.columns.len() - MAX_COLUMNS];
            self.columns.retain(|c| c.present >= least);
            self.columns.truncate(MAX_COLUMNS);
        }
    }

    /// The text agreed on; `None` where no reading had any.
    #[must_use]
    pub fn result(&self) -> Option<Voted> {
        let characters: Vec<Character> = self
            .columns
            .iter()
            .filter(|c| c.present > self.weight / 2.0)
            .map(|c| self.character(c))
            .collect();
        if characters.is_empty() {
            return None;
        }
        let state = self
            .states
            .iter()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(s, sum)| (s.clone(), sum / self.state_weight.max(f32::EPSILON)));
        let raw = characters.iter().map(|c| c.text).collect();
        let characters = SERIALS.weigh(&characters, state.as_ref());
        let confidence: f32 = characters.iter().map(|c| c.probability).product();
        let alternatives = alternatives(&characters, confidence);
        Some(Voted { characters, confidence, alternatives, state, raw })
    }

    /// One column as a character; its probability includes that there is a character at all.
    fn character(&self, column: &Column) -> Character {
        let presence = (column.present / self.weight).min(1.0);
        let looks = (column.present / self.weight * self.readings as f32).max(1.0).sqrt();
        let posterior = column.judged(looks);
        let mut order: Vec<usize> = (0..ALPHABET).collect();
        order.sort_by(|a, b| posterior[*b].total_cmp(&posterior[*a]));
        let at = |i: usize| (character(order[i]), posterior[order[i]] * presence);
        let (text, probability) = at(0);
        // What is all but impossible helps nobody who compares or matches.
        let alternatives = (1..=MAX_ALTERNATIVES).map(at).filter(|(_, p)| *p >= FLOOR).collect();
        Character { text, probability, alternatives }
    }
}

/// Whole texts with one place changed, best first.
fn alternatives(characters: &[Character], confidence: f32) -> Vec<(String, f32)> {
    let mut texts: Vec<(String, f32)> = characters
        .iter()
        .enumerate()
        .filter_map(|(i, place)| {
            let &(other, p) = place.alternatives.first()?;
            let text = characters
                .iter()
                .enumerate()
                .map(|(j, c)| if i == j { other } else { c.text })
                .collect();
            Some((text, confidence / place.probability.max(FLOOR) * p))
        })
        .collect();
    texts.sort_by(|a, b| b.1.total_cmp(&a.1));
    texts.truncate(MAX_TEXTS);
    texts
}

/// One step of an alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Column and place belong together.
    Match,
    /// The reading has nothing for this column.
    Skip,
    /// The reading has a place that no column stands for.
    Insert,
}

/// The best global alignment of a reading to the columns (Needleman and Wunsch 1970).
fn align(columns: &[Column], places: &[[f32; ALPHABET]]) -> Vec<Step> {
    let (n, m) = (columns.len(), places.len());
    let mut score = vec![vec![0.0_f32; m + 1]; n + 1];
    let mut from = vec![vec![Step::Match; m + 1]; n + 1];
    for i in 0..=n {
        for j in 0..=m {
            if i == 0 && j == 0 {
                continue;
            }
            let mut best = (f32::MIN, Step::Match);
            let mut consider = |s: f32, step| {
                if s > best.0 {
                    best = (s, step);
                }
            };
            if i > 0 && j > 0 {
                consider(
                    score[i - 1][j - 1] + columns[i - 1].agreement(&places[j - 1]),
                    Step::Match,
                );
            }
            if i > 0 {
                consider(score[i - 1][j] + GAP, Step::Skip);
            }
            if j > 0 {
                consider(score[i][j - 1] + GAP, Step::Insert);
            }
            (score[i][j], from[i][j]) = best;
        }
    }
    let (mut i, mut j, mut steps) = (n, m, Vec::with_capacity(n.max(m)));
    while i > 0 || j > 0 {
        let step = from[i][j];
        steps.push(step);
        i -= usize::from(step != Step::Insert);
        j -= usize::from(step != Step::Skip);
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(text: &str, p: f32) -> Reading {
        let characters = text
            .chars()
            .map(|c| Character { text: c, probability: p, alternatives: vec![] })
            .collect();
        Reading { characters, state: None }
    }

    fn voted(readings: &[(&str, f32)]) -> Voted {
        let mut vote = Vote::default();
        readings.iter().for_each(|(t, p)| vote.add(&reading(t, *p), 1.0));
        vote.result().expect("text")
    }

    #[test]
    fn agreeing_frames_make_the_text_surer_than_any_of_them() {
        let one = voted(&[("7ABC123", 0.9)]);
        let many = voted(&[("7ABC123", 0.9); 9]);
        assert_eq!(many.text(), "7ABC123");
        assert!(many.confidence > one.confidence && many.confidence < 1.0);
    }

    #[test]
    fn a_character_missed_or_doubled_in_some_frames_is_outvoted() {
        let v = voted(&[
            ("7ABC123", 0.9),
            ("7AC123", 0.9),
            ("7ABC123", 0.8),
            ("7ABBC123", 0.9),
            ("ABC123", 0.7),
            ("7ABC123", 0.9),
        ]);
        assert_eq!(v.text(), "7ABC123");
    }

    #[test]
    fn a_sure_frame_outvotes_two_unsure_ones_and_leaves_them_as_alternative() {
        let v = voted(&[("8ABC", 0.4), ("8ABC", 0.4), ("BABC", 0.99)]);
        assert_eq!(v.text(), "BABC");
        assert_eq!(v.alternatives[0].0, "8ABC");
    }

    #[test]
    fn frames_that_disagree_give_a_low_confidence() {
        assert!(voted(&[("7ABC123", 0.9), ("1XYZ789", 0.9)]).confidence < 0.3);
    }

    #[test]
    fn the_state_is_the_one_with_most_weight() {
        let mut vote = Vote::default();
        for (state, p) in [("US-CA", 0.9), ("US-NV", 0.5), ("US-CA", 0.8)] {
            vote.add(&Reading { state: Some((state.into(), p)), ..reading("7ABC123", 0.9) }, 1.0);
        }
        let (state, p) = vote.result().and_then(|v| v.state).expect("state");
        assert_eq!(state, "US-CA");
        assert!((p - 1.7 / 3.0).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn any_readings_give_a_bounded_text_and_probabilities(
            readings in proptest::collection::vec(("[0-9A-Z ?]{0,20}", -1.0_f32..2.0, -1.0_f32..2.0), 0..30)
        ) {
            let mut vote = Vote::default();
            for (text, p, weight) in &readings {
                vote.add(&reading(text, *p), *weight);
            }
            if let Some(v) = vote.result() {
                prop_assert!(v.characters.len() <= MAX_COLUMNS);
                prop_assert!((0.0..=1.0).contains(&v.confidence));
                for c in &v.characters {
                    prop_assert!((0.0..=1.001).contains(&c.probability));
                    prop_assert!(index(c.text).is_some());
                }
            }
        }
    }
}
