//! The formats in which lists come. Each turns a text into entries, and names the lines that it can't use
//! by their numbers; none of them stops at a bad line.
//!
//! How it fails: by [`FormatError`] where the list as a whole can't be trusted (no header, cut short, not
//! text): nothing of it may then be used.

mod blind;
mod clew;
mod delimited;
pub mod delta;
mod fixed;
mod json_lines;
mod ncic;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read as _},
};

use milepost_wire::ListFormat;
use serde::Serialize;

use super::{
    entry::{Entry, MAX_TEXT, Plate, PlateError, Wanted},
    junk::{Junk, junk, junk_beside},
    pattern::{Pattern, PatternError},
};

/// Bad lines that are named; more are only counted.
pub const MAX_NAMED: usize = 100;

/// Longest line, in bytes; a list with a longer one is none.
const MAX_LINE: u64 = 4096;

/// Why a list can't be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It can't be read to its end.
    #[error("line {line} can't be read: {why}")]
    Unreadable {
        /// Which line, from 1.
        line: u64,
        /// What the system said.
        why: String,
    },
    /// A line that has no end in sight.
    #[error("line {line} has more than {MAX_LINE} bytes: this is no list of plates")]
    LongLine {
        /// Which line, from 1.
        line: u64,
    },
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
    /// A line of a delta that can't be carried out: without it, the list would not be what was meant.
    #[error("line {line} of the delta is {why}")]
    Change {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        why: &'static str,
    },
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

impl From<PatternError> for LineError {
    fn from(error: PatternError) -> Self {
        Self::Bad(error.to_string())
    }
}

/// What a format calls for each line that should be an entry: its number and what came of it. The id of an
/// entry that has none is empty.
pub type Take<'a> = dyn FnMut(u64, Result<Entry, LineError>) + 'a;

/// SHA-256 of the key of a blind list, lower-case hexadecimal; none of another.
pub type KeyDigest = Option<String>;

/// A format.
pub trait Format: Sync {
    /// Reads a whole list; of a blind one the digest of the key that it was made with.
    ///
    /// # Errors
    /// [`FormatError`]; what was taken before it must not be used.
    fn read(&self, input: &mut dyn BufRead, take: &mut Take<'_>) -> Result<KeyDigest, FormatError>;
}

/// The format of a list.
#[must_use]
pub const fn of(format: ListFormat) -> &'static dyn Format {
    match format {
        ListFormat::Csv => &delimited::Csv,
        ListFormat::Jsonl => &json_lines::JsonLines,
        ListFormat::Clew => &clew::Clew,
        ListFormat::Ncic => &ncic::Ncic,
        ListFormat::Blind => &blind::Blind,
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
    /// Of a blind list, by its first line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_sha256: KeyDigest,
}

impl Report {
    /// Counts a line; its entry, where it is one.
    fn count(&mut self, line: u64, came: Result<Entry, LineError>) -> Option<Entry> {
        self.lines += 1;
        match came {
            Ok(mut entry) => {
                self.entries += 1;
                if entry.id.is_empty() {
                    entry.id = entry.digest();
                }
                return Some(entry);
            }
            Err(LineError::Junk(junk)) => *self.junk.entry(junk).or_default() += 1,
            Err(LineError::Bad(why)) => {
                self.bad += 1;
                if self.named.len() < MAX_NAMED {
                    self.named.push((line, why));
                }
            }
        }
        None
    }
}

/// Reads a list as it comes; its entries go to `take`.
///
/// # Errors
/// [`FormatError`]; what was taken before it must not be used.
pub fn read(
    format: ListFormat,
    input: &mut dyn BufRead,
    mut take: impl FnMut(Entry),
) -> Result<Report, FormatError> {
    let mut report = Report::default();
    report.key_sha256 = of(format).read(input, &mut |line, came| {
        report.count(line, came).into_iter().for_each(&mut take);
    })?;
    Ok(report)
}

/// The lines that are not blank, one at a time.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    line: Vec<u8>,
    number: u64,
    /// Whether the last line had an end.
    is_whole: bool,
}

impl<'a> Lines<'a> {
    fn of(input: &'a mut dyn BufRead) -> Self {
        Self { input, line: Vec::new(), number: 0, is_whole: true }
    }

    /// The next one, with its number from 1.
    fn next(&mut self) -> Result<Option<(u64, &str)>, FormatError> {
        loop {
            self.line.clear();
            self.number += 1;
            let line = self.number;
            let mut input = (&mut *self.input).take(MAX_LINE + 1);
            let unreadable = |e: io::Error| FormatError::Unreadable { line, why: e.to_string() };
            match input.read_until(b'\n', &mut self.line).map_err(unreadable)? as u64 {
                0 => return Ok(None),
                bytes if bytes > MAX_LINE => return Err(FormatError::LongLine { line }),
                _ => self.is_whole = self.line.ends_with(b"\n"),
            }
            if line == 1 && self.line.starts_with(BOM) {
                self.line.drain(..BOM.len());
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let text = std::str::from_utf8(&self.line)
            .map_err(|_| FormatError::Encoding { line: self.number })?;
        Ok(Some((self.number, text.trim_end_matches(['\n', '\r']))))
    }
}

/// UTF-8's mark at the beginning of a text.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Takes every line as an entry; a text whose last line has no end was cut short.
fn each_line(
    input: &mut dyn BufRead,
    take: &mut Take<'_>,
    entry: fn(&str) -> Result<Entry, LineError>,
) -> Result<(), FormatError> {
    each_of(&mut Lines::of(input), take, entry)
}

/// As [`each_line`], of those that are left.
fn each_of(
    lines: &mut Lines<'_>,
    take: &mut Take<'_>,
    entry: fn(&str) -> Result<Entry, LineError>,
) -> Result<(), FormatError> {
    while let Some((number, line)) = lines.next()? {
        take(number, entry(line));
    }
    if lines.is_whole { Ok(()) } else { Err(no_end()) }
}

fn no_end() -> FormatError {
    FormatError::CutShort("its last line has no end".into())
}

/// The plate of a line, or why there is none.
fn plate(raw: &str) -> Result<Wanted, LineError> {
    match junk(raw) {
        Some(junk) => Err(LineError::Junk(junk)),
        None => Ok(Wanted::Plate(Plate::parse(raw)?)),
    }
}

/// As [`plate`], in the formats in which `?` and `*` stand for characters that are not known.
fn wanted(raw: &str) -> Result<Wanted, LineError> {
    if !raw.contains(Pattern::OPEN) {
        return plate(raw);
    }
    match junk_beside(raw) {
        Some(junk) => Err(LineError::Junk(junk)),
        None => Ok(Wanted::Pattern(Pattern::parse(raw)?)),
    }
}

/// An entry's own name.
fn id(raw: &str) -> Result<String, LineError> {
    let too_long = || LineError::Bad(format!("an id of more than {MAX_TEXT} bytes"));
    super::entry::id(raw).ok_or_else(too_long)
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
