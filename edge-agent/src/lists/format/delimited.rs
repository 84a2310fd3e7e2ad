//! Our own comma-separated format: a header with `plate` and any of the other names, in any order.

use super::{Format, FormatError, LineError, Take, date, plate, state, whole_lines};
use crate::lists::entry::{Entry, Vehicle, text};

/// Names of columns.
const COLUMNS: [&str; 9] =
    ["plate", "id", "state", "kind", "date", "year", "make", "model", "colour"];

/// The format.
pub struct Csv;

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn read(&self, all: &str, take: &mut Take<'_>) -> Result<(), FormatError> {
        whole_lines(all)?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(all.as_bytes());
        let header =
            reader.headers().map_err(|e| FormatError::Header(format!("can't be read: {e}")))?;
        let mut places = [None; COLUMNS.len()];
        for (place, name) in header.iter().enumerate() {
            let Some(column) = COLUMNS.iter().position(|c| c.eq_ignore_ascii_case(name)) else {
                let known = COLUMNS.join(", ");
                return Err(FormatError::Header(format!("names a column that is none of {known}")));
            };
            if places[column].replace(place).is_some() {
                return Err(FormatError::Header(format!("names {} twice", COLUMNS[column])));
            }
        }
        if places[0].is_none() {
            return Err(FormatError::Header("names no column `plate`".into()));
        }
        for record in reader.records() {
            match record {
                Ok(record) => {
                    let number = record.position().map_or(0, csv::Position::line);
                    let of =
                        |column: usize| places[column].and_then(|p| record.get(p)).unwrap_or("");
                    take(number, entry(number, of));
                }
                Err(error) => {
                    let number = error.position().map_or(0, csv::Position::line);
                    take(number, Err(LineError::Bad("not as many columns as the header".into())));
                }
            }
        }
        Ok(())
    }
}

fn entry<'a>(number: u64, of: impl Fn(usize) -> &'a str) -> Result<Entry, LineError> {
    Ok(Entry {
        plate: plate(of(0))?,
        id: text(of(1)).unwrap_or_else(|| number.to_string()),
        state: state(of(2))?,
        kind: text(of(3)),
        date: date(of(4))?,
        vehicle: Vehicle {
            year: text(of(5)),
            make: text(of(6)),
            model: text(of(7)),
            colour: text(of(8)),
        },
    })
}
