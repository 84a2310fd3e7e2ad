//! Deltas: what of a version is no more, and then what is new, one JSON object a line: `{"remove": "<id>"}`,
//! `{"add": {…}}` with the members of an entry in JSON Lines, of which `id` is needed here.
//!
//! How it fails: a line that can't be understood refuses the delta as a whole, for it may be a removal, and a
//! plate that is not wanted any more would stay on the list. A plate that is none is skipped and counted as
//! in a whole list.

use std::io::BufRead;

use serde::Deserialize;

use super::{FormatError, Lines, Report, json_lines, no_end};
use crate::lists::entry::{Entry, text};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The entries of this id are no more.
    Remove(String),
    /// This one is new.
    Add(Entry),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Remove(String),
    Add(json_lines::Line),
}

/// Reads a delta as it comes; its changes go to `take`, all removals before all additions. The report counts
/// additions as entries.
///
/// # Errors
/// [`FormatError`]; what was taken before it must not be used.
pub fn read(input: &mut dyn BufRead, mut take: impl FnMut(Change)) -> Result<Report, FormatError> {
    let (mut report, mut lines, mut adds) = (Report::default(), Lines::of(input), false);
    while let Some((number, line)) = lines.next()? {
        let wrong = |why| FormatError::Change { line: number, why };
        match serde_json::from_str(line).map_err(|_| wrong("no change in JSON"))? {
            Line::Remove(_) if adds => return Err(wrong("a removal after an addition")),
            Line::Remove(id) => {
                report.lines += 1;
                take(Change::Remove(text(&id).ok_or_else(|| wrong("a removal without an id"))?));
            }
            Line::Add(line) => {
                adds = true;
                text(&line.id).ok_or_else(|| wrong("an addition without an id"))?;
                let added = report.count(number, line.entry());
                added.map(Change::Add).into_iter().for_each(&mut take);
            }
        }
    }
    if lines.is_whole { Ok(report) } else { Err(no_end()) }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn all(text: &str) -> Result<(Vec<String>, Report), FormatError> {
        let mut changes = Vec::new();
        let report = read(&mut text.as_bytes(), |change| {
            changes.push(match change {
                Change::Remove(id) => format!("-{id}"),
                Change::Add(entry) => format!("+{}", entry.id),
            });
        })?;
        Ok((changes, report))
    }

    #[test]
    fn removals_and_additions_are_read_in_their_order_and_fillers_skipped() {
        let (changes, report) = all(
            "{\"remove\":\"A1\"}\n{\"remove\":\"A2\"}\n{\"add\":{\"plate\":\"7ABC123\",\"id\":\"A3\"}}\n\
             {\"add\":{\"plate\":\"UNKNOWN\",\"id\":\"A4\"}}\n",
        )
        .unwrap();
        assert_eq!(changes, ["-A1", "-A2", "+A3"]);
        assert_eq!((report.lines, report.entries, report.junk.len()), (4, 1, 1));
        assert_eq!(all("").unwrap().0, [""; 0], "nothing has changed");
    }

    #[test]
    fn what_can_not_be_understood_refuses_the_whole_and_is_not_repeated() {
        let add = "{\"add\":{\"plate\":\"7ABC123\",\"id\":\"A3\"}}\n";
        for (text, words) in [
            ("{\"remove\":7}\n", "no change"),
            ("{\"remove\":\"A1\",\"add\":{}}\n", "no change"),
            ("{\"plate\":\"SECRET7\"}\n", "no change"),
            ("{\"remove\":\" \"}\n", "without an id"),
            ("{\"add\":{\"plate\":\"SECRET7\"}}\n", "without an id"),
            (&format!("{add}{{\"remove\":\"SECRET7\"}}\n"), "removal after"),
            (add.trim_end(), "no end"),
        ] {
            let why = all(text).unwrap_err().to_string();
            assert!(why.contains(words) && !why.contains("SECRET7"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = read(&mut &bytes[..], drop);
        }
    }
}
