use proptest::prelude::*;

use super::*;
use crate::vision::Reading;

/// Rows in which each entry of `shown` is one column: classes and their probabilities, the rest blank.
fn rows(shown: &[&[(char, f32)]]) -> Vec<f32> {
    shown
        .iter()
        .flat_map(|column| {
            let mut row = [0.0; CLASSES];
            for &(c, p) in *column {
                let class = (1..CLASSES).find(|&k| character(k) == c).expect("in the alphabet");
                row[class] = p;
            }
            row[0] = 1.0 - row.iter().sum::<f32>();
            row
        })
        .collect()
}

fn reading(rows: &[f32]) -> Reading {
    Reading { characters: decode(rows), state: None }
}

#[test]
fn a_clear_text_is_read_with_near_certainty() {
    let r = reading(&rows(&[&[('7', 0.99)], &[], &[('A', 0.99)], &[('A', 0.99)], &[]]));
    assert_eq!(r.text(), "7A");
    assert!(r.confidence() > 0.97, "{r:?}");
}

#[test]
fn a_doubled_character_needs_a_blank_between() {
    assert_eq!(reading(&rows(&[&[('4', 1.0)], &[], &[('4', 1.0)]])).text(), "44");
    assert_eq!(reading(&rows(&[&[('4', 1.0)], &[('4', 1.0)], &[('4', 1.0)]])).text(), "4");
}

#[test]
fn confidence_is_the_texts_probability_over_all_alignments() {
    // "8" once: 88, 8-, -8 = 0.36 + 0.24 + 0.24; nothing: 0.16.
    let r = reading(&rows(&[&[('8', 0.6)], &[('8', 0.6)]]));
    assert_eq!(r.text(), "8");
    assert!((r.confidence() - 0.84).abs() < 1e-4, "{r:?}");
}

#[test]
fn an_ambiguous_character_names_its_alternative_with_its_share() {
    let r = reading(&rows(&[&[], &[('8', 0.7), ('B', 0.3)], &[], &[('1', 1.0)]]));
    assert_eq!(r.text(), "81");
    let place = &r.characters[0];
    assert!((place.probability - 0.7).abs() < 1e-4, "{place:?}");
    assert_eq!(place.alternatives[0].0, 'B');
    assert!((place.alternatives[0].1 - 0.3).abs() < 1e-4, "{place:?}");
}

#[test]
fn a_character_that_may_be_missing_lowers_the_confidence() {
    let sure = reading(&rows(&[&[('1', 1.0)], &[], &[], &[], &[('2', 1.0)]]));
    let doubt = reading(&rows(&[&[('1', 1.0)], &[], &[('7', 0.4)], &[], &[('2', 1.0)]]));
    assert_eq!((sure.text().as_str(), doubt.text().as_str()), ("12", "12"));
    assert!((sure.confidence() - 1.0).abs() < 1e-4);
    assert!((doubt.confidence() - 0.6).abs() < 1e-3, "{doubt:?}");
}

#[test]
fn a_character_smeared_over_columns_is_found_where_the_best_path_misses_it() {
    // Blank is the best class of every column, but "5" is the most probable text.
    let r = reading(&rows(&[&[('1', 1.0)], &[], &[('5', 0.45)], &[('5', 0.45)], &[('5', 0.45)]]));
    assert_eq!(r.text(), "15", "{r:?}");
}

#[test]
fn nothing_and_too_much_are_no_text() {
    assert!(decode(&[]).is_empty());
    assert!(decode(&rows(&[&[], &[], &[]])).is_empty());
    let many: Vec<Vec<(char, f32)>> =
        (0..2 * MAX_CHARACTERS).map(|i| vec![(character(1 + i % 36), 1.0)]).collect();
    let many: Vec<&[(char, f32)]> = many.iter().map(Vec::as_slice).collect();
    assert!(decode(&rows(&many)).is_empty());
}

fn softmax_rows() -> impl Strategy<Value = Vec<f32>> {
    (1..48_usize, 0.0_f32..12.0).prop_flat_map(|(t, sharpness)| {
        proptest::collection::vec(-1.0_f32..1.0, t * CLASSES).prop_map(move |logits| {
            logits
                .chunks(CLASSES)
                .flat_map(|row| {
                    let e: Vec<f32> = row.iter().map(|x| (x * sharpness).exp()).collect();
                    let sum: f32 = e.iter().sum();
                    e.into_iter().map(move |x| x / sum)
                })
                .collect()
        })
    })
}

fn check(characters: &[Character]) -> Result<(), TestCaseError> {
    prop_assert!(characters.len() <= MAX_CHARACTERS);
    for c in characters {
        prop_assert!(c.text.is_ascii_digit() || c.text.is_ascii_uppercase());
        prop_assert!(c.alternatives.len() <= MAX_ALTERNATIVES);
        let mut sum = c.probability;
        prop_assert!((0.0..=1.0).contains(&c.probability));
        for pair in c.alternatives.windows(2) {
            prop_assert!(pair[0].1 >= pair[1].1);
        }
        for (text, p) in &c.alternatives {
            prop_assert!(text.is_ascii_digit() || text.is_ascii_uppercase());
            prop_assert!(*text != c.text && (0.0..=1.0).contains(p));
            sum += p;
        }
        prop_assert!(sum <= 1.0 + 1e-4, "candidates sum to {sum}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_probabilities_give_characters_of_the_alphabet(rows in softmax_rows()) {
        check(&decode(&rows))?;
    }

    #[test]
    fn any_numbers_at_all_are_survived(
        rows in proptest::collection::vec(prop_oneof![any::<f32>(), 0.0_f32..1.0], 0..12 * CLASSES),
    ) {
        check(&decode(&rows))?;
    }

    /// Against the definition: every path of columns, collapsed, summed by text.
    #[test]
    fn confidence_agrees_with_counting_every_path(
        raw in proptest::collection::vec(proptest::array::uniform3(0.01_f32..1.0), 1..7),
    ) {
        let columns: Vec<[f32; 3]> = raw
            .iter()
            .map(|c| { let sum: f32 = c.iter().sum(); c.map(|x| x / sum) })
            .collect();
        let mut texts = std::collections::BTreeMap::<String, f64>::new();
        for path in 0..3_usize.pow(columns.len() as u32) {
            let (mut text, mut last, mut p, mut rest) = (String::new(), 0, 1.0, path);
            for column in &columns {
                let class = rest % 3;
                rest /= 3;
                p *= f64::from(column[class]);
                if class != 0 && class != last {
                    text.push(if class == 1 { 'A' } else { 'B' });
                }
                last = class;
            }
            *texts.entry(text).or_default() += p;
        }
        let shown: Vec<Vec<(char, f32)>> =
            columns.iter().map(|c| vec![('A', c[1]), ('B', c[2])]).collect();
        let shown: Vec<&[(char, f32)]> = shown.iter().map(Vec::as_slice).collect();
        let r = reading(&rows(&shown));
        if !r.characters.is_empty() {
            let wanted = texts[&r.text()];
            prop_assert!(f64::from(r.confidence()) <= wanted + 1e-4, "{r:?} against {wanted}");
        }
    }
}
