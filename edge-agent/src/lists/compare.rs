//! A read beside an entry: do they agree, how far, and how sure does the reader make that.

use milepost_wire::{
    Agreement, ComparedPlace, ComparedText, Comparison, Read, State, StateComparison, StateVerdict,
    Tolerance,
};

use super::entry::Wanted;
use crate::look_alikes;

/// Characters of a plate: `0-9A-Z`.
const ALPHABET: f32 = 36.0;

/// Read and wanted plate side by side, by the text of the read that is nearer to it; `None` where one of
/// the characters neither is nor looks like the wanted one.
///
/// Both texts count: where serial formats overruled the picture between look-alikes, the picture may have
/// been right.
#[must_use]
pub fn compare(read: &Read, wanted: &Wanted) -> Option<Comparison> {
    let texts =
        [(ComparedText::PlateText, &read.plate_text), (ComparedText::RawText, &read.raw_text)];
    let beside = texts.into_iter().filter_map(|(which, text)| {
        let (substitutions, listed) = align(wanted, text)?;
        Some((substitutions, which, text, listed))
    });
    let (substitutions, compared, text, listed) = beside.min_by_key(|b| b.0)?;
    let places: Vec<ComparedPlace> = text
        .chars()
        .zip(listed)
        .enumerate()
        .map(|(i, (c, listed))| ComparedPlace {
            read: c.into(),
            listed: listed.map(Into::into),
            probability: probability(read, i, listed.unwrap_or(c)),
        })
        .collect();
    let known = places.iter().filter(|p| p.listed.is_some());
    Some(Comparison {
        agreement: match wanted {
            Wanted::Pattern(_) => Agreement::Partial,
            _ if substitutions == 0 => Agreement::Exact,
            _ => Agreement::LookAlike,
        },
        compared,
        listed_plate: wanted.as_str()?.into(),
        substitutions: u8::try_from(substitutions).unwrap_or(u8::MAX),
        probability: known.map(|p| p.probability).product(),
        places,
    })
}

/// Whether a comparison is an alert by a list that tolerates so much.
#[must_use]
pub fn is_within(comparison: &Comparison, tolerance: &Tolerance) -> bool {
    let most = tolerance.substitutions.min(milepost_wire::MAX_SUBSTITUTIONS);
    comparison.substitutions <= most
        && (comparison.agreement == Agreement::Exact
            || comparison.probability >= tolerance.least_probability)
}

/// The wanted characters at the places of a text, and how many of them only look alike.
fn align(wanted: &Wanted, text: &str) -> Option<(usize, Vec<Option<char>>)> {
    let plate = match wanted {
        Wanted::Pattern(pattern) => return pattern.align(text),
        Wanted::Plate(plate) => plate.as_str(),
        // A search shows it before it compares.
        Wanted::Hidden(_) => return None,
    };
    if plate.len() != text.len() {
        return None;
    }
    let mut substitutions = 0;
    for (listed, c) in plate.chars().zip(text.chars()) {
        match listed == c {
            true => {}
            false if look_alikes::are_alike(listed, c) => substitutions += 1,
            false => return None,
        }
    }
    Some((substitutions, plate.chars().map(Some).collect()))
}

/// Probability that the reader gives to a character at a place: what it does not name shares what is left.
fn probability(read: &Read, place: usize, c: char) -> f32 {
    let Some(seen) = read.characters.get(place) else { return 0.0 };
    let named = std::iter::once((&seen.text, seen.probability))
        .chain(seen.alternatives.iter().map(|a| (&a.text, a.probability)));
    let (mut left, mut others) = (1.0, ALPHABET);
    for (text, probability) in named {
        if text.chars().eq([c]) {
            return probability.clamp(0.0, 1.0);
        }
        left -= probability;
        others -= 1.0;
    }
    (left / others).clamp(0.0, 1.0)
}

/// Whether the read's state is the one that the entry names, two letters of the United States' or another
/// country's.
#[must_use]
pub fn states(read: Option<&State>, listed: Option<&str>) -> StateComparison {
    let verdict = match (read, listed) {
        (Some(read), Some(listed)) => {
            let code = read.code.rsplit('-').next().unwrap_or_default();
            if code == listed { StateVerdict::Match } else { StateVerdict::Mismatch }
        }
        _ => StateVerdict::Unknown,
    };
    StateComparison { verdict, read: read.cloned(), listed: listed.map(Into::into) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::{Plate, pattern::Pattern};

    fn read(text: &str, raw: &str) -> Read {
        let mut read = milepost_wire::examples::read().data;
        let place = |c: char| milepost_wire::Character {
            text: c.into(),
            probability: 0.9,
            alternatives: vec![milepost_wire::TextAlternative {
                text: "0".into(),
                probability: 0.08,
            }],
        };
        (read.plate_text, read.raw_text) = (text.into(), raw.into());
        read.characters = text.chars().map(place).collect();
        read
    }

    fn plate(text: &str) -> Wanted {
        Wanted::Plate(Plate::parse(text).unwrap())
    }

    #[test]
    fn a_look_alike_counts_and_the_readers_own_figure_for_it_is_shown() {
        let found = compare(&read("7ABO123", "7ABO123"), &plate("7AB0123")).unwrap();
        assert_eq!((found.agreement, found.substitutions), (Agreement::LookAlike, 1));
        let o = &found.places[3];
        assert_eq!((o.read.as_str(), o.listed.as_deref(), o.probability), ("O", Some("0"), 0.08));
        assert!((found.probability - 0.9_f32.powi(6) * 0.08).abs() < 1e-6);
        // Q is not among the alternatives: a share of the 0.02 that is left.
        let q = compare(&read("7ABO123", "7ABO123"), &plate("7ABQ123")).unwrap();
        assert!((q.places[3].probability - 0.02 / 34.0).abs() < 1e-6);
        assert_eq!(compare(&read("7ABX123", "7ABX123"), &plate("7AB0123")), None);
        assert_eq!(compare(&read("7AB012", "7AB012"), &plate("7AB0123")), None);
    }

    #[test]
    fn the_text_that_is_nearer_is_compared() {
        let found = compare(&read("7ABO123", "7AB0123"), &plate("7AB0123")).unwrap();
        assert_eq!((found.agreement, found.compared), (Agreement::Exact, ComparedText::RawText));
        let found = compare(&read("7ABO123", "7AB0123"), &plate("7ABO123")).unwrap();
        assert_eq!(found.compared, ComparedText::PlateText);
    }

    #[test]
    fn a_pattern_agrees_in_part_and_only_its_known_places_count() {
        let wanted = Wanted::Pattern(Pattern::parse("7AB?12*").unwrap());
        let found = compare(&read("7ABX123", "7ABX123"), &wanted).unwrap();
        assert_eq!((found.agreement, found.substitutions), (Agreement::Partial, 0));
        assert!((found.probability - 0.9_f32.powi(5)).abs() < 1e-6);
        assert_eq!(found.places[3].listed, None);
    }

    #[test]
    fn tolerance_hides_what_is_beyond_it_and_never_an_exact_match() {
        let one = Tolerance { substitutions: 1, least_probability: 0.01 };
        let within = |a: &str, b: &str, tolerance| {
            is_within(&compare(&read(a, a), &plate(b)).unwrap(), &tolerance)
        };
        assert!(within("7ABO123", "7AB0123", one));
        assert!(!within("7ABOO23", "7AB0023", one));
        assert!(!within("7ABO123", "7ABQ123", one), "improbable");
        assert!(within("7ABO123", "7ABO123", Tolerance { least_probability: 1.0, ..one }));
        let many = Tolerance { substitutions: 9, least_probability: 0.0 };
        assert!(!within("OOO1", "0001", many), "never above two");
    }

    #[test]
    fn states_agree_or_not_and_where_one_is_not_known_nobody_says() {
        let ca = State { code: "US-CA".into(), confidence: 0.9 };
        let verdict = |read, listed| states(read, listed).verdict;
        assert_eq!(verdict(Some(&ca), Some("CA")), StateVerdict::Match);
        assert_eq!(verdict(Some(&ca), Some("NV")), StateVerdict::Mismatch);
        assert_eq!(verdict(Some(&ca), None), StateVerdict::Unknown);
        assert_eq!(verdict(None, Some("CA")), StateVerdict::Unknown);
    }
}
