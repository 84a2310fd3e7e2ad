//! Our own format of one JSON object a line, with the members that the comma-separated one has as columns.

use std::io::BufRead;

use milepost_wire::ListedVehicle;
use serde::Deserialize;

use super::{Format, FormatError, KeyDigest, LineError, Take, date, each_line, id, state, wanted};
use crate::lists::entry::{Entry, text};

/// The format.
pub struct JsonLines;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    plate: String,
    #[serde(default)]
    pub(super) id: String,
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
    fn read(&self, input: &mut dyn BufRead, take: &mut Take<'_>) -> Result<KeyDigest, FormatError> {
        each_line(input, take, entry).map(|()| None)
    }
}

fn entry(line: &str) -> Result<Entry, LineError> {
    // serde's own words would repeat what stands there.
    let line: Line = serde_json::from_str(line)
        .map_err(|e| LineError::Bad(format!("no entry in JSON (column {})", e.column())))?;
    line.entry()
}

impl Line {
    pub(super) fn entry(&self) -> Result<Entry, LineError> {
        Ok(Entry {
            wanted: wanted(&self.plate)?,
            id: id(&self.id)?,
            state: state(&self.state)?,
            kind: text(&self.kind),
            date: date(&self.date)?,
            vehicle: ListedVehicle {
                year: text(&self.year),
                make: text(&self.make),
                model: text(&self.model),
                colour: text(&self.colour),
            },
        })
    }
}
