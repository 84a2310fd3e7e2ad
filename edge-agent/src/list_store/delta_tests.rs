//! What the store promises of a delta: with its base in force it makes the list that the whole would be, and
//! otherwise it is refused and nothing changes.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::{
    tests::{CSV, Scene, ids, install, now, read, version},
    *,
};
use crate::lists::search;

fn delta(base: u64, number: u64, text: &str) -> ListVersion {
    ListVersion { base: Some(base), format: ListFormat::Jsonl, ..version(number, text.as_bytes()) }
}

fn change(store: &ListStore, base: u64, number: u64, text: &str) -> Result<Report, ListError> {
    store.install(&delta(base, number, text), now(), &mut text.as_bytes())
}

fn remove_line(id: &str) -> String {
    format!("{{\"remove\":\"{id}\"}}\n")
}

fn entry_line(plate: &str, id: &str) -> String {
    format!("{{\"plate\":\"{plate}\",\"state\":\"CA\",\"id\":\"{id}\"}}\n")
}

fn add_line(plate: &str, id: &str) -> String {
    format!("{{\"add\":{}}}\n", entry_line(plate, id).trim_end())
}

#[test]
fn a_delta_takes_away_and_adds_and_outlives_a_restart() {
    let scene = Scene::new();
    let store = scene.store();
    install(&store, 3, CSV).unwrap();
    let text = remove_line("A1") + &remove_line("B1") + &add_line("1AAA111", "Z9");
    assert_eq!(change(&store, 3, 5, &text).unwrap().entries, 1);
    for store in [store, scene.store()] {
        assert_eq!(ids(&store, "7ABC123"), [""; 0], "removed");
        assert_eq!(ids(&store, "6KLX123"), [""; 0], "an open one, removed");
        assert_eq!(
            (ids(&store, "8XYZ999"), ids(&store, "1AAA111")),
            (vec!["A2".into()], vec!["Z9".into()])
        );
        assert_eq!(store.entries("svs"), Some(2));
        // On that lies the next.
        assert!(store.may_take(&delta(5, 6, ""), now()).is_ok());
    }
    let store = scene.store();
    change(&store, 5, 6, &add_line("2BB?222", "Z10")).unwrap();
    assert_eq!((ids(&store, "2BBX222"), store.entries("svs")), (vec!["Z10".into()], Some(3)));
    change(&store, 6, 7, "").unwrap();
    assert_eq!(store.entries("svs"), Some(3), "nothing but a newer source time");
    assert_eq!(versions(&scene.folder().join("svs")).unwrap(), [7]);
}

#[test]
fn a_delta_that_does_not_fit_is_refused_with_the_reason_and_the_version_in_force_stays() {
    let scene = Scene::new();
    let store = scene.store();
    assert!(matches!(change(&store, 2, 3, ""), Err(ListError::Base { base: 2, here: None })));
    install(&store, 3, CSV).unwrap();
    let good = remove_line("A1") + &add_line("1AAA111", "Z9");
    let csv = ListVersion { format: ListFormat::Csv, ..delta(3, 4, &good) };
    let backwards = delta(4, 4, &good);
    let cases = [
        (
            delta(2, 4, &good),
            &*good,
            "against version 2, and version 3 is in force: send the whole",
        ),
        (backwards, &good, "which is not before it"),
        (csv, &good, "not in jsonl"),
        (delta(3, 4, &good), &good[..20], "bytes came of"),
        (delta(3, 4, &good), &good.replace("Z9", "Z8"), "SHA-256"),
    ];
    let texts = [
        (
            remove_line("A1") + &remove_line("nobody"),
            "removes 1 entries that version 3 does not have",
        ),
        (remove_line("nobody") + &add_line("1AAA111", "Z9"), "send the whole list"),
        (good.clone() + &remove_line("A2"), "a removal after an addition"),
        ("{\"remove\":7}\n".into(), "line 1 of the delta is no change"),
        (add_line("1AAA111", "Z9") + &add_line("A%1", "Z8"), "1 of 2 lines are no entries"),
    ];
    let cases = cases
        .into_iter()
        .chain(texts.iter().map(|(text, words)| (delta(3, 4, text), &**text, *words)));
    for (version, text, words) in cases {
        let refused = store.install(&version, now(), &mut text.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
        assert_eq!((ids(&store, "7ABC123"), store.entries("svs")), (vec!["A1".into()], Some(3)));
        assert_eq!(versions(&scene.folder().join("svs")).unwrap(), [3], "{words}");
    }
    change(&store, 3, 4, &good).unwrap();
}

#[test]
fn a_delta_against_what_is_damaged_is_refused_and_against_what_is_blind() {
    let scene = Scene::new();
    let store = scene.store();
    install(&store, 3, CSV).unwrap();
    let path = scene.folder().join("svs/3/entries");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let refused = change(&store, 3, 4, &remove_line("A1")).unwrap_err();
    assert!(matches!(refused, ListError::BaseUnreadable(3, _)), "{refused}");

    let key = "c".repeat(64);
    let line = "{\"number\":\"AAAAAAAAAAA\",\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"id\":\"A1\"}\n";
    let text = format!("{{\"key_sha256\":\"{key}\"}}\n{line}");
    let blind = ListVersion {
        format: ListFormat::Blind,
        key_sha256: Some(key),
        ..version(4, text.as_bytes())
    };
    store.install(&blind, now(), &mut text.as_bytes()).unwrap();
    let refused = change(&store, 4, 5, &remove_line("A1")).unwrap_err().to_string();
    assert!(refused.contains("blind"), "{refused}");
}

#[test]
fn parts_are_gone_on_with_and_those_of_another_announcement_of_the_number_are_not() {
    let scene = Scene::new();
    let store = scene.store();
    let bytes = vec![b' '; milepost_wire::list::PART_BYTES + 1];
    let (now, version) = (std::time::Instant::now(), version(4, &bytes));
    let mut incoming = store.begin(version.clone(), "one").unwrap();
    let request = incoming.request(now).unwrap();
    incoming.part(request.request_id, 0, &bytes[1..], now).unwrap();
    drop(incoming);
    for (jws, first) in [("one", 1), ("other", 0)] {
        let mut incoming = store.begin(version.clone(), jws).unwrap();
        assert_eq!(incoming.request(now).unwrap().first_part, first, "{jws}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_delta_makes_the_list_that_the_whole_would_be(
        base in vec("7[0O8B7A]{3,4}|7[0O8B7A]{3}[?*]", 1..60),
        taken in vec(any::<bool>(), 60),
        added in vec("7[0O8B7A]{3,4}|7[0O8B7A]{3}[?*]", 0..20),
        reads in vec("7[0O8B7A]{3,4}", 8),
    ) {
        let named: Vec<_> = base.iter().enumerate().map(|(n, plate)| (plate, format!("A{n}"))).collect();
        let added: Vec<_> = added.iter().enumerate().map(|(n, plate)| (plate, format!("Z{n}"))).collect();
        let (gone, stays): (Vec<_>, Vec<_>) =
            named.iter().cloned().zip(&taken).partition(|(_, taken)| **taken);
        let whole = |entries: &mut dyn Iterator<Item = &(&String, String)>| -> String {
            entries.map(|(plate, id)| entry_line(plate, id)).collect()
        };
        let before = whole(&mut named.iter());
        let after = whole(&mut stays.iter().map(|(entry, _)| entry).chain(&added));
        let text: String = gone
            .iter()
            .map(|((_, id), _)| remove_line(id))
            .chain(added.iter().map(|(plate, id)| add_line(plate, id)))
            .collect();
        let jsonl = |number, text: &str| {
            ListVersion { format: ListFormat::Jsonl, ..version(number, text.as_bytes()) }
        };
        let (one, other) = (Scene::new(), Scene::new());
        let (changed, built) = (one.store(), other.store());
        changed.install(&jsonl(1, &before), now(), &mut before.as_bytes()).unwrap();
        change(&changed, 1, 2, &text).unwrap();
        built.install(&jsonl(2, &after), now(), &mut after.as_bytes()).unwrap();

        let entries = |store: &ListStore| {
            let mut all = Vec::new();
            let shelf = store.in_force()["svs"].clone();
            shelf.each(|entry| all.push((entry.id, entry.wanted))).unwrap();
            all
        };
        prop_assert_eq!(entries(&changed), entries(&built));
        for text in reads {
            let told = |store: &ListStore| {
                let alerts = store.alerts(&read(&text)).into_iter();
                let told = alerts.map(|a| format!("{:?}", (a.entry, a.comparison, a.state)));
                told.collect::<BTreeSet<_>>()
            };
            let (told, expected) = (told(&changed), told(&built));
            // Which are named of more that are as near, the version's own key says.
            if expected.len() < search::MAX_MATCHES {
                prop_assert_eq!(told, expected);
            }
        }
    }
}
