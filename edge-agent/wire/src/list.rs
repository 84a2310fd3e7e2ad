//! Alert lists on their way from the server to a pole.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{event::Data, schema};

/// Largest announcement that is read, in bytes.
pub const MAX_ANNOUNCEMENT_BYTES: usize = 32 * 1024;
/// Bytes of every part of a list but the last.
pub const PART_BYTES: usize = 64 * 1024;
/// Most parts that one request asks for.
pub const MAX_PARTS: u32 = 16;

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
    /// Of a delta: the version that it changes, which must be the one in force. Then format, size and hash
    /// are those of the delta; null where it is the whole list.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub base: Option<u64>,
    /// The agency whose poles it is for: the first name of their topics.
    #[schemars(extend("pattern" = "^[A-Za-z0-9-]{1,64}$"))]
    pub audience: String,
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
    /// Of a blind list, and of no other: SHA-256 of its key's 32 bytes, lower-case hexadecimal.
    #[serde(default)]
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub key_sha256: Option<String>,
}

impl ListVersion {
    /// The `typ` of the JWS that it is signed as.
    pub const JWS_TYPE: &'static str = "milepost-list+jws";
}

/// A new version of a list, on `lists`. The pole asks for the list itself, part by part.
///
/// `jws` is a JSON Web Signature in compact form (RFC 7515), algorithm ES256, `typ`
/// [`ListVersion::JWS_TYPE`], over a [`ListVersion`]; its `x5c` is the certificate of who answers for the
/// list, which the pole checks against the authority that it is configured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListAnnouncement {
    /// The signed version.
    #[schemars(length(max = 32768))]
    pub jws: String,
    /// Of a blind list, and of no other: its key, which is the one that the version names by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ListKey>,
}

/// The key of a blind list: 32 bytes in base64url without padding (RFC 4648, section 5). A pole has it in
/// memory alone, so it is given again after each of the pole's starts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ListKey(#[schemars(extend("pattern" = "^[A-Za-z0-9_-]{43}$"))] pub String);

/// Not the key.
impl fmt::Debug for ListKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListKey")
    }
}

/// What is wrong with an announcement.
#[derive(Debug, thiserror::Error)]
pub enum ListAnnouncementError {
    /// Larger than [`MAX_ANNOUNCEMENT_BYTES`].
    #[error("announcement of {0} bytes; at most {MAX_ANNOUNCEMENT_BYTES} are read")]
    TooLarge(usize),
    /// Not JSON, or not of this shape.
    #[error("not an announcement in JSON (line {}, column {})", .0.line(), .0.column())]
    Json(#[from] serde_json::Error),
}

impl ListAnnouncement {
    /// Reads one.
    ///
    /// # Errors
    /// Too large, or not one.
    pub fn from_json(json: &[u8]) -> Result<Self, ListAnnouncementError> {
        if json.len() > MAX_ANNOUNCEMENT_BYTES {
            return Err(ListAnnouncementError::TooLarge(json.len()));
        }
        Ok(serde_json::from_slice(json)?)
    }
}

/// The pole asks for parts of a list, on `list_requests`. The server sends each on
/// `list_parts/<request id>/<part>`, in order: [`PART_BYTES`] of the list, the last part what is left.
/// What does not come is asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListRequest {
    /// Stands in the topics of the parts.
    #[schemars(schema_with = "schema::uuid")]
    pub request_id: Uuid,
    /// Which list.
    pub list: String,
    /// Which version of it.
    pub version: u64,
    /// The `base` of that version, where it was announced as a delta.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub base: Option<u64>,
    /// The first part wanted; they are counted from 0.
    pub first_part: u32,
    /// How many from there on.
    #[schemars(range(min = 1, max = 16))]
    pub parts: u32,
}

impl Data for ListRequest {
    const TYPE: &'static str = "org.milepost.alpr.list_request.v1";
    const IN_LEDGER: bool = false;
}

/// A version of a list came in force, or was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListChange {
    /// Which list; null where the announcement's signature is not to be trusted.
    pub list: Option<String>,
    /// Which version of it; null likewise.
    pub version: Option<u64>,
    /// What became of it.
    pub outcome: ListOutcome,
    /// Why it was refused; the version that was in force still is.
    pub why: Option<String>,
    /// Entries in force.
    pub entries: Option<u64>,
    /// Lines that were skipped by rule: fillers that are no plate.
    pub skipped: Option<u64>,
    /// Lines that were no entries.
    pub bad: Option<u64>,
}

impl Data for ListChange {
    const TYPE: &'static str = "org.milepost.alpr.list_change.v1";
    const IN_LEDGER: bool = true;
}

/// What became of a version of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListOutcome {
    /// Reads are matched by it from now on.
    InForce,
    /// It is not used.
    Refused,
}

/// Reads that matched no list and were dropped at once, on a pole that keeps none but hits: nothing of them
/// was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DroppedReads {
    /// Exposure of the first.
    #[schemars(schema_with = "schema::date_time")]
    pub first_captured_at: Timestamp,
    /// Exposure of the last.
    #[schemars(schema_with = "schema::date_time")]
    pub last_captured_at: Timestamp,
    /// How many.
    #[schemars(range(min = 1))]
    pub reads: u64,
    /// Of these, while no list was in force, or one could not be searched.
    pub not_searched: u64,
}

impl Data for DroppedReads {
    const TYPE: &'static str = "org.milepost.alpr.dropped_reads.v1";
    const IN_LEDGER: bool = true;
}

/// A version in force, or one that would be if the pole had its key, in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListInForce {
    /// Which list.
    pub list: String,
    /// Which version of it.
    pub version: u64,
    /// When its entries were taken from their source.
    #[schemars(schema_with = "schema::date_time")]
    pub source_at: Timestamp,
    /// From then on nothing is matched by it.
    #[schemars(schema_with = "schema::date_time")]
    pub expires_at: Timestamp,
    /// Its entries.
    pub entries: u64,
    /// It is blind and the pole has been started since it came: nothing is matched by it until it is
    /// announced again with its key. The list itself is still there.
    #[serde(default)]
    pub waits_for_key: bool,
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
    /// One JSON object a line: the first has `key_sha256` as its version does, the rest keyed hashes in place of
    /// the plates.
    Blind,
}

impl ListFormat {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Csv, Self::Jsonl, Self::Clew, Self::Ncic, Self::Blind];

    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Clew => "clew",
            Self::Ncic => "ncic",
            Self::Blind => "blind",
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
#[error("no format of that name: csv, jsonl, clew, ncic, blind")]
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
