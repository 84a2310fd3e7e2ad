//! What a plate's serial may look like, as a *prior* that weighs look-alikes: O and 0, B and 8.
//!
//! An O and a 0 may be struck with the same die: no picture tells them apart, but the place in the
//! serial often does. By Bayes' rule a text's probability is what the picture gives it times how often
//! plates carry such a text ([`Serials::prior`]). Nothing is forced: a reader that is sure is not
//! overruled, and only characters that look alike are ever weighed against each other.

use std::{collections::BTreeMap, sync::LazyLock};

use toml_span::{
    DeserError, Deserialize, Value,
    de_helpers::{TableHelper, expected},
};

use super::Character;
use crate::look_alikes;

/// The formats of `models/formats.toml`.
pub static SERIALS: LazyLock<Serials> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "part of the program, and read by a test")]
    Serials::parse(include_str!("../../../models/formats.toml")).expect("models/formats.toml")
});

/// A look-alike that the picture gives less than this is not weighed: it was seen to be another.
const LEAST: f32 = 1e-4;
/// Texts weighed for one plate.
const MAX_TEXTS: usize = 1024;
/// What plates carry, as shares that sum up to 1: a passenger serial of the state that was read, one of
/// any state, a special one (trucks, trailers), a personal one, or one that no format here fits. A choice
/// of ours: of the training crops' serials, which are collectors' more than the road's, 33, 43 and 6 %
/// are of the first three kinds, and 18 % of the others.
const SHARES: [f64; 5] = [0.55, 0.22, 0.08, 0.07, 0.08];
/// A character of a personal plate is a letter with this probability, one of an unknown format with the
/// next.
const LETTERS: [f64; 2] = [0.85, 0.5];
/// Such plates have one to seven characters.
const LENGTHS: f64 = 7.0;

/// The alternatives of `c` that look like it, as it was read.
pub fn alike(c: &Character) -> impl Iterator<Item = (char, f32)> {
    let group = look_alikes::group(c.text).unwrap_or_default();
    c.alternatives.iter().copied().filter(move |(other, _)| group.contains(*other))
}

/// One format: for each place the characters it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Format(Vec<String>);

impl Format {
    /// From the pattern language of `models/formats.toml`.
    fn parse(pattern: &str, never: &str) -> Result<Self, String> {
        let letters: String = ('A'..='Z').filter(|c| !never.contains(*c)).collect();
        let places = pattern.chars().filter_map(|mark| match mark {
            'A' => Some(Ok(letters.clone())),
            '9' => Some(Ok("0123456789".into())),
            '1' => Some(Ok("123456789".into())),
            ' ' | '-' | '.' | '*' | '{' | '}' => None,
            other => Some(Err(format!("`{other}` stands for nothing in a format"))),
        });
        places.collect::<Result<_, _>>().map(Self)
    }

    /// Probability of a text of this format, its serials being equally frequent.
    fn likelihood(&self, text: &[char]) -> f64 {
        if text.len() != self.0.len() {
            return 0.0;
        }
        let place = |(allowed, c): (&String, &char)| {
            if allowed.contains(*c) { 1.0 / allowed.len() as f64 } else { 0.0 }
        };
        self.0.iter().zip(text).map(place).product()
    }
}

fn mean(formats: &[Format], text: &[char]) -> f64 {
    formats.iter().map(|f| f.likelihood(text)).sum::<f64>() / formats.len().max(1) as f64
}

/// The serial formats of all states.
#[derive(Debug)]
pub struct Serials {
    states: BTreeMap<String, Vec<Format>>,
    /// Those of all states.
    pooled: Vec<Format>,
    special: Vec<Format>,
}

/// One state's row.
struct State {
    passenger: Vec<String>,
    never: String,
}

impl<'de> Deserialize<'de> for State {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let mut table = TableHelper::new(value)?;
        let (passenger, never) = (table.required("passenger"), table.optional("never"));
        table.finalize(None)?;
        Ok(Self { passenger: passenger?, never: never.unwrap_or_default() })
    }
}

/// The whole file.
struct File {
    special: Vec<String>,
    states: BTreeMap<String, State>,
}

impl<'de> Deserialize<'de> for File {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let mut table = TableHelper::new(value)?;
        let special = table.required("special");
        let mut states = BTreeMap::new();
        if let Some((_, mut value)) = table.take("states") {
            match value.take() {
                toml_span::value::ValueInner::Table(rows) => {
                    for (code, mut row) in rows {
                        states.insert(code.name.into_owned(), State::deserialize(&mut row)?);
                    }
                }
                other => return Err(expected("a table of states", other, value.span).into()),
            }
        }
        table.finalize(None)?;
        Ok(Self { special: special?, states })
    }
}

impl Serials {
    /// Reads a table of formats.
    ///
    /// # Errors
    /// Text that is no TOML or not of this form, and a mark that stands for nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut value = toml_span::parse(text).map_err(|e| e.to_string())?;
        let file = File::deserialize(&mut value).map_err(|e| e.to_string())?;
        let formats = |patterns: &[String], never: &str| {
            patterns.iter().map(|p| Format::parse(p, never)).collect::<Result<Vec<_>, _>>()
        };
        let mut states = BTreeMap::new();
        for (code, state) in &file.states {
            states.insert(code.clone(), formats(&state.passenger, &state.never)?);
        }
        let pooled = states.values().flatten().cloned().collect();
        Ok(Self { states, pooled, special: formats(&file.special, "")? })
    }

    /// How often plates carry `text`, given the state of origin and how sure that is.
    fn prior(&self, text: &[char], own: &[Format], sure: f64) -> f64 {
        let [state, any, special, personal, unknown] = SHARES;
        let free = |letters: f64| {
            let place = |c: &char| match c {
                '0'..='9' => (1.0 - letters) / 10.0,
                _ => letters / 26.0,
            };
            text.iter().map(place).product::<f64>() / LENGTHS
        };
        state * sure * mean(own, text)
            + (any + state * (1.0 - sure)) * mean(&self.pooled, text)
            + special * mean(&self.special, text)
            + personal * free(LETTERS[0])
            + unknown * free(LETTERS[1])
    }

    /// `characters` with the probabilities of look-alikes weighed by the formats of `state` (its code
    /// and probability) and of all others. As they are where the state is none whose formats are known.
    #[must_use]
    pub fn weigh(&self, characters: &[Character], state: Option<&(String, f32)>) -> Vec<Character> {
        let known = state.and_then(|(code, p)| Some((self.states.get(code)?, f64::from(*p))));
        let Some((own, sure)) = known else { return characters.to_vec() };
        let places = places(characters);
        if places.iter().all(|options| options.len() == 1) {
            return characters.to_vec();
        }
        // The marginal of each option over all texts.
        let mut mass: Vec<Vec<f64>> = places.iter().map(|o| vec![0.0; o.len()]).collect();
        let mut choice = vec![0_usize; places.len()];
        loop {
            let text: Vec<char> = places.iter().zip(&choice).map(|(o, &i)| o[i].0).collect();
            let seen: f64 = places.iter().zip(&choice).map(|(o, &i)| f64::from(o[i].1)).product();
            let weight = seen * self.prior(&text, own, sure.clamp(0.0, 1.0));
            mass.iter_mut().zip(&choice).for_each(|(m, &i)| m[i] += weight);
            if !next(&mut choice, &places) {
                break;
            }
        }
        let weighed = characters.iter().zip(&places).zip(&mass);
        weighed.map(|((character, options), mass)| spread(character, options, mass)).collect()
    }
}

/// For each character the look-alikes that it may be, with what the picture gives them.
fn places(characters: &[Character]) -> Vec<Vec<(char, f32)>> {
    let mut places: Vec<Vec<(char, f32)>> = characters
        .iter()
        .map(|c| {
            let others = alike(c).filter(|(_, p)| *p >= LEAST);
            std::iter::once((c.text, c.probability.max(LEAST))).chain(others).collect()
        })
        .collect();
    // Too many texts: the place that is surest is left as it was read.
    while places.iter().map(Vec::len).product::<usize>() > MAX_TEXTS {
        let open = places.iter_mut().filter(|o| o.len() > 1);
        let Some(surest) = open.min_by(|a, b| a[1].1.total_cmp(&b[1].1)) else { break };
        surest.truncate(1);
    }
    places
}

/// The next choice of one option a place; false after the last.
fn next(choice: &mut [usize], places: &[Vec<(char, f32)>]) -> bool {
    for (i, options) in choice.iter_mut().zip(places) {
        *i += 1;
        if *i < options.len() {
            return true;
        }
        *i = 0;
    }
    false
}

/// The place's probability among look-alikes spread by their `mass`; the others keep theirs.
fn spread(character: &Character, options: &[(char, f32)], mass: &[f64]) -> Character {
    let sum: f64 = mass.iter().sum();
    if options.len() == 1 || sum.is_nan() || sum <= 0.0 {
        return character.clone();
    }
    let seen: f32 = options.iter().map(|o| o.1).sum();
    let share = |i: usize| seen * (mass[i] / sum) as f32;
    let weighed = options.iter().enumerate().map(|(i, o)| (o.0, share(i)));
    let like = |c: char| options.iter().any(|o| o.0 == c);
    let others = character.alternatives.iter().copied().filter(|(c, _)| !like(*c));
    let mut all: Vec<(char, f32)> = weighed.chain(others).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (text, probability) = all.remove(0);
    Character { text, probability: probability.min(1.0), alternatives: all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A reading: `O:0.3/0` is an O, or a 0 with 0.3.
    fn reading(marks: &str) -> Vec<Character> {
        let place = |mark: &str| {
            let mut parts = mark.split([':', '/']);
            let text = parts.next()?.chars().next()?;
            let other = parts.next().and_then(|p| p.parse::<f32>().ok()).zip(parts.next());
            let alternatives: Vec<_> =
                other.iter().filter_map(|(p, c)| Some((c.chars().next()?, *p))).collect();
            let probability = 0.999 - alternatives.first().map_or(0.0, |a| a.1);
            Some(Character { text, probability, alternatives })
        };
        marks.split(' ').filter_map(place).collect()
    }

    fn state(code: &str, p: f32) -> (String, f32) {
        (code.into(), p)
    }

    fn text(characters: &[Character]) -> String {
        characters.iter().map(|c| c.text).collect()
    }

    #[test]
    fn a_californian_zero_among_the_letters_is_an_o() {
        let read = reading("3 0:0.1/O Y H 7 1 3");
        assert_eq!(text(&SERIALS.weigh(&read, Some(&state("US-CA", 0.8)))), "3OYH713");
        let read = reading("3 A Y H O:0.3/0 1 3");
        assert_eq!(text(&SERIALS.weigh(&read, Some(&state("US-CA", 0.8)))), "3AYH013");
    }

    #[test]
    fn a_reader_that_is_sure_is_not_overruled() {
        let read = reading("3 0:0.0002/O Y H 7 1 3");
        assert_eq!(text(&SERIALS.weigh(&read, Some(&state("US-CA", 0.5)))), "30YH713");
    }

    #[test]
    fn what_does_not_look_alike_is_never_weighed() {
        let read = reading("A:0.49/1 B:0.49/7 C D 1 2 3");
        assert_eq!(text(&SERIALS.weigh(&read, Some(&state("US-CA", 1.0)))), "ABCD123");
    }

    #[test]
    fn a_plate_of_an_unknown_place_stays_as_it_was_read() {
        let read = reading("3 0:0.4/O Y H 7 1 3");
        for state in [None, Some(&state("EU", 0.9))] {
            assert_eq!(SERIALS.weigh(&read, state), read);
        }
    }

    #[test]
    fn every_state_has_formats_and_a_mark_that_means_nothing_is_named() {
        assert_eq!(SERIALS.states.len(), 53, "the states, DC, Mexico and Brazil");
        assert!(SERIALS.states.values().all(|formats| !formats.is_empty()));
        let wrong = "special = []\n[states]\nUS-CA = { passenger = [\"1AAX\"] }\n";
        assert!(Serials::parse(wrong).is_err_and(|e| e.contains("`X`")));
    }

    proptest! {
        #[test]
        fn probabilities_stay_probabilities_in_order(
            places in proptest::collection::vec((0_usize..36, 0_usize..36, 0.0_f32..0.5), 0..16),
            sure in 0.0_f32..1.0,
        ) {
            let marks: Vec<char> = ('0'..='9').chain('A'..='Z').collect();
            let read: Vec<Character> = places.iter().map(|&(a, b, p)| Character {
                text: marks[a],
                probability: 1.0 - p,
                alternatives: if a == b { vec![] } else { vec![(marks[b], p)] },
            }).collect();
            let weighed = SERIALS.weigh(&read, Some(&state("US-TX", sure)));
            prop_assert_eq!(weighed.len(), read.len());
            for (before, after) in read.iter().zip(&weighed) {
                let sum = |c: &Character| c.probability + c.alternatives.iter().map(|a| a.1).sum::<f32>();
                prop_assert!((sum(before) - sum(after)).abs() < 1e-3);
                prop_assert!(after.alternatives.iter().all(|a| a.1 <= after.probability + 1e-6));
            }
        }
    }
}
