//! What the outbox needs of a store, and the shape of a record in it.

use std::{
    ops::{Range, RangeInclusive},
    path::PathBuf,
};

use jiff::Timestamp;
use milepost_wire::{Chain, LedgerPosition, PhotoKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::sealing::KeyId;

/// Shape of a stored record; a store with another is not ours to guess at.
const FORMAT: u8 = 1;

/// Of the links of the chain that lie far back, one in so many stays, for as long as the epoch lasts: at two
/// records a second 63,000 a year.
pub const LINK_STRIDE: u64 = 1000;

/// Which topic a record goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `reads`.
    Read,
    /// `alerts`.
    Alert,
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
    /// The server has put it on hold: it outlives its receipt, the configured age and the store's limits.
    pub held: bool,
    /// The server has it, and it is on hold: it is not sent any more.
    pub delivered: bool,
    /// The data key that it was sealed with: what it ages by. `None`: not sealed yet.
    pub key: Option<KeyId>,
    /// Its event without `historical`.
    pub body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    id: Uuid,
    kind: Kind,
    captured_at: Timestamp,
    photos: Vec<PhotoRef>,
    #[serde(default)]
    held: bool,
    #[serde(default)]
    delivered: bool,
}

impl Record {
    /// Bytes of its photos.
    #[must_use]
    pub fn photo_bytes(&self) -> u64 {
        self.photos.iter().map(|p| p.bytes).sum()
    }

    /// Format, length of the head (2 bytes, big-endian), head as JSON, body. Not the key.
    ///
    /// # Errors
    /// Only where the head can't be JSON or is longer than 65 535 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let Self { sequence: _, id, kind, captured_at, photos, held, delivered, key: _, body } =
            self;
        let (id, kind, captured_at, photos) = (*id, *kind, *captured_at, photos.clone());
        let (held, delivered) = (*held, *delivered);
        let head = Head { id, kind, captured_at, photos, held, delivered };
        let head = serde_json::to_vec(&head).map_err(|e| StoreError::Failed(e.to_string()))?;
        let length = u16::try_from(head.len()).map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok([&[FORMAT][..], &length.to_be_bytes(), &head, body].concat())
    }

    /// The inverse of [`Self::encode`]; the key is not known.
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
        let Head { id, kind, captured_at, photos, held, delivered } =
            serde_json::from_slice(head).map_err(|e| damaged(&e.to_string()))?;
        let body = body.into();
        Ok(Self { sequence, id, kind, captured_at, photos, held, delivered, key: None, body })
    }
}

/// What stands at a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A record.
    Record(Record),
    /// One that nobody can read any more.
    Unreadable {
        /// Its place in the ledger.
        sequence: u64,
        /// Its event's id.
        id: Uuid,
        /// Why.
        loss: Loss,
    },
}

/// Why a record can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its time had ended: its data key was destroyed.
    Aged,
    /// It is no longer what was written.
    Damaged,
    /// Its data key can't be used now, or another version of the agent wrote it: it may be readable again, and
    /// is kept.
    OutOfReach,
}

impl Stored {
    /// Its place in the ledger.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        match self {
            Self::Record(record) => record.sequence,
            Self::Unreadable { sequence, .. } => *sequence,
        }
    }

    /// The record, where it can be read.
    #[must_use]
    pub fn record(self) -> Option<Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Unreadable { .. } => None,
        }
    }
}

/// Small facts that the store keeps beside the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    /// There while the agent was stopped in order.
    OrderlyStop,
    /// The kernel's id of the boot that the agent last started in, as text.
    BootId,
    /// The last sequence that an hourly manifest covers, 8 bytes, big-endian.
    ManifestTo,
}

/// One atomic change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Records to write; one with a sequence that is there is replaced.
    pub put: Vec<Record>,
    /// Records to delete.
    pub delete: Vec<(u64, Uuid)>,
    /// The ledger's chain after each new record.
    pub links: Vec<(u64, Chain)>,
    /// Of the links of these sequences only those at whole multiples of [`LINK_STRIDE`] stay, and those of records
    /// that are there.
    pub thin_links: Range<u64>,
    /// Facts to set, or to delete (`None`).
    pub facts: Vec<(Fact, Option<Vec<u8>>)>,
}

impl Change {
    /// Whether it must survive a power cut: deletions alone may be undone by one.
    #[must_use]
    pub fn must_last(&self) -> bool {
        !self.put.is_empty() || !self.facts.is_empty()
    }
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

impl StoreError {
    /// Whether opening it again, or replacing it, may help.
    #[must_use]
    pub const fn is_of_the_store(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::Io { .. })
    }
}

/// A durable map from sequence to record that also knows its ids, the ledger's position and its
/// chain.
pub trait Store: Send + Sync {
    /// Makes a change, all or nothing; durable when this returns if it [must last](Change::must_last).
    /// `position` moves to the last record put.
    ///
    /// # Errors
    /// The change may have been made, or not; [`Self::position`] then tells.
    fn commit(&self, change: &Change) -> Result<(), StoreError>;

    /// What is there from sequence `first` on, in order, at most `limit`.
    ///
    /// # Errors
    /// The disk.
    fn stored(&self, first: u64, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// What is there of a range, newest first, at most `limit`.
    ///
    /// # Errors
    /// The disk.
    fn newest(
        &self,
        sequences: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError>;

    /// What is at one sequence.
    ///
    /// # Errors
    /// The disk.
    fn at(&self, sequence: u64) -> Result<Option<Stored>, StoreError> {
        Ok(self.stored(sequence, 1)?.pop().filter(|s| s.sequence() == sequence))
    }

    /// The sequence of an id.
    ///
    /// # Errors
    /// The disk.
    fn sequence_of(&self, id: Uuid) -> Result<Option<u64>, StoreError>;

    /// The ledger's chain after a sequence, from the epoch's start (0) on; `None` where it is not
    /// known any more or not yet.
    ///
    /// # Errors
    /// The disk.
    fn chain_after(&self, sequence: u64) -> Result<Option<Chain>, StoreError>;

    /// A fact.
    ///
    /// # Errors
    /// The disk.
    fn fact(&self, fact: Fact) -> Result<Option<Vec<u8>>, StoreError>;

    /// Epoch and last sequence given.
    fn position(&self) -> LedgerPosition;

    /// Records in it, readable or not.
    fn count(&self) -> u64;

    /// Of these, on hold and with the server already.
    fn delivered(&self) -> u64;

    /// Records that the server does not have.
    fn waiting(&self) -> u64 {
        self.count().saturating_sub(self.delivered())
    }

    /// Bytes on disk.
    fn bytes(&self) -> u64;

    /// How often it was opened: what was met before the last time says nothing of what is open now.
    fn openings(&self) -> u64;

    /// Gives back disk space where it has at least `min_bytes` and few records; says whether it did.
    /// Not while a commit runs.
    ///
    /// # Errors
    /// The store is as it was.
    fn compact(&self, min_bytes: u64) -> Result<bool, StoreError>;

    /// Makes what is there durable and opens it again, after a failure. Not while a commit runs.
    ///
    /// # Errors
    /// As opening; nothing can be read or kept until another try succeeds.
    fn reopen(&self) -> Result<(), StoreError>;

    /// Sets what is there aside and begins anew, with a new epoch; where it is now. Not while a
    /// commit runs.
    ///
    /// # Errors
    /// As opening; nothing can be read or kept until another try succeeds.
    fn replace(&self) -> Result<PathBuf, StoreError>;
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
                held: photo,
                delivered: photo,
                key: None,
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
