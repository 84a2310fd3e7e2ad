//! The CloudEvents 1.0 envelope, structured JSON.
//!
//! `source` + `id` is the de-duplication key and never changes on a resend. The body is written
//! once, when the record is kept; only `historical` and `photosgone` are decided at the time of sending
//! and spliced in by [`sending`], so that two sendings differ in nothing else.

use std::{fmt, marker::PhantomData, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    PhotoKind, schema,
    topics::{Root, TopicError},
};

/// Largest event that a consumer has to take, in bytes (a pole's records are under 6 kB).
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// Digits of `sequence`: all of an unsigned 64-bit number, so that it sorts as text.
pub const SEQUENCE_DIGITS: usize = 20;

/// What is wrong with an event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Larger than [`MAX_EVENT_BYTES`].
    #[error("event of {0} bytes; at most {MAX_EVENT_BYTES} are read")]
    TooLarge(usize),
    /// Not JSON, or not of this shape.
    #[error("not an event of this contract: {0}")]
    Json(#[from] serde_json::Error),
    /// Another type of event.
    #[error("event type {found:?} where {expected:?} belongs")]
    Type {
        /// What belongs here.
        expected: &'static str,
        /// What came.
        found: String,
    },
}

/// Data that can stand in an event.
pub trait Data: Serialize + DeserializeOwned {
    /// The event's `type`, with its version.
    const TYPE: &'static str;
    /// Whether such events have a place in the ledger, and so a `sequence` and an `epoch`.
    const IN_LEDGER: bool;
}

/// `specversion`: there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SpecVersion {
    /// CloudEvents 1.0.
    #[default]
    #[serde(rename = "1.0")]
    V1_0,
}

/// `source`: `urn:milepost:<agency>:<site>:<camera>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source(Root);

impl Source {
    /// The source of a camera's events.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        Self(root.clone())
    }

    /// The camera.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Root { agency, site, camera } = &self.0;
        write!(f, "urn:milepost:{agency}:{site}:{camera}")
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Source {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, TopicError> {
        text.parse()
    }
}

impl FromStr for Source {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let unknown = || TopicError::Unknown(text.into());
        let names = text.strip_prefix("urn:milepost:").ok_or_else(unknown)?;
        let names: Vec<_> = names.split(':').collect();
        let [agency, site, camera] = names[..] else { return Err(unknown()) };
        Ok(Self(Root::new(agency, site, camera)?))
    }
}

impl JsonSchema for Source {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let level = "[A-Za-z0-9-]{1,64}";
        schemars::json_schema!({
            "type": "string",
            "format": "uri",
            "pattern": format!("^urn:milepost:{level}:{level}:{level}$"),
            "description": "Which camera: agency, site and camera, as in the topic."
        })
    }
}

/// A record's place in the pole's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ledger {
    /// Which ledger: changes only when the pole's store was replaced.
    pub epoch: Uuid,
    /// Counts up by one from 1 within the epoch; a number missing is a record missing.
    pub sequence: u64,
}

/// One event. `T` is its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(bound = "T: Data")]
pub struct Event<T> {
    /// CloudEvents' version.
    pub specversion: SpecVersion,
    /// Unique with `source`; the same on every resend.
    #[schemars(schema_with = "schema::uuid")]
    pub id: Uuid,
    /// Which camera.
    pub source: Source,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened: for a read the exposure of its best frame.
    #[schemars(schema_with = "schema::date_time")]
    pub time: Timestamp,
    /// Always `application/json`.
    #[schemars(extend("const" = "application/json"))]
    pub datacontenttype: String,
    /// Place in the ledger: 20 digits with leading zeros (CloudEvents' `sequence` is text that
    /// sorts in order), up by one from 1 within `epoch`, without gaps. Not on status and health,
    /// which are not in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("pattern" = "^[0-9]{20}$"))]
    pub sequence: Option<String>,
    /// Which ledger the sequence counts in; another epoch means that the pole's store was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uuid")]
    pub epoch: Option<Uuid>,
    /// What happened, in full.
    pub data: T,
    /// Photos that a read names and that will not come, as the pole had to give them up: `plate`,
    /// `context` or `plate,context`. The eviction that says so comes at its own place in the ledger,
    /// which may be days later. A resend may add it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["plate", "context", "plate,context"]))]
    pub photosgone: Option<String>,
    /// Whether the event was already older than the pole's live window when it was sent: true must
    /// not be dispatched as live. A resend may change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub historical: Option<bool>,
}

impl<T: Data> Event<T> {
    /// An event; `ledger` is `None` for status and health only.
    pub fn new(id: Uuid, source: Source, time: Timestamp, ledger: Option<Ledger>, data: T) -> Self {
        Self {
            specversion: SpecVersion::V1_0,
            id,
            source,
            kind: T::TYPE.into(),
            time,
            datacontenttype: "application/json".into(),
            sequence: ledger.map(|l| sequence_text(l.sequence)),
            epoch: ledger.map(|l| l.epoch),
            data,
            photosgone: None,
            historical: None,
        }
    }

    /// Its JSON, in one line, without a line end.
    ///
    /// # Errors
    /// Only where the data can't be JSON (a map with keys that are not text).
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads one from JSON and checks its type.
    ///
    /// # Errors
    /// Too large, not JSON, not of this shape, or of another type.
    pub fn from_json(json: &[u8]) -> Result<Self, EventError> {
        if json.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLarge(json.len()));
        }
        // The type first: of two errors it is the one that says more.
        let header = Header::from_json(json)?;
        if header.kind != T::TYPE {
            return Err(EventError::Type { expected: T::TYPE, found: header.kind });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// Its place in the ledger, where it has one that can be read.
    #[must_use]
    pub fn ledger(&self) -> Option<Ledger> {
        parse_ledger(self.epoch, self.sequence.as_deref())
    }

    /// Whether this photo will not come.
    #[must_use]
    pub fn is_gone(&self, photo: PhotoKind) -> bool {
        self.photosgone.as_ref().is_some_and(|gone| gone.split(',').any(|k| k == photo.name()))
    }
}

fn parse_ledger(epoch: Option<Uuid>, sequence: Option<&str>) -> Option<Ledger> {
    Some(Ledger { epoch: epoch?, sequence: sequence?.parse().ok()? })
}

/// What every event says about itself, whatever its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Unique with `source`.
    pub id: Uuid,
    /// Which camera.
    pub source: Source,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub time: Timestamp,
    #[serde(default)]
    sequence: Option<String>,
    #[serde(default)]
    epoch: Option<Uuid>,
    /// Older than the live window when sent.
    #[serde(default)]
    pub historical: bool,
    #[serde(rename = "specversion")]
    _specversion: SpecVersion,
    #[serde(skip)]
    _data: PhantomData<()>,
}

impl Header {
    /// Reads the envelope and skips the data.
    ///
    /// # Errors
    /// Too large, or not an envelope.
    pub fn from_json(json: &[u8]) -> Result<Self, EventError> {
        if json.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLarge(json.len()));
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// Its place in the ledger, where it has one that can be read.
    #[must_use]
    pub fn ledger(&self) -> Option<Ledger> {
        parse_ledger(self.epoch, self.sequence.as_deref())
    }
}

/// A kept body as it is sent: with the photos that will not come, where there are any, and `historical`.
/// `body` is what [`Event::to_json`] wrote for an event without them; anything that does not end in `}`
/// comes back as it is.
#[must_use]
pub fn sending(body: &[u8], photos_gone: &[PhotoKind], historical: bool) -> Vec<u8> {
    let Some(open) = body.strip_suffix(b"}") else { return body.to_vec() };
    [open, suffix(photos_gone, historical).as_bytes()].concat()
}

fn suffix(photos_gone: &[PhotoKind], historical: bool) -> String {
    let names: Vec<_> = photos_gone.iter().map(|kind| kind.name()).collect();
    let gone = match names[..] {
        [] => String::new(),
        _ => format!(",\"photosgone\":\"{}\"", names.join(",")),
    };
    format!("{gone},\"historical\":{historical}}}")
}

/// A kept body with another place in the ledger: what a record gets that comes over from a damaged
/// store.
///
/// # Errors
/// Where the body is not an event in JSON.
pub fn in_ledger(body: &[u8], ledger: Ledger) -> Result<Vec<u8>, serde_json::Error> {
    let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)?;
    event.insert("sequence".into(), sequence_text(ledger.sequence).into());
    event.insert("epoch".into(), ledger.epoch.to_string().into());
    serde_json::to_vec(&event)
}

fn sequence_text(sequence: u64) -> String {
    format!("{sequence:0SEQUENCE_DIGITS$}")
}

/// The kept body of a sending: the inverse of [`sending`], and what the ledger's chain is over. `None`
/// where the payload does not end as a sending does.
#[must_use]
pub fn kept(payload: &[u8]) -> Option<Vec<u8>> {
    use PhotoKind::{Context, Plate};
    // The longest first: each ends as the last one does.
    let gone: [&[PhotoKind]; 4] = [&[Plate, Context], &[Plate], &[Context], &[]];
    let ends = gone.iter().flat_map(|gone| [true, false].map(|h| suffix(gone, h)));
    ends.into_iter().find_map(|end| {
        let open = payload.strip_suffix(end.as_bytes())?;
        Some([open, b"}"].concat())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Status, UnreadPass, examples};

    #[test]
    fn a_kept_body_and_its_sendings_differ_in_historical_alone() {
        let kept = examples::read();
        let body = kept.to_json().unwrap();
        for historical in [true, false] {
            let sent = Event::from_json(&sending(&body, &[], historical)).unwrap();
            assert_eq!(sent, Event { historical: Some(historical), ..kept.clone() });
            assert_eq!(super::kept(&sending(&body, &[], historical)), Some(body.clone()));
            for gone in [&[PhotoKind::Context][..], &PhotoKind::ALL] {
                let sent = sending(&body, gone, historical);
                assert_eq!(super::kept(&sent), Some(body.clone()));
                let sent = Event::<crate::Read>::from_json(&sent).unwrap();
                assert!(sent.is_gone(PhotoKind::Context) && sent.historical == Some(historical));
                assert_eq!(sent.is_gone(PhotoKind::Plate), gone.len() == 2);
            }
        }
    }

    #[test]
    fn a_record_that_comes_over_differs_in_its_place_alone() {
        let kept = examples::read();
        let ledger = Ledger { epoch: Uuid::max(), sequence: 7 };
        let moved = in_ledger(&kept.to_json().unwrap(), ledger).unwrap();
        let moved = Event::<crate::Read>::from_json(&moved).unwrap();
        assert_eq!(moved.ledger(), Some(ledger));
        assert_eq!(Event { sequence: kept.sequence.clone(), epoch: kept.epoch, ..moved }, kept);
        assert!(in_ledger(b"[]", ledger).is_err());
    }

    #[test]
    fn an_event_of_another_type_is_refused_by_name() {
        let body = examples::read().to_json().unwrap();
        let error = Event::<UnreadPass>::from_json(&body).unwrap_err();
        assert!(matches!(error, EventError::Type { .. }), "{error}");
        assert!(Event::<Status>::from_json(b"{}").is_err());
        assert!(Event::<Status>::from_json(&vec![b' '; MAX_EVENT_BYTES + 1]).is_err());
    }

    #[test]
    fn sequences_sort_as_text_as_they_do_as_numbers() {
        let text = |n| {
            let ledger = Ledger { epoch: Uuid::nil(), sequence: n };
            let root = Root::new("a", "b", "c").unwrap();
            let data = examples::unread_pass().data;
            let event =
                Event::new(Uuid::nil(), root.source(), Timestamp::UNIX_EPOCH, Some(ledger), data);
            assert_eq!(event.ledger(), Some(ledger));
            event.sequence.unwrap()
        };
        assert!(text(9) < text(10) && text(10) < text(u64::MAX));
    }

    #[test]
    fn a_source_names_three_levels_and_nothing_else() {
        assert!("urn:milepost:a:b:c".parse::<Source>().is_ok());
        for bad in ["urn:milepost:a:b", "urn:milepost:a:b:c:d", "urn:milepost:a:b/x:c", "a:b:c", ""]
        {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }
}
