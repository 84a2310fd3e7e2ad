//! The store on sled 0.34.
//!
//! sled's `flush` calls `sync_file_range`, which orders no metadata and empties no disk cache:
//! after each flush that must count, the file `db` is fsynced by us, and the folders once at open
//! (measured with simulated power cuts: without it acknowledged records are lost).
//!
//! Keys, in one tree so that one batch is atomic: `r` + sequence (8 bytes, big-endian) → record;
//! `i` + id (16 bytes) → sequence; `m` + name → epoch, last sequence.

use std::{
    fs::File,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use milepost_wire::LedgerPosition;
use sled::{Batch, Db};
use uuid::Uuid;

use super::store::{Change, Record, Store, StoreError};

/// sled's cache. Its default of 1 GB is more than the whole agent may have.
const CACHE_BYTES: u64 = 8 << 20;

const EPOCH: &[u8] = b"mepoch";
const LAST: &[u8] = b"mlast";

/// A store in a folder of its own.
#[derive(Debug)]
pub struct SledStore {
    db: Db,
    /// `<folder>/db`, to fsync it.
    file: File,
    folder: PathBuf,
    epoch: Uuid,
    count: AtomicU64,
}

fn record_key(sequence: u64) -> [u8; 9] {
    let mut key = [b'r'; 9];
    key[1..].copy_from_slice(&sequence.to_be_bytes());
    key
}

fn id_key(id: Uuid) -> [u8; 17] {
    let mut key = [b'i'; 17];
    key[1..].copy_from_slice(id.as_bytes());
    key
}

fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes =
        bytes.try_into().map_err(|_| StoreError::Damaged("a number of wrong size".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

impl SledStore {
    /// Opens or makes the store in `folder`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where its content is not what was written; else the disk.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let io =
            |e: &dyn std::fmt::Display| StoreError::Io { path: folder.into(), why: e.to_string() };
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(|e| from_sled(folder, &e))?;
        let file = File::options().write(true).open(folder.join("db")).map_err(|e| io(&e))?;
        let epoch = match db.get(EPOCH).map_err(|e| from_sled(folder, &e))? {
            Some(bytes) => {
                Uuid::from_slice(&bytes).map_err(|e| StoreError::Damaged(format!("epoch: {e}")))?
            }
            None => {
                let epoch = Uuid::now_v7();
                let mut batch = Batch::default();
                batch.insert(EPOCH, epoch.as_bytes());
                batch.insert(LAST, &0u64.to_be_bytes());
                db.apply_batch(batch).map_err(|e| from_sled(folder, &e))?;
                epoch
            }
        };
        let store = Self { db, file, folder: folder.into(), epoch, count: AtomicU64::new(0) };
        store.sync()?;
        for directory in [Some(folder), folder.parent()].into_iter().flatten() {
            File::open(directory).and_then(|d| d.sync_all()).map_err(|e| io(&e))?;
        }
        store.count.store(store.check()?, Ordering::Relaxed);
        Ok(store)
    }

    /// Counts the records, and that they and the ledger's position agree.
    fn check(&self) -> Result<u64, StoreError> {
        let last = self.last()?;
        let mut count = 0;
        for item in self.db.scan_prefix(b"r") {
            let (key, _) = item.map_err(|e| self.error(&e))?;
            count += 1;
            if number(&key[1..])? > last {
                return Err(StoreError::Damaged("a record beyond the last sequence".into()));
            }
        }
        Ok(count)
    }

    fn last(&self) -> Result<u64, StoreError> {
        match self.db.get(LAST).map_err(|e| self.error(&e))? {
            Some(bytes) => number(&bytes),
            None => Err(StoreError::Damaged("the last sequence is missing".into())),
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|e| self.error(&e))?;
        self.file
            .sync_all()
            .map_err(|e| StoreError::Io { path: self.folder.join("db"), why: e.to_string() })
    }

    fn read(
        &self,
        items: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Result<Vec<Record>, StoreError> {
        items
            .map(|item| {
                let (key, value) = item.map_err(|e| self.error(&e))?;
                Record::decode(number(&key[1..])?, &value)
            })
            .collect()
    }

    fn error(&self, error: &sled::Error) -> StoreError {
        from_sled(&self.folder, error)
    }
}

/// Content that is wrong is told from a disk or a folder that is: only the first is set aside.
fn from_sled(folder: &Path, error: &sled::Error) -> StoreError {
    use std::io::ErrorKind;
    match error {
        // sled gives its lock back only when its last thread has ended, after our own is free.
        sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => StoreError::InUse,
        sled::Error::Io(e)
            if !matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            StoreError::Io { path: folder.into(), why: e.to_string() }
        }
        sled::Error::CollectionNotFound(_) => StoreError::Failed(error.to_string()),
        _ => StoreError::Damaged(error.to_string()),
    }
}

impl Store for SledStore {
    fn commit(&self, change: &Change) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let (mut added, mut last) = (0_i64, None);
        let known = self.last()?;
        for (sequence, id) in &change.delete {
            let key = record_key(*sequence);
            if self.db.contains_key(key).map_err(|e| self.error(&e))? {
                added -= 1;
            }
            batch.remove(&key);
            batch.remove(&id_key(*id));
        }
        for record in &change.put {
            batch.insert(&record_key(record.sequence), record.encode()?);
            batch.insert(&id_key(record.id), &record.sequence.to_be_bytes());
            if record.sequence > known {
                added += 1;
                last = last.max(Some(record.sequence));
            }
        }
        if let Some(last) = last {
            batch.insert(LAST, &last.to_be_bytes());
        }
        self.db.apply_batch(batch).map_err(|e| self.error(&e))?;
        self.count.fetch_add_signed(added);
        if change.put.is_empty() {
            self.db.flush().map(drop).map_err(|e| self.error(&e))
        } else {
            self.sync()
        }
    }

    fn records(&self, first: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.read(self.db.range(record_key(first)..=record_key(u64::MAX)).take(limit))
    }

    fn newest(
        &self,
        sequences: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let keys = record_key(*sequences.start())..=record_key(*sequences.end());
        self.read(self.db.range(keys).rev().take(limit))
    }

    fn sequence_of(&self, id: Uuid) -> Result<Option<u64>, StoreError> {
        let found = self.db.get(id_key(id)).map_err(|e| self.error(&e))?;
        found.map(|bytes| number(&bytes)).transpose()
    }

    fn position(&self) -> LedgerPosition {
        LedgerPosition { epoch: self.epoch, last_sequence: self.last().unwrap_or_default() }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// `fetch_add` of a signed number, wrapping as two's complement does.
trait FetchAddSigned {
    fn fetch_add_signed(&self, n: i64);
}

impl FetchAddSigned for AtomicU64 {
    fn fetch_add_signed(&self, n: i64) {
        self.fetch_add(n.cast_unsigned(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::outbox::Kind;

    #[test]
    fn the_newest_come_first_and_only_those_of_the_range() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path()).unwrap();
        let record = |sequence: u64| Record {
            sequence,
            id: Uuid::from_u128(sequence.into()),
            kind: Kind::Read,
            captured_at: Timestamp::UNIX_EPOCH,
            photos: Vec::new(),
            body: Vec::new(),
        };
        let put = [1, 2, 4, 5, 300].map(record).into();
        store.commit(&Change { put, delete: Vec::new() }).unwrap();
        let newest = |range, limit| -> Vec<u64> {
            store.newest(range, limit).unwrap().iter().map(|r| r.sequence).collect()
        };
        assert_eq!(newest(0..=u64::MAX, 2), [300, 5]);
        assert_eq!(newest(2..=5, 10), [5, 4, 2]);
        assert!(newest(6..=299, 10).is_empty());
    }
}
