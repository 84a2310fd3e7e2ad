//! Our own comma-separated format: a header with `plate` and any of the other names, in any order.

use std::io::{self, BufRead};

use csv::ErrorKind;
use milepost_wire::ListedVehicle;

use super::{Format, FormatError, KeyDigest, LineError, Take, date, id, no_end, state, wanted};
use crate::lists::entry::{Entry, text};

/// Names of columns.
const COLUMNS: [&str; 9] =
    ["plate", "id", "state", "kind", "date", "year", "make", "model", "colour"];

/// The format.
pub struct Csv;

impl Format for Csv {
    fn read(&self, input: &mut dyn BufRead, take: &mut Take<'_>) -> Result<KeyDigest, FormatError> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            // Lengths are looked at here: csv's own error would hide that a line is not text.
            .flexible(true)
            .from_reader(Whole { input, last: b'\n' });
        let header = reader.headers().map_err(unusable)?;
        let mut places = [None; COLUMNS.len()];
        for (place, name) in header.iter().enumerate() {
            let Some(column) = COLUMNS.iter().position(|c| c.eq_ignore_ascii_case(name)) else {
                let (known, n) = (COLUMNS.join(", "), place + 1);
                // Its name may be a plate: a list without a header.
                return Err(FormatError::Header(format!("has for column {n} none of {known}")));
            };
            if places[column].replace(place).is_some() {
                return Err(FormatError::Header(format!("names {} twice", COLUMNS[column])));
            }
        }
        if places[0].is_none() {
            return Err(FormatError::Header("names no column `plate`".into()));
        }
        let columns = header.len();
        for record in reader.records() {
            let record = record.map_err(unusable)?;
            let number = record.position().map_or(0, csv::Position::line);
            let of = |column: usize| places[column].and_then(|p| record.get(p)).unwrap_or("");
            let came = if record.len() == columns {
                entry(of)
            } else {
                Err(LineError::Bad("not as many columns as the header".into()))
            };
            take(number, came);
        }
        if reader.get_ref().last == b'\n' { Ok(None) } else { Err(no_end()) }
    }
}

/// Passes a text on and remembers how it ended.
struct Whole<'a> {
    input: &'a mut dyn BufRead,
    last: u8,
}

impl io::Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.input.read(buffer)?;
        self.last = buffer[..bytes].last().copied().unwrap_or(self.last);
        Ok(bytes)
    }
}

/// What stops the reading; csv's own words would repeat what stands there.
fn unusable(error: csv::Error) -> FormatError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        ErrorKind::Utf8 { .. } => FormatError::Encoding { line },
        ErrorKind::Io(error) => FormatError::Unreadable { line, why: error.to_string() },
        _ => FormatError::Header("can't be read".into()),
    }
}

fn entry<'a>(of: impl Fn(usize) -> &'a str) -> Result<Entry, LineError> {
    Ok(Entry {
        wanted: wanted(of(0))?,
        id: id(of(1))?,
        state: state(of(2))?,
        kind: text(of(3)),
        date: date(of(4))?,
        vehicle: ListedVehicle {
            year: text(of(5)),
            make: text(of(6)),
            model: text(of(7)),
            colour: text(of(8)),
        },
    })
}
