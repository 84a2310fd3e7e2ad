//! The ledger: the gap-free sequence of everything the pole produced or had to give up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    event::{Data, Event, EventError, Header},
    schema,
    time::{ClockStep, TimeCorrection},
};

/// Most ranges in one eviction; a store with more holes gives up less at a time.
pub const MAX_EVICTED_RANGES: usize = 64;

/// Sequences from `from` to `to`, both included.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct SequenceRange {
    /// First.
    #[schemars(range(min = 1))]
    pub from: u64,
    /// Last; not below `from`.
    #[schemars(range(min = 1))]
    pub to: u64,
}

impl SequenceRange {
    /// The ranges that hold exactly the numbers of `sorted`, which goes up.
    #[must_use]
    pub fn cover(sorted: &[u64]) -> Vec<Self> {
        let mut ranges: Vec<Self> = Vec::new();
        for &n in sorted {
            match ranges.last_mut() {
                Some(last) if last.to.checked_add(1) == Some(n) => last.to = n,
                _ => ranges.push(Self { from: n, to: n }),
            }
        }
        ranges
    }
}

/// Where a pole's ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerPosition {
    /// Which ledger.
    #[schemars(schema_with = "schema::uuid")]
    pub epoch: Uuid,
    /// The last sequence given; 0 where there is none yet.
    pub last_sequence: u64,
}

/// What the pole gave up because its store was full. Nothing disappears silently: this is itself
/// in the ledger, and the sequences that it names will not come any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Eviction {
    /// Whole records, or only their photos.
    pub evicted: Evicted,
    /// Which limit was reached.
    pub cause: EvictionCause,
    /// The records concerned.
    #[schemars(length(min = 1, max = 64))]
    pub sequences: Vec<SequenceRange>,
    /// How many records that is.
    pub records: u64,
    /// Bytes of photos given up.
    pub photo_bytes: u64,
}

impl Data for Eviction {
    const TYPE: &'static str = "org.milepost.alpr.eviction.v1";
    const IN_LEDGER: bool = true;
}

/// What was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evicted {
    /// Records with their photos.
    Records,
    /// Photos; their records still come.
    Photos,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvictionCause {
    /// `outbox.max_records`.
    MaxRecords,
    /// `outbox.max_photo_bytes`.
    MaxPhotoBytes,
}

macro_rules! ledger_events {
    ($($variant:ident $name:literal $meaning:literal,)*) => {
        /// What comes on the `ledger` topic.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum LedgerEvent {
            $(#[doc = $meaning] $variant(Event<$variant>),)*
            /// Of a type that this version does not know: it has its sequence and gets its receipt
            /// like any other.
            Other(Header),
        }

        /// (Name, meaning) of every known type; the name is that of its schema, too.
        pub const LEDGER_TYPES: &[(&str, &str)] = &[$(($name, $meaning),)*];

        impl LedgerEvent {
            /// Reads one by its `type`.
            ///
            /// # Errors
            /// No envelope, or data that is not of its type's shape.
            pub fn from_json(json: &[u8]) -> Result<Self, EventError> {
                let header = Header::from_json(json)?;
                Ok(match header.kind.as_str() {
                    $($variant::TYPE => Self::$variant(Event::from_json(json)?),)*
                    _ => Self::Other(header),
                })
            }

            /// Its type in one word.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Other(_) => "other",
                }
            }
        }
    };
}

// A new type: its line here, its schema and its example.
ledger_events! {
    Eviction "eviction" "Records or photos that the pole had to give up",
    ClockStep "clock_step" "The pole's clock was set",
    TimeCorrection "time_correction" "The true time of records taken with an unsynchronised clock",
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;
    use crate::examples;

    #[test]
    fn a_type_of_a_later_version_is_taken_by_its_envelope() {
        let step = examples::clock_step();
        let json = step.to_json().unwrap();
        assert_eq!(LedgerEvent::from_json(&json).unwrap(), LedgerEvent::ClockStep(step));
        let newer = String::from_utf8(json).unwrap().replace(ClockStep::TYPE, "org.example.new.v1");
        let event = LedgerEvent::from_json(newer.as_bytes()).unwrap();
        assert!(matches!(&event, LedgerEvent::Other(h) if h.ledger().is_some()), "{event:?}");
        assert!(LedgerEvent::from_json(b"{}").is_err());
    }

    proptest! {
        #[test]
        fn ranges_hold_exactly_what_they_cover(set in btree_set(1u64..60, 0..40)) {
            let sorted: Vec<_> = set.iter().copied().collect();
            let ranges = SequenceRange::cover(&sorted);
            let back: Vec<_> = ranges.iter().flat_map(|r| r.from..=r.to).collect();
            prop_assert_eq!(back, sorted);
            prop_assert!(ranges.windows(2).all(|w| w[0].to + 1 < w[1].from), "not merged");
        }
    }
}
