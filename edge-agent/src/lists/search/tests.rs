//! What a search promises: nothing beyond the tolerance, nothing missed within it.

use std::convert::Infallible;

use milepost_wire::{ListFormat, StateVerdict, Tolerance, examples};
use proptest::{collection::vec, prelude::*};
use zeroize::Zeroizing;

use super::*;
use crate::lists::{Plate, fingerprint::KEY_BYTES, format, pattern::Pattern};

fn entry(text: &str, id: usize) -> Entry {
    let wanted = match text.contains(Pattern::OPEN) {
        true => Wanted::Pattern(Pattern::parse(text).unwrap()),
        false => Wanted::Plate(Plate::parse(text).unwrap()),
    };
    Entry {
        id: id.to_string(),
        wanted,
        state: Some("CA".into()),
        kind: None,
        date: None,
        vehicle: Default::default(),
    }
}

fn version(substitutions: u8) -> ListVersion {
    let at = |text: &str| text.parse().unwrap();
    ListVersion {
        list: "svs".into(),
        version: 1,
        base: None,
        audience: "demo-pd".into(),
        agency: "pd".into(),
        purpose: "stolen vehicles".into(),
        source_at: at("2026-11-27T00:00:00Z"),
        expires_at: at("2026-11-29T00:00:00Z"),
        aging_after_s: 3600,
        stale_after_s: 86_400,
        tolerance: Tolerance { substitutions, least_probability: 0.0 },
        format: ListFormat::Csv,
        bytes: 0,
        sha256: String::new(),
        key_sha256: None,
    }
}

fn list(entries: &[Entry], substitutions: u8) -> (List, Vec<Entry>) {
    let mut builder = Builder::new(Fingerprints::new(&[7; KEY_BYTES]));
    let placed = entries.iter().filter_map(|e| builder.push(e.clone()).unwrap()).collect();
    (builder.build(version(substitutions)), placed)
}

/// The same list made blind and read as a pole reads it; patterns are left out.
fn blinded(entries: &[Entry], substitutions: u8) -> (List, Vec<Entry>) {
    let key = blind::Key::new(Zeroizing::new([9; KEY_BYTES]));
    let first = blind::first_line(&key);
    let key = key.fingerprints();
    let lines = entries.iter().filter_map(|entry| blind::line(entry, &key));
    let text: String = [first].into_iter().chain(lines).map(|line| line + "\n").collect();
    let (mut builder, mut placed) = (Builder::new(key), Vec::new());
    let mut take = |entry: Entry| placed.extend(builder.push(entry).unwrap());
    format::read(ListFormat::Blind, &mut text.as_bytes(), &mut take).unwrap();
    (builder.build(version(substitutions)), placed)
}

fn read(text: &str, raw: &str) -> Read {
    let mut read = examples::read().data;
    (read.plate_text, read.raw_text) = (text.into(), raw.into());
    read
}

fn search(list: &(List, Vec<Entry>), read: &Read) -> Found<Infallible> {
    list.0.search(read, |place| Ok(list.1[place as usize].clone()), |_| false)
}

#[test]
fn a_muted_entry_takes_no_place_from_others() {
    let (list, placed) = list(&(0..20).map(|id| entry("7ABC123", id)).collect::<Vec<_>>(), 1);
    let muted: Vec<String> = (0..15).map(|id| id.to_string()).collect();
    let found = list.search(
        &read("7ABC123", "7ABC123"),
        |place| Ok::<_, Infallible>(placed[place as usize].clone()),
        |id| muted.iter().any(|muted| muted == id),
    );
    let ids: Vec<_> = found.matches.iter().map(|m| m.entry.id.as_str()).collect();
    assert_eq!((ids, found.more, found.muted), (vec!["15", "16", "17", "18", "19"], 0, 15));
}

/// The groups as they are documented, apart from the program's own table.
const ALIKE: [&str; 6] = ["0ODQ", "1I", "8B", "5S", "2Z", "6G"];

/// By the definition alone: characters in their places, open ones by trying all ways.
fn substitutions(wanted: &[char], text: &[char]) -> Option<u8> {
    match (wanted, text) {
        ([], []) => Some(0),
        (['*', rest @ ..], _) => {
            (0..=text.len()).filter_map(|n| substitutions(rest, &text[n..])).min()
        }
        (['?', rest @ ..], [_, text @ ..]) => substitutions(rest, text),
        ([a, rest @ ..], [b, text @ ..]) => {
            let alike = ALIKE.iter().any(|group| group.contains(*a) && group.contains(*b));
            let cost = if a == b { 0 } else { alike.then_some(1)? };
            Some(cost + substitutions(rest, text)?)
        }
        _ => None,
    }
}

proptest! {
    #[test]
    fn no_match_beyond_the_tolerance_and_none_missed_within_it(
        wanted in vec("[0OQ8B1A7]{3,5}|[0O8BA7?*]{4,6}", 0..40),
        text in "[0OQ8B1A7]{3,5}",
        swap in any::<bool>(),
        tolerated in 0..4_u8,
    ) {
        let raw: String =
            if swap { text.replace('0', "O").replace('8', "B") } else { text.clone() };
        let entries: Vec<_> = wanted
            .iter()
            .enumerate()
            .filter(|(_, text)| !text.contains(Pattern::OPEN) || Pattern::parse(text).is_ok())
            .map(|(id, text)| entry(text, id))
            .collect();
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let expected: Vec<_> = entries
            .iter()
            .filter_map(|e| {
                let wanted = chars(e.wanted.as_str().unwrap());
                let of = |text: &str| substitutions(&wanted, &chars(text));
                let fewest = of(&text).into_iter().chain(of(&raw)).min()?;
                (fewest <= tolerated.min(2)).then(|| (fewest, e.id.clone()))
            })
            .collect();
        let found = search(&list(&entries, tolerated), &read(&text, &raw));
        prop_assert_eq!(found.matches.len() + found.more, expected.len());
        let got: Vec<_> =
            found.matches.iter().map(|m| (m.comparison.substitutions, m.entry.id.clone())).collect();
        prop_assert!(got.iter().all(|g| expected.contains(g)), "{got:?} of {expected:?}");
        // Those that are named are the nearest.
        let mut nearest: Vec<_> = expected.iter().map(|e| e.0).collect();
        nearest.sort_unstable();
        prop_assert!(got.iter().map(|g| g.0).eq(nearest.into_iter().take(MAX_MATCHES)));
    }

    #[test]
    fn a_blind_list_gives_the_alerts_of_the_clear_list_that_it_was_made_of(
        wanted in vec("[0OQ8B1A7]{3,5}|[0O8BA7?*]{4,6}", 0..40),
        text in "[0OQ8B1A7]{3,5}",
        swap in any::<bool>(),
        tolerated in 0..4_u8,
    ) {
        let raw = if swap { text.replace('0', "O").replace('8', "B") } else { text.clone() };
        let entries = wanted.iter().enumerate();
        let whole: Vec<_> = entries
            .clone()
            .filter(|(_, text)| !text.contains(Pattern::OPEN))
            .map(|(id, text)| entry(text, id))
            .collect();
        let all: Vec<_> = entries
            .filter(|(_, text)| !text.contains(Pattern::OPEN) || Pattern::parse(text).is_ok())
            .map(|(id, text)| entry(text, id))
            .collect();
        let mut read = read(&text, &raw);
        // So that the tolerance for what is improbable has something to hide.
        read.characters.truncate(text.len());
        let key = Fingerprints::new(&[9; KEY_BYTES]);
        let told = |found: Found<Infallible>, opaque: bool| {
            let alerts = found.matches.into_iter().map(|m| {
                let id = if opaque { blind::opaque_id(&m.entry.id, &key) } else { m.entry.id };
                (id, m.entry.wanted, m.entry.state, format!("{:?}", m.comparison))
            });
            (alerts.collect::<Vec<_>>(), found.more)
        };
        let clear = search(&list(&whole, tolerated), &read);
        let hidden = search(&blinded(&all, tolerated), &read);
        prop_assert_eq!(told(hidden, false), told(clear, true));
    }
}

#[test]
fn a_blind_list_without_its_key_matches_nothing() {
    let (mut list, placed) = blinded(&[entry("7AB0123", 1)], 1);
    let read = read("7AB0123", "7AB0123");
    list.fingerprints = OnceLock::new();
    assert_eq!(search(&(list, placed), &read).matches, []);
}

#[test]
fn an_alert_leaves_the_read_as_it_was_and_says_what_differs() {
    let list = list(&[entry("7AB0123", 1)], 1);
    let mut read = read("7ABO123", "7ABO123");
    read.captured_at = "2026-11-27T02:00:00Z".parse().unwrap();
    read.time_source = TimeSource::Ntp;
    read.state = Some(milepost_wire::State { code: "US-NV".into(), confidence: 0.9 });
    let found = search(&list, &read).matches.remove(0);
    let alert = list.0.alert(Uuid::max(), &read, found);
    assert_eq!(
        (alert.plate_text.as_str(), alert.comparison.listed_plate.as_str()),
        ("7ABO123", "7AB0123")
    );
    assert_eq!((alert.list.freshness, alert.list.age_s), (Freshness::Aging, Some(7200.0)));
    assert_eq!(alert.state.verdict, StateVerdict::Mismatch);
    assert!(alert.advisory);
}

#[test]
fn a_list_of_unknown_age_is_stale_and_only_a_clock_that_is_kept_ends_one() {
    let (list, _) = list(&[], 1);
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let of = |text, source| freshness(&list.version, at(text), source);
    assert_eq!(of("2026-11-27T00:59:59Z", TimeSource::Gps).1, Freshness::Fresh);
    assert_eq!(of("2026-11-28T00:00:00Z", TimeSource::Gps).1, Freshness::Stale);
    assert_eq!(of("1970-01-01T00:00:00Z", TimeSource::Gps), (None, Freshness::Stale));
    assert_eq!(of("2026-11-27T00:00:01Z", TimeSource::Unsynchronised), (None, Freshness::Stale));
    let mut read = read("A", "A");
    read.captured_at = at("2026-11-29T00:00:00Z");
    for (source, expired) in [(TimeSource::Ptp, true), (TimeSource::Unsynchronised, false)] {
        read.time_source = source;
        assert_eq!(list.has_expired(&read), expired, "{source:?}");
    }
}
