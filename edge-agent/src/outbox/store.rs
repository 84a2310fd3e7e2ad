//! What the outbox needs of a store, and the shape of a record in it.

use std::{ops::RangeInclusive, path::PathBuf};

use jiff::Timestamp;
use milepost_wire::{LedgerPosition, PhotoKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Shape of a stored record; a store with another is not ours to guess at.
const FORMAT: u8 = 1;

/// Which topic a record goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `reads`.
    Read,
    /// `unread_passes`.
    UnreadPass,
    /// `ledger`: what the pole says of itself, e.g. what it had to give up.
    Ledger,
}

/// A photo that a record names; the file is found by the record's id and this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhotoRef {
    /// Which of the two.
    pub kind: PhotoKind,
    /// Size of the file.
    pub bytes: u64,
}

/// A kept record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the ledger.
    pub sequence: u64,
    /// Its event's id.
    pub id: Uuid,
    /// Which topic it goes to.
    pub kind: Kind,
    /// Exposure time.
    pub captured_at: Timestamp,
    /// Photos that are kept with it.
    pub photos: Vec<PhotoRef>,
    /// Its event without `historical`.
    pub body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    id: Uuid,
    kind: Kind,
    captured_at: Timestamp,
    photos: Vec<PhotoRef>,
}

impl Record {
    /// Bytes of its photos.
    #[must_use]
    pub fn photo_bytes(&self) -> u64 {
        self.photos.iter().map(|p| p.bytes).sum()
    }

    /// Format, length of the head (2 bytes, big-endian), head as JSON, body.
    ///
    /// # Errors
    /// Only where the head can't be JSON or is longer than 65 535 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let Self { sequence: _, id, kind, captured_at, photos, body } = self;
        let head = Head { id: *id, kind: *kind, captured_at: *captured_at, photos: photos.clone() };
        let head = serde_json::to_vec(&head).map_err(|e| StoreError::Failed(e.to_string()))?;
        let length = u16::try_from(head.len()).map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok([&[FORMAT][..], &length.to_be_bytes(), &head, body].concat())
    }

    /// The inverse of [`Self::encode`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for anything that `encode` did not write.
    pub fn decode(sequence: u64, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |why: &str| StoreError::Damaged(format!("record {sequence}: {why}"));
        let [format, high, low, rest @ ..] = bytes else { return Err(damaged("too short")) };
        if *format != FORMAT {
            return Err(damaged("unknown format"));
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (head, body) = rest.split_at_checked(length).ok_or_else(|| damaged("too short"))?;
        let Head { id, kind, captured_at, photos } =
            serde_json::from_slice(head).map_err(|e| damaged(&e.to_string()))?;
        Ok(Self { sequence, id, kind, captured_at, photos, body: body.into() })
    }
}

/// One atomic change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Records to write; one with a sequence that is there is replaced.
    pub put: Vec<Record>,
    /// Records to delete.
    pub delete: Vec<(u64, Uuid)>,
}

/// Why a store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What is there is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Another handle has it open still.
    #[error("the store is in use")]
    InUse,
    /// The folder or the disk, not the content.
    #[error("{path}: {why}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// A durable map from sequence to record that also knows its ids and the ledger's position.
pub trait Store: Send + Sync {
    /// Makes a change, all or nothing. A change that puts records is durable when this returns; one
    /// that only deletes may be undone by a power cut. `position` moves to the last record put.
    ///
    /// # Errors
    /// The change may have been made, or not; [`Self::position`] then tells.
    fn commit(&self, change: &Change) -> Result<(), StoreError>;

    /// Records from `first` on, in order, at most `limit`.
    ///
    /// # Errors
    /// The disk or a damaged record.
    fn records(&self, first: u64, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// Records of a range, newest first, at most `limit`: fewer are all that the range has.
    ///
    /// # Errors
    /// The disk or a damaged record.
    fn newest(
        &self,
        sequences: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// One record.
    ///
    /// # Errors
    /// The disk or a damaged record.
    fn record(&self, sequence: u64) -> Result<Option<Record>, StoreError> {
        Ok(self.records(sequence, 1)?.pop().filter(|r| r.sequence == sequence))
    }

    /// The sequence of an id.
    ///
    /// # Errors
    /// The disk.
    fn sequence_of(&self, id: Uuid) -> Result<Option<u64>, StoreError>;

    /// Epoch and last sequence given.
    fn position(&self) -> LedgerPosition;

    /// Records in it.
    fn count(&self) -> u64;
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(id in any::<u128>(), body in vec(any::<u8>(), 0..200), photo in any::<bool>()) {
            let record = Record {
                sequence: 7,
                id: Uuid::from_u128(id),
                kind: Kind::Read,
                captured_at: Timestamp::UNIX_EPOCH,
                photos: photo.then_some(PhotoRef { kind: PhotoKind::Plate, bytes: 3 }).into_iter().collect(),
                body,
            };
            prop_assert_eq!(Record::decode(7, &record.encode().unwrap()), Ok(record));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Record::decode(1, &bytes);
        }
    }
}
