//! Tables of the California Department of Justice as CLEW hands them out (files `svs`, `sfr`, `slr`): a
//! header line, then plate in columns 0 to 7, state 8 and 9, county 10 and 11, date from 12 on; the last line is
//! `TOTAL RECORD` with the number of lines between.

use std::io::BufRead;

use milepost_wire::ListedVehicle;

use super::{Format, FormatError, KeyDigest, LineError, Lines, Take, date, fixed, plate, state};
use crate::lists::entry::Entry;

/// Begins the last line.
const FOOTER: &str = "TOTAL RECORD";

/// The format.
pub struct Clew;

impl Format for Clew {
    fn read(&self, input: &mut dyn BufRead, take: &mut Take<'_>) -> Result<KeyDigest, FormatError> {
        let mut lines = Lines::of(input);
        let Some((_, header)) = lines.next()? else {
            return Err(FormatError::Header("is missing: the list is empty".into()));
        };
        if header.trim_start().starts_with(FOOTER) {
            return Err(FormatError::Header(
                "is missing: the list begins with its last line".into(),
            ));
        }
        // One behind, as only the end says which line is the last.
        let (mut last, mut between) = (None::<(u64, String)>, 0);
        while let Some((number, line)) = lines.next()? {
            if let Some((number, line)) = last.replace((number, line.to_owned())) {
                between += 1;
                take(number, entry(&line));
            }
        }
        let footer = last.as_ref().and_then(|(_, line)| line.trim().strip_prefix(FOOTER));
        let Some(footer) = footer else {
            return Err(FormatError::CutShort(format!("its last line is not `{FOOTER}`")));
        };
        let digits: String = footer.chars().filter(char::is_ascii_digit).collect();
        match digits.parse::<u64>() {
            Ok(total) if total == between => Ok(None),
            Ok(total) => {
                let why = format!("it says {total} records and has {between} lines");
                Err(FormatError::CutShort(why))
            }
            Err(_) => Err(FormatError::CutShort(format!("`{FOOTER}` without a number"))),
        }
    }
}

fn entry(line: &str) -> Result<Entry, LineError> {
    Ok(Entry {
        id: String::new(),
        wanted: plate(fixed::columns(line, 0..8))?,
        state: state(fixed::columns(line, 8..10))?,
        kind: None,
        date: date(fixed::rest(line, 12))?,
        vehicle: ListedVehicle::default(),
    })
}
