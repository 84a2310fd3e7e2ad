//! Tables of the California Department of Justice as CLEW hands them out (files `svs`, `sfr`, `slr`): a
//! header line, then plate in columns 0 to 7, state 8 and 9, county 10 and 11, date from 12 on; the last line is
//! `TOTAL RECORD` with the number of lines between.

use super::{Format, FormatError, LineError, Take, date, fixed, lines, plate, state};
use crate::lists::entry::{Entry, Vehicle};

/// Begins the last line.
const FOOTER: &str = "TOTAL RECORD";

/// The format.
pub struct Clew;

impl Format for Clew {
    fn name(&self) -> &'static str {
        "clew"
    }

    fn read(&self, text: &str, take: &mut Take<'_>) -> Result<(), FormatError> {
        let lines: Vec<(u64, &str)> = lines(text).collect();
        let Some((_, header)) = lines.first() else {
            return Err(FormatError::Header("is missing: the list is empty".into()));
        };
        if header.trim_start().starts_with(FOOTER) {
            return Err(FormatError::Header(
                "is missing: the list begins with its last line".into(),
            ));
        }
        let footer = lines.last().and_then(|(_, line)| line.trim().strip_prefix(FOOTER));
        let Some(footer) = footer else {
            return Err(FormatError::CutShort(format!("its last line is not `{FOOTER}`")));
        };
        let digits: String = footer.chars().filter(char::is_ascii_digit).collect();
        let between = lines.len() as u64 - 2;
        match digits.parse::<u64>() {
            Ok(total) if total == between => {}
            Ok(total) => {
                let why = format!("it says {total} records and has {between} lines");
                return Err(FormatError::CutShort(why));
            }
            Err(_) => return Err(FormatError::CutShort(format!("`{FOOTER}` without a number"))),
        }
        let entries = &lines[1..lines.len() - 1];
        entries.iter().for_each(|(number, line)| take(*number, entry(*number, line)));
        Ok(())
    }
}

fn entry(number: u64, line: &str) -> Result<Entry, LineError> {
    Ok(Entry {
        id: number.to_string(),
        plate: plate(fixed::columns(line, 0..8))?,
        state: state(fixed::columns(line, 8..10))?,
        kind: None,
        date: date(fixed::rest(line, 12))?,
        vehicle: Vehicle::default(),
    })
}
