//! Extracts of NCIC in fixed columns: code in column 0, date 19 to 26, plate 27 to 36, state 37 and 38, model
//! year 45 to 48, make 49 to 52, model 53 to 55, colour from 58 on.

use super::{Format, FormatError, LineError, Take, date, fixed, lines, plate, state, whole_lines};
use crate::lists::entry::{Entry, Vehicle, text};

/// The format.
pub struct Ncic;

impl Format for Ncic {
    fn name(&self) -> &'static str {
        "ncic"
    }

    fn read(&self, all: &str, take: &mut Take<'_>) -> Result<(), FormatError> {
        whole_lines(all)?;
        lines(all).for_each(|(number, line)| take(number, entry(number, line)));
        Ok(())
    }
}

fn entry(number: u64, line: &str) -> Result<Entry, LineError> {
    let vehicle = Vehicle {
        year: text(fixed::columns(line, 45..49)),
        make: text(fixed::columns(line, 49..53)),
        model: text(fixed::columns(line, 53..56)),
        colour: text(fixed::rest(line, 58)),
    };
    Ok(Entry {
        id: number.to_string(),
        plate: plate(fixed::columns(line, 27..37))?,
        state: state(fixed::columns(line, 37..39))?,
        kind: text(fixed::columns(line, 0..1)),
        date: date(fixed::columns(line, 19..27))?,
        vehicle,
    })
}
