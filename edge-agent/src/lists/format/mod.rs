//! The formats in which lists come. Each turns a text into entries, and names the lines that it can't use
//! by their numbers; none of them stops at a bad line.
//!
//! How it fails: by [`FormatError`] where the list as a whole can't be trusted (no header, cut short, not
//! text): nothing of it may then be used.

mod clew;
mod delimited;
mod fixed;
mod json_lines;
mod ncic;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::Serialize;

use super::{
    entry::{Entry, Plate, PlateError},
    junk::{Junk, junk},
};

/// Bad lines that are named; more are only counted.
pub const MAX_NAMED: usize = 100;

/// Why a list can't be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not text.
    #[error("line {line} is not UTF-8: was it damaged, or is it in another encoding?")]
    Encoding {
        /// Which line, from 1.
        line: u64,
    },
    /// The header is not what this format's is.
    #[error("the header {0}")]
    Header(String),
    /// The end is not what this format's is: the list was cut short.
    #[error("the list is not whole: {0}")]
    CutShort(String),
    /// No line could be used.
    #[error("no entry in {lines} lines: is it in the {format} format?")]
    Nothing {
        /// Lines that should have been entries.
        lines: u64,
        /// The format's name.
        format: &'static str,
    },
}

/// Why one line is no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineError {
    /// A filler.
    Junk(Junk),
    /// Anything else, in words that do not repeat the line.
    Bad(String),
}

impl From<PlateError> for LineError {
    fn from(error: PlateError) -> Self {
        Self::Bad(error.to_string())
    }
}

/// What a format calls for each line that should be an entry: its number and what came of it.
pub type Take<'a> = dyn FnMut(u64, Result<Entry, LineError>) + 'a;

/// A format.
pub trait Format {
    /// Its name, as in `--format`.
    fn name(&self) -> &'static str;

    /// Reads a whole list.
    ///
    /// # Errors
    /// [`FormatError`]; what was taken before it must not be used.
    fn read(&self, text: &str, take: &mut Take<'_>) -> Result<(), FormatError>;
}

/// The formats by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Tables of the California DOJ (CLEW): `svs`, `sfr`, `slr`.
    Clew,
    /// Extract of NCIC.
    Ncic,
}

impl Named {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Csv, Self::JsonLines, Self::Clew, Self::Ncic];

    /// The format.
    #[must_use]
    pub fn format(self) -> &'static dyn Format {
        match self {
            Self::Csv => &delimited::Csv,
            Self::JsonLines => &json_lines::JsonLines,
            Self::Clew => &clew::Clew,
            Self::Ncic => &ncic::Ncic,
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format().name())
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|n| n.format().name() == name);
        named.ok_or_else(|| {
            let names = Self::ALL.map(|n| n.format().name()).join(", ");
            format!("no format of that name: {names}")
        })
    }
}

/// What was taken of a list, and what not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Lines that should be entries.
    pub lines: u64,
    /// Entries.
    pub entries: u64,
    /// Skipped by rule.
    pub junk: BTreeMap<Junk, u64>,
    /// Lines that are no entry.
    pub bad: u64,
    /// The first of them: number and reason.
    pub named: Vec<(u64, String)>,
}

/// Reads a list; its entries go to `take`.
///
/// # Errors
/// [`FormatError`]; what was taken before it must not be used.
pub fn read(
    format: &dyn Format,
    bytes: &[u8],
    mut take: impl FnMut(Entry),
) -> Result<Report, FormatError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        FormatError::Encoding { line: 1 + before.iter().filter(|b| **b == b'\n').count() as u64 }
    })?;
    let mut report = Report::default();
    format.read(text.trim_start_matches('\u{feff}'), &mut |line, came| {
        report.lines += 1;
        match came {
            Ok(entry) => {
                report.entries += 1;
                take(entry);
            }
            Err(LineError::Junk(junk)) => *report.junk.entry(junk).or_default() += 1,
            Err(LineError::Bad(why)) => {
                report.bad += 1;
                if report.named.len() < MAX_NAMED {
                    report.named.push((line, why));
                }
            }
        }
    })?;
    if report.entries == 0 && report.bad > 0 {
        return Err(FormatError::Nothing { lines: report.lines, format: format.name() });
    }
    Ok(report)
}

/// Refuses a text whose last line has no end: it was cut short.
fn whole_lines(text: &str) -> Result<(), FormatError> {
    if text.is_empty() || text.ends_with('\n') {
        return Ok(());
    }
    Err(FormatError::CutShort("its last line has no end".into()))
}

/// The lines that are not blank, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

/// The plate of a line, or why there is none.
fn plate(raw: &str) -> Result<Plate, LineError> {
    match junk(raw) {
        Some(junk) => Err(LineError::Junk(junk)),
        None => Ok(Plate::parse(raw)?),
    }
}

/// Two letters of a state; `None` where it is empty.
fn state(raw: &str) -> Result<Option<String>, LineError> {
    match raw.trim() {
        "" => Ok(None),
        code if code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic()) => {
            Ok(Some(code.to_ascii_uppercase()))
        }
        _ => Err(LineError::Bad("a state that is not two letters".into())),
    }
}

/// A day; `None` where it is empty.
fn date(raw: &str) -> Result<Option<jiff::civil::Date>, LineError> {
    match raw.trim() {
        "" => Ok(None),
        text => super::entry::date(text)
            .map(Some)
            .ok_or_else(|| LineError::Bad("a date that is not YYYYMMDD or YYYY-MM-DD".into())),
    }
}
