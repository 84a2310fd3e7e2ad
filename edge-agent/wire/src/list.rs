//! Alert lists on their way from the server to a pole.

use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Most look-alike characters that a list may tolerate in one match.
pub const MAX_SUBSTITUTIONS: u8 = 2;

/// One version of a list, as its authority signs it: whose it is, from when, for what, and how to tell
/// that it came whole. The list itself comes apart from it, in pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListVersion {
    /// The list's name, e.g. `svs`; 1 to 64 of `A-Z a-z 0-9 -`.
    #[schemars(extend("pattern" = "^[A-Za-z0-9-]{1,64}$"))]
    pub list: String,
    /// Goes up with every version; a lower one than that in force is refused.
    #[schemars(range(min = 1))]
    pub version: u64,
    /// The agency that answers for the list.
    #[schemars(length(min = 1, max = 200))]
    pub agency: String,
    /// What the list is for, in the words of the agency's policy.
    #[schemars(length(min = 1, max = 200))]
    pub purpose: String,
    /// When the entries were taken from their source: what the age of every alert is counted from.
    #[schemars(schema_with = "schema::date_time")]
    pub source_at: Timestamp,
    /// From then on nothing is matched by it.
    #[schemars(schema_with = "schema::date_time")]
    pub expires_at: Timestamp,
    /// An alert by a list older than this is `aging`.
    pub aging_after_s: u64,
    /// An alert by a list older than this is `stale`.
    pub stale_after_s: u64,
    /// How much a read may differ from an entry.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// How its entries are written.
    pub format: ListFormat,
    /// Size of the list.
    pub bytes: u64,
    /// SHA-256 of the list, lower-case hexadecimal.
    #[schemars(schema_with = "schema::sha256")]
    pub sha256: String,
}

/// How a list's entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Tables of the California Department of Justice.
    Clew,
    /// Extract of NCIC in fixed columns.
    Ncic,
}

impl ListFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Jsonl, Self::Clew, Self::Ncic];

    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Clew => "clew",
            Self::Ncic => "ncic",
        }
    }
}

impl FromStr for ListFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or(UnknownFormat)
    }
}

/// No format has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no format of that name: csv, jsonl, clew, ncic")]
pub struct UnknownFormat;

/// How much a read may differ from an entry and still be an alert.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tolerance {
    /// Most characters that may be another one that looks alike.
    #[schemars(range(max = 2))]
    pub substitutions: u8,
    /// Least probability, by the reader's own figures, that the plate says what the entry says; 0 hides
    /// nothing. An exact match is never hidden.
    #[serde(default)]
    #[schemars(schema_with = "schema::unit_interval")]
    pub least_probability: f32,
}

impl Default for Tolerance {
    /// One look-alike, however improbable.
    fn default() -> Self {
        Self { substitutions: 1, least_probability: 0.0 }
    }
}
