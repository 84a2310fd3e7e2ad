//! What is wrong in a configuration file: where, which key, what, and what to do.
//!
//! Invariants: a problem never repeats a value that may hold a secret (addresses, pipelines,
//! lines that are no TOML); text from the file is cut short and its control characters escaped;
//! the list is bounded by [`MAX_PROBLEMS`].

use std::{fmt, path::PathBuf};

/// More problems than this are counted, not listed.
pub const MAX_PROBLEMS: usize = 200;

/// Text from the file is repeated up to this many characters.
const MAX_QUOTE_CHARS: usize = 60;

/// A place in the file, both counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Character of the line.
    pub column: usize,
}

impl Place {
    /// The first character of the file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Which key, `table.key`; a table's name alone, or empty where it is the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do; empty where the message says it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place: Place { line, column }, key, message, remedy } = self;
        let colon = if key.is_empty() { "" } else { ": " };
        let dash = if remedy.is_empty() { "" } else { " — " };
        write!(f, "{line}:{column}: {key}{colon}{message}{dash}{remedy}")
    }
}

/// Everything that is wrong in one file, by line. Displays as one problem a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, as it was named.
    pub file: PathBuf,
    /// At most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// Problems beyond the limit.
    pub more: usize,
}

impl ConfigErrors {
    /// Sorts and bounds a list of problems.
    #[must_use]
    pub fn new(file: PathBuf, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
        let more = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        Self { file, problems, more }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let newline = if i > 0 { "\n" } else { "" };
            write!(f, "{newline}{}:{problem}", self.file.display())?;
        }
        if self.more > 0 {
            write!(f, "\n{}: and {} more problems", self.file.display(), self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Text from the file, fit to be shown: cut short; what is neither letter, digit, ASCII nor space (control
/// characters, marks that turn the line around) is escaped.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(MAX_QUOTE_CHARS)
        .flat_map(|c| {
            let plain = (c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ').then_some(c);
            let escape = plain.is_none().then(|| c.escape_default());
            plain.into_iter().chain(escape.into_iter().flatten())
        })
        .collect();
    if text.chars().nth(MAX_QUOTE_CHARS).is_some() {
        short.push('…');
    }
    short
}
