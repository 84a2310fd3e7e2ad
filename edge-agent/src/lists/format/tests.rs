//! What the formats promise, whatever comes.

use proptest::{prelude::*, sample::Index};

use super::*;

const CSV: &str =
    "Plate,state,kind,id\n7abc123,CA,stolen,A1\n\"00\",CA,,A2\n8XYZ 99,NV,felony,A3\n";
const JSONL: &str =
    "{\"plate\":\"7ABC123\",\"state\":\"CA\",\"id\":\"A1\"}\n\n{\"plate\":\"UNKNOWN\"}\n";
const CLEW: &str =
    "SVS EXTRACT 20261127\n7ABC123 CA1920261120\n1234    NV  20261121\nTOTAL RECORD 2\n";

fn ncic() -> String {
    let line = |plate: &str| {
        format!(
            "{:<19}{:<8}{plate:<10}{:<2}{:<6}{:<4}{:<4}{:<3}  {}\n",
            "V", "20261120", "CA", "", "2019", "TOYT", "CAM", "BLU"
        )
    };
    [line("7ABC123"), line("0"), line("AB/12")].concat()
}

fn all(named: ListFormat, text: &str) -> (Vec<Entry>, Result<Report, FormatError>) {
    let mut entries = Vec::new();
    let report = read(named, &mut text.as_bytes(), |entry| entries.push(entry));
    (entries, report)
}

#[test]
fn each_format_gives_its_entries_and_says_what_it_skipped() {
    let (entries, report) = all(ListFormat::Csv, CSV);
    let report = report.unwrap();
    assert_eq!((report.lines, report.entries, report.junk[&Junk::Zeros]), (3, 2, 1));
    assert_eq!((entries[0].wanted.as_str(), entries[0].id.as_str()), (Some("7ABC123"), "A1"));
    assert_eq!(
        (entries[1].wanted.as_str(), entries[1].state.as_deref()),
        (Some("8XYZ99"), Some("NV"))
    );

    let (entries, report) = all(ListFormat::Jsonl, JSONL);
    assert_eq!(report.unwrap().junk[&Junk::Word], 1);
    assert_eq!((entries.len(), entries[0].state.as_deref()), (1, Some("CA")));

    let (entries, report) = all(ListFormat::Clew, CLEW);
    assert_eq!(report.unwrap().entries, 2);
    assert_eq!(
        (entries[1].wanted.as_str(), entries[1].state.as_deref()),
        (Some("1234"), Some("NV"))
    );
    assert_eq!(entries[0].date, Some(jiff::civil::date(2026, 11, 20)));

    let (entries, report) = all(ListFormat::Ncic, &ncic());
    let report = report.unwrap();
    assert_eq!((report.entries, report.junk[&Junk::Zeros], report.bad), (1, 1, 1));
    assert_eq!(report.named[0].0, 3);
    let vehicle = &entries[0].vehicle;
    assert_eq!(vehicle.make.as_deref(), Some("TOYT"));
    assert_eq!((vehicle.year.as_deref(), vehicle.colour.as_deref()), (Some("2019"), Some("BLU")));
}

#[test]
fn an_entry_without_an_id_has_the_same_one_in_every_version_until_what_it_says_changes() {
    let ids = |text: &str| -> Vec<String> {
        all(ListFormat::Clew, text).0.into_iter().map(|entry| entry.id).collect()
    };
    let (before, moved) = (ids(CLEW), "7ZZZ999 OR  20261122\n7ABC123 CA1920261120");
    let after = ids(&CLEW.replace("7ABC123 CA1920261120", moved).replace("RECORD 2", "RECORD 3"));
    assert_eq!(before[..], after[1..], "a line more before them");
    assert!(before[0].len() == 20 && before[0] != before[1] && !before[0].contains("7ABC"));
    for changed in [("7ABC123", "7ABC124"), ("CA19", "NV19"), ("20261120\n", "20261121\n")] {
        let after = ids(&CLEW.replace(changed.0, changed.1));
        assert_ne!(before[0], after[0], "{changed:?}");
        assert_eq!(before[1], after[1], "{changed:?}");
    }
}

#[test]
fn a_list_that_was_cut_short_is_refused_as_a_whole() {
    let short = CLEW.replace("RECORD 2", "RECORD 3");
    assert!(
        matches!(all(ListFormat::Clew, &short).1, Err(FormatError::CutShort(why)) if why.contains('3'))
    );
    let no_footer = CLEW.trim_end_matches("TOTAL RECORD 2\n");
    assert!(matches!(all(ListFormat::Clew, no_footer).1, Err(FormatError::CutShort(_))));
    for (named, text) in
        [(ListFormat::Csv, CSV), (ListFormat::Jsonl, JSONL), (ListFormat::Ncic, &*ncic())]
    {
        let cut = &text[..text.len() - 3];
        assert!(matches!(all(named, cut).1, Err(FormatError::CutShort(_))), "{named:?}");
    }
}

#[test]
fn a_list_of_another_format_is_refused_with_the_reason() {
    assert!(matches!(all(ListFormat::Csv, &ncic()).1, Err(FormatError::Header(_))));
    assert_eq!(all(ListFormat::Jsonl, CSV).1.map(|r| r.entries), Ok(0));
    assert!(matches!(all(ListFormat::Clew, "").1, Err(FormatError::Header(_))));
    let twice = "plate,Plate\nA1,B2\n";
    assert!(
        matches!(all(ListFormat::Csv, twice).1, Err(FormatError::Header(why)) if why.contains("twice"))
    );
    let bytes = read(ListFormat::Csv, &mut &b"plate\nABC1\n\xff\xfe\n"[..], drop);
    assert_eq!(bytes, Err(FormatError::Encoding { line: 3 }));
}

#[test]
fn no_reason_repeats_what_stands_in_the_list() {
    let secret = "SECRET77";
    for (named, text) in [
        (ListFormat::Csv, format!("plate,state\n{secret}ÄÄ,CA\n{secret},CAL\nA1,CA\n")),
        (
            ListFormat::Jsonl,
            format!("{{\"plate\":\"{secret}\",\"{secret}\":1}}\n{{\"plate\":\"A1\"}}\n"),
        ),
    ] {
        let report = all(named, &text).1.unwrap();
        assert!(report.bad > 0 && !format!("{report:?}").contains(secret), "{report:?}");
    }
    let header = all(ListFormat::Csv, &format!("plate,{secret}\nA1,1\n")).1.unwrap_err();
    assert!(!header.to_string().contains(secret), "{header}");
}

proptest! {
    #[test]
    fn no_bytes_make_a_format_panic_and_every_line_is_counted_once(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        which in any::<Index>(),
    ) {
        let named = ListFormat::ALL[which.index(ListFormat::ALL.len())];
        let mut taken = 0;
        if let Ok(report) = read(named, &mut &bytes[..], |_| taken += 1) {
            prop_assert_eq!(taken, report.entries);
            prop_assert_eq!(report.lines, report.entries + report.bad + report.junk.values().sum::<u64>());
        }
    }

    #[test]
    fn a_damaged_list_is_refused_or_its_bad_lines_are_counted(
        which in any::<Index>(),
        place in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let ncic = ncic();
        let lists = [(ListFormat::Csv, CSV), (ListFormat::Jsonl, JSONL), (ListFormat::Clew, CLEW), (ListFormat::Ncic, &*ncic)];
        let (named, text) = lists[which.index(lists.len())];
        let mut bytes = text.as_bytes().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = read(named, &mut &bytes[..], drop);
    }
}
