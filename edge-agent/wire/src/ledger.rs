//! The ledger: the gap-free sequence of everything the pole produced or had to give up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{event::Data, schema};

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

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

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
