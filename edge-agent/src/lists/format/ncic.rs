//! Extracts of NCIC in fixed columns: code in column 0, date 19 to 26, plate 27 to 36, state 37 and 38, model
//! year 45 to 48, make 49 to 52, model 53 to 55, colour from 58 on.

use std::io::BufRead;

use milepost_wire::ListedVehicle;

use super::{
    Format, FormatError, KeyDigest, LineError, Take, date, each_line, fixed, plate, state,
};
use crate::lists::entry::{Entry, text};

/// The format.
pub struct Ncic;

impl Format for Ncic {
    fn read(&self, input: &mut dyn BufRead, take: &mut Take<'_>) -> Result<KeyDigest, FormatError> {
        each_line(input, take, entry).map(|()| None)
    }
}

fn entry(line: &str) -> Result<Entry, LineError> {
    let vehicle = ListedVehicle {
        year: text(fixed::columns(line, 45..49)),
        make: text(fixed::columns(line, 49..53)),
        model: text(fixed::columns(line, 53..56)),
        colour: text(fixed::rest(line, 58)),
    };
    Ok(Entry {
        id: String::new(),
        wanted: plate(fixed::columns(line, 27..37))?,
        state: state(fixed::columns(line, 37..39))?.map(postal),
        kind: text(fixed::columns(line, 0..1)),
        date: date(fixed::columns(line, 19..27))?,
        vehicle,
    })
}

/// NCIC's own code of a state as the post writes it, and the reader: they differ for Nebraska.
fn postal(code: String) -> String {
    if code == "NB" { "NE".into() } else { code }
}
