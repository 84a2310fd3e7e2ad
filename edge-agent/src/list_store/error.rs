//! What may be said of a version, and why one is not taken.

use std::io;

use jiff::Timestamp;
use milepost_wire::{ListFormat, ListVersion, MAX_SUBSTITUTIONS, TopicLevel};

use super::MAX_LIST_BYTES;
use crate::lists::format::FormatError;

/// Longest text of a version, in characters: it stands in every alert.
const MAX_TEXT: usize = 200;

/// Why a version is not taken. The one in force stays.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// What is said of it is not possible.
    #[error("{0}")]
    Version(String),
    /// It is not newer than that in force, or than one that was.
    #[error("version {came} is refused: version {highest} was in force already")]
    Rollback {
        /// What came.
        came: u64,
        /// What was in force.
        highest: u64,
    },
    /// Nothing would be matched by it.
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// More or fewer bytes than its authority signed for.
    #[error("{came} bytes came of {expected}")]
    Size {
        /// What should have come.
        expected: u64,
        /// What came.
        came: u64,
    },
    /// Other bytes than its authority signed for.
    #[error("it is not the list that was signed: its SHA-256 differs")]
    Hash,
    /// A blind list that was made with another key than its authority signed for.
    #[error(
        "it was made with another key than the one that was signed for: nothing would be matched"
    )]
    OtherKey,
    /// It is not in its format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Too much of it is no entry.
    #[error("{bad} of {lines} lines are no entries: is it in another format? {first}")]
    Bad {
        /// So many.
        bad: u64,
        /// Of so many.
        lines: u64,
        /// The first of them.
        first: String,
    },
    /// It is a delta against another version than that in force.
    #[error("it is a delta against version {base}, and {} is in force: send the whole list", .here.map_or("none".into(), |v| format!("version {v}")))]
    Base {
        /// What it is against.
        base: u64,
        /// What is in force.
        here: Option<u64>,
    },
    /// It is a delta that removes what is not there: the two sides do not have the same list.
    #[error(
        "it removes {missing} entries that version {version} does not have: send the whole list"
    )]
    NotThere {
        /// So many.
        missing: usize,
        /// The version that it is against.
        version: u64,
    },
    /// It is a delta against what can't be read.
    #[error("version {0}, which it is a delta against, can't be read: {1}: send the whole list")]
    BaseUnreadable(u64, io::Error),
    /// It is larger than a pole takes.
    #[error("{0}")]
    Limit(String),
    /// It can't be written.
    #[error("it can't be written: {0}: check the disk and its free space")]
    Disk(#[from] io::Error),
}

impl ListError {
    /// Whether the same version would be refused again.
    #[must_use]
    pub const fn is_for_good(&self) -> bool {
        matches!(
            self,
            Self::Version(_) | Self::Rollback { .. } | Self::Expired(_) | Self::Base { .. }
        )
    }
}

/// Whether what is said of a version is possible.
///
/// # Errors
/// [`ListError::Version`], [`ListError::Limit`].
pub fn checked(version: &ListVersion) -> Result<(), ListError> {
    let wrong = |why: String| Err(ListError::Version(why));
    if let Err(error) = TopicLevel::new(&version.list) {
        return wrong(format!("the list's name: {error}"));
    }
    if version.version == 0 {
        return wrong("version 0: versions begin with 1".into());
    }
    if version.tolerance.substitutions > MAX_SUBSTITUTIONS {
        let more = version.tolerance.substitutions;
        return wrong(format!("it tolerates {more} look-alikes; at most {MAX_SUBSTITUTIONS} are"));
    }
    if !(0.0..=1.0).contains(&version.tolerance.least_probability) {
        return wrong("its least probability is not between 0 and 1".into());
    }
    for (what, text) in [("agency", &version.agency), ("purpose", &version.purpose)] {
        if !(1..=MAX_TEXT).contains(&text.chars().count()) {
            return wrong(format!("its {what} must have 1 to {MAX_TEXT} characters"));
        }
    }
    if version.aging_after_s > version.stale_after_s {
        return wrong("it is stale before it is aging".into());
    }
    if let Some(base) = version.base {
        if base == 0 || base >= version.version {
            return wrong(format!("it is a delta against version {base}, which is not before it"));
        }
        if version.format != ListFormat::Jsonl {
            return wrong("it is a delta, and not in jsonl".into());
        }
    }
    match (version.format == ListFormat::Blind, &version.key_sha256) {
        (true, None) => return wrong("it is blind and does not name its key".into()),
        (false, Some(_)) => return wrong("it names a key, and is not blind".into()),
        _ => {}
    }
    if version.bytes > MAX_LIST_BYTES {
        let bytes = version.bytes;
        return Err(ListError::Limit(format!(
            "{bytes} bytes; at most {MAX_LIST_BYTES} are taken: split the list"
        )));
    }
    Ok(())
}
