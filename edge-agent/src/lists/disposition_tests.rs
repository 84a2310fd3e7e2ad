//! What is said of dispositions is what the last word on each alert says, in whatever order they come.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn said(alert: u128, list: &str, verdict: Verdict, second: i64) -> Disposition {
    Disposition {
        alert_id: Uuid::from_u128(alert),
        list: list.into(),
        verdict,
        at: Timestamp::from_second(second).unwrap(),
        plate_read: None,
        plate_shown: None,
    }
}

fn misread(alert: u128, read: &str, shown: &str) -> Disposition {
    let (plate_read, plate_shown) = (Some(read.into()), Some(shown.into()));
    let said = said(alert, "svs", Verdict::IncorrectRead, 1);
    Disposition { plate_read, plate_shown, ..said }
}

fn window(all: &[Disposition]) -> Window {
    let mut window = Window::default();
    for said in all {
        let _ = window.take(said);
    }
    window
}

#[test]
fn an_alert_counts_once_and_by_the_last_word_on_it() {
    let mut window = Window::default();
    let first = said(1, "svs", Verdict::IncorrectRead, 10);
    assert!(window.take(&first).unwrap().is_some());
    assert_eq!(window.take(&first), Ok(None), "brought again");
    let later = said(1, "svs", Verdict::Correct, 20);
    assert!(window.take(&later).unwrap().is_some());
    assert_eq!(window.take(&first), Ok(None), "brought again after the later one");
    let tally = window.tallies()["svs"];
    assert_eq!((tally.count(Verdict::Correct), tally.count(Verdict::IncorrectRead)), (1, 0));
    assert_eq!(tally.found(), (0, 1));
}

#[test]
fn confusions_are_those_of_incorrect_reads_place_by_place() {
    let mut all = vec![
        misread(1, "8MPX402", "BMPX4Q2"),
        misread(2, "8MPX402", "BMPX402"),
        misread(3, "8MPX402", "BMPX40"),
        misread(4, "8MPX402", "9ZZZ999"),
    ];
    // A plate that is shown says nothing where the read was right.
    all.push(Disposition { verdict: Verdict::Dismissed, ..misread(5, "8", "B") });
    assert_eq!(window(&all).confusions(), [(('8', 'B'), 2), (('0', 'Q'), 1)]);
    let words = window(&all).words();
    assert!(words.ends_with("mostly misread: 8 for B (2), 0 for Q (1)"), "{words}");
}

#[test]
fn a_rate_is_said_once_there_are_enough() {
    let of = |verdict, from: u128, n: u128| -> Vec<_> {
        (from..from + n).map(|alert| said(alert, "svs", verdict, 1)).collect()
    };
    let mut all = [of(Verdict::Correct, 0, 14), of(Verdict::WrongState, 100, 5)].concat();
    all.extend(of(Verdict::Dismissed, 200, 9));
    assert_eq!(
        window(&all).words(),
        "svs: 5 of 19 alerts false, too few for a rate (5 wrong state, 9 dismissed)"
    );
    all.extend(of(Verdict::StaleEntry, 300, 1));
    all.push(said(400, "amber", Verdict::Correct, 1));
    assert_eq!(
        window(&all).words(),
        "amber: 0 of 1 alerts false, too few for a rate; \
         svs: 30 % of 20 alerts false (5 wrong state, 1 stale entry, 9 dismissed); \
         this site: 29 % of 21 alerts false (5 wrong state, 1 stale entry, 9 dismissed)"
    );
    assert_eq!(Window::default().words(), "none yet");
}

#[test]
fn no_more_is_remembered_than_the_limits_say() {
    let mut window = Window::default();
    for alert in 0..MAX_A_LIST as u128 + 10 {
        let verdict = if alert < 10 { Verdict::StaleEntry } else { Verdict::Correct };
        window.take(&said(alert, "svs", verdict, 1)).unwrap();
    }
    let tally = window.tallies()["svs"];
    assert_eq!(tally.found(), (0, MAX_A_LIST as u64), "the oldest are forgotten");
    for list in 1..MAX_LISTS {
        window.take(&said(9_000 + list as u128, &list.to_string(), Verdict::Correct, 1)).unwrap();
    }
    let more = said(10_000, "more", Verdict::Correct, 1);
    assert_eq!(window.take(&more), Err(TooManyLists));
    assert_eq!(window.tallies().len(), MAX_LISTS);
}

proptest! {
    #[test]
    fn the_order_in_which_they_come_does_not_matter(
        mut all in vec((0..8_u128, select(vec!["svs", "amber"]), select(Verdict::ALL.to_vec())), 0..40)
            .prop_map(|all| (0..).zip(all)
                .map(|(second, (alert, list, verdict))| said(alert, list, verdict, second))
                .collect::<Vec<_>>()),
        shuffled in any::<u64>(),
    ) {
        let expected: BTreeMap<_, _> = all.iter().map(|d| (d.alert_id, d.clone())).collect();
        // A fixed but arbitrary order, each of them twice.
        all.extend(all.clone());
        all.sort_by_key(|d| d.at.as_second().unsigned_abs().wrapping_mul(shuffled | 1).rotate_left(17));
        let window = window(&all);
        let got: BTreeSet<_> = window.0.iter()
            .flat_map(|(list, judged)| judged.iter().map(|j| (j.alert_id, list.as_str(), j.verdict)))
            .collect();
        let expected: BTreeSet<_> =
            expected.values().map(|d| (d.alert_id, d.list.as_str(), d.verdict)).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn no_plate_is_remembered_or_said(read in "[0-9A-Z]{4,8}", shown in "[0-9A-Z]{4,8}") {
        let window = window(&[misread(1, &read, &shown)]);
        let all = window.words() + &serde_json::to_string(&window).unwrap();
        prop_assert!(!all.contains(&read) && !all.contains(&shown));
        for (_, n) in window.confusions() {
            prop_assert!(n <= MAX_CONFUSED as u64);
        }
    }
}
