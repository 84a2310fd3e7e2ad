//! The server's receipt: plain JSON, not an event, so that any server can write one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ledger::SequenceRange, schema};

/// Largest receipt that is read, in bytes.
pub const MAX_RECEIPT_BYTES: usize = 64 * 1024;
/// Most ids in one receipt.
pub const MAX_RECEIPT_IDS: usize = 1000;
/// Most ranges in one receipt.
pub const MAX_RECEIPT_RANGES: usize = 1000;

/// The server's word, on `receipts`, that it has **durably** stored these records and every photo
/// of theirs that it wants: the pole then deletes both. Sent once or many times, in any order, it
/// means the same; a record it does not know is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// Ids of events.
    #[serde(default)]
    #[schemars(length(max = 1000), schema_with = "schema::uuids")]
    pub ids: Vec<Uuid>,
    /// Sequences, within `epoch`. Taken only for records that the pole has sent since it started.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub sequences: Vec<SequenceRange>,
    /// The ledger that `sequences` counts in; must be given with them. A receipt for another epoch
    /// is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uuid")]
    pub epoch: Option<Uuid>,
}

/// What is wrong with a receipt. Nothing of a wrong one is taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Larger than [`MAX_RECEIPT_BYTES`].
    #[error("receipt of {0} bytes; at most {MAX_RECEIPT_BYTES} are read")]
    TooLarge(usize),
    /// Not JSON, or not of this shape.
    #[error("not a receipt: {0}")]
    Json(#[from] serde_json::Error),
    /// More ids or ranges than a receipt may have.
    #[error(
        "receipt with {ids} ids and {ranges} ranges; at most {MAX_RECEIPT_IDS} and {MAX_RECEIPT_RANGES}: split it"
    )]
    TooMany {
        /// Ids in it.
        ids: usize,
        /// Ranges in it.
        ranges: usize,
    },
    /// Sequences without the ledger they count in.
    #[error("receipt with sequences but no epoch")]
    NoEpoch,
    /// A range that ends before it begins.
    #[error("receipt with the range {from} to {to}, which ends before it begins")]
    Backwards {
        /// First.
        from: u64,
        /// Last.
        to: u64,
    },
    /// Nothing in it.
    #[error("receipt that names nothing")]
    Empty,
}

impl Receipt {
    /// Reads and checks one.
    ///
    /// # Errors
    /// Whatever is wrong first.
    pub fn from_json(json: &[u8]) -> Result<Self, ReceiptError> {
        if json.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::TooLarge(json.len()));
        }
        let receipt: Self = serde_json::from_slice(json)?;
        let (ids, ranges) = (receipt.ids.len(), receipt.sequences.len());
        if ids > MAX_RECEIPT_IDS || ranges > MAX_RECEIPT_RANGES {
            return Err(ReceiptError::TooMany { ids, ranges });
        }
        if ids == 0 && ranges == 0 {
            return Err(ReceiptError::Empty);
        }
        if ranges > 0 && receipt.epoch.is_none() {
            return Err(ReceiptError::NoEpoch);
        }
        if let Some(&SequenceRange { from, to }) = receipt.sequences.iter().find(|r| r.from > r.to)
        {
            return Err(ReceiptError::Backwards { from, to });
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_reading_a_receipt_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = Receipt::from_json(&bytes);
        }

        #[test]
        fn a_receipt_comes_back_as_it_was(ids in vec(any::<u128>(), 1..20), from in 1u64..9, n in 0u64..9) {
            let receipt = Receipt {
                ids: ids.into_iter().map(Uuid::from_u128).collect(),
                sequences: vec![SequenceRange { from, to: from + n }],
                epoch: Some(Uuid::nil()),
            };
            let json = serde_json::to_vec(&receipt).unwrap();
            prop_assert_eq!(Receipt::from_json(&json).unwrap(), receipt);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_of_it_taken() {
        let e = |json: &str| Receipt::from_json(json.as_bytes()).unwrap_err().to_string();
        assert!(e("{").contains("not a receipt"));
        assert!(e("{}").contains("names nothing"));
        assert!(e(r#"{"ids":["x"]}"#).contains("not a receipt"));
        assert!(e(r#"{"sequences":[{"from":1,"to":2}]}"#).contains("no epoch"));
        let epoch = Uuid::nil();
        let backwards = format!(r#"{{"sequences":[{{"from":3,"to":2}}],"epoch":"{epoch}"}}"#);
        assert!(e(&backwards).contains("ends before"));
        let many = serde_json::json!({ "ids": vec![epoch; 1001] }).to_string();
        assert!(e(&many).contains("split it"));
        assert!(e(&" ".repeat(MAX_RECEIPT_BYTES + 1)).contains("at most"));
    }
}
