//! Our own format of one JSON object a line, with the members that the comma-separated one has as columns.

use std::io::BufRead;

use milepost_wire::ListedVehicle;
use serde::Deserialize;

use super::{Format, FormatError, LineError, Take, date, each_line, state, wanted};
use crate::lists::entry::{Entry, text};

/// The format.
pub struct JsonLines;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    plate: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    date: String,
    #[serde(default)]
    year: String,
    #[serde(default)]
    make: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    colour: String,
}

impl Format for JsonLines {
    fn read(&self, input: &mut dyn BufRead, take: &mut Take<'_>) -> Result<(), FormatError> {
        each_line(input, take, entry)
    }
}

fn entry(line: &str) -> Result<Entry, LineError> {
    // serde's own words would repeat what stands there.
    let line: Line = serde_json::from_str(line)
        .map_err(|e| LineError::Bad(format!("no entry in JSON (column {})", e.column())))?;
    Ok(Entry {
        wanted: wanted(&line.plate)?,
        id: text(&line.id).unwrap_or_default(),
        state: state(&line.state)?,
        kind: text(&line.kind),
        date: date(&line.date)?,
        vehicle: ListedVehicle {
            year: text(&line.year),
            make: text(&line.make),
            model: text(&line.model),
            colour: text(&line.colour),
        },
    })
}
