//! sled's database as the store has it open: opening, mending and fsync.
//!
//! sled's `flush` calls `sync_file_range`, which orders no metadata and empties no disk cache: after each
//! flush that must count, the file `db` is fsynced by us, and the folders once at open (measured with
//! simulated power cuts: without it acknowledged records are lost).

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use milepost_wire::LedgerPosition;
use sled::{Batch, Db};
use uuid::Uuid;

use super::{generation::Generation, index::LINKS, store::StoreError};
use crate::durable;

/// sled's cache. Its default of 1 GB is more than the whole agent may have.
const CACHE_BYTES: u64 = 8 << 20;
/// A store is written over itself, opened and gone through at this pace at the least: 5 MB a second.
const NS_PER_BYTE: u64 = 200;
/// Copied in one batch.
const COPY_BYTES: usize = 256 << 10;
/// How long a store that was just closed may be in use still.
const REOPEN_LIMIT: Duration = Duration::from_secs(5);
/// Between two tries.
const REOPEN_PAUSE: Duration = Duration::from_millis(5);
/// Read and written at once when a file is written over itself.
const REWRITE_CHUNK: usize = 1 << 20;
const EPOCH: &[u8] = b"mepoch";
pub(super) const LAST: &[u8] = b"mlast";
pub(super) const COUNT: &[u8] = b"mcount";
/// Before the sequence of a record on hold that the server has.
pub(super) const DELIVERED: u8 = b'd';

/// How long a store of so many bytes may take to be mended, opened and gone through, beyond what a small
/// one takes.
pub(super) const fn opening_time(bytes: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(NS_PER_BYTE))
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) db: Db,
    /// `<folder>/db`, to fsync it.
    file: File,
    pub(super) folder: PathBuf,
    pub(super) epoch: Uuid,
    /// As of the last commit; apart, so that asking for them never waits for the disk.
    pub(super) numbers: Mutex<Numbers>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Numbers {
    pub(super) last: u64,
    pub(super) count: u64,
    /// Of these, on hold and with the server already: those with a [`DELIVERED`] mark.
    pub(super) delivered: u64,
    /// Up to this one nothing stands alone any more.
    pub(super) packed_to: u64,
}

pub(super) fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes =
        bytes.try_into().map_err(|_| StoreError::Damaged("a number of wrong size".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

fn open_db(folder: &Path) -> Result<(Db, File), StoreError> {
    let db = sled::Config::new()
        .path(folder)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .open()
        .map_err(|e| from_sled(folder, &e))?;
    let file = File::options().write(true).open(folder.join("db")).map_err(|e| io(folder, &e))?;
    Ok((db, file))
}

pub(super) fn io(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Io { path: path.into(), why: error.to_string() }
}

/// Writes a file over itself and fsyncs it. After an fsync that failed, the kernel takes what it could
/// not write for written: it is read from memory, a next fsync succeeds, and a power cut loses it.
///
/// Holds sled's own lock meanwhile: its threads may still write for a moment after it was dropped, and
/// what they write must not be overwritten with what was read before.
fn write_again(path: &Path) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let until = Instant::now() + REOPEN_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(REOPEN_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    let mut chunk = vec![0; REWRITE_CHUNK];
    let mut at = 0;
    loop {
        let bytes = file.read_at(&mut chunk, at)?;
        if bytes == 0 {
            return file.sync_all();
        }
        file.write_all_at(&chunk[..bytes], at)?;
        at += bytes as u64;
    }
}

/// Makes a store sound again that a failed commit left behind; says whether there is one. Where it was
/// set aside and the next could not be made, there is none.
pub(super) fn mend(generation: &Generation) -> Result<bool, StoreError> {
    let file = generation.folder().join("db");
    let there = file.exists();
    let written = if there { write_again(&file) } else { Ok(()) };
    match written.and_then(|()| fs::remove_file(generation.suspicion())) {
        Err(e) if durable::is_bad_medium(&e) => {
            Err(durable::unreadable_at(&file).map_or_else(|| io(&file, &e), bad_medium))
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io(&file, &e)),
        _ => Ok(there),
    }
}

/// Opens one, without its snapshots where they are what is damaged: sled makes them again from its log.
/// Where the disk can't read it any more, that is damage: nothing but another store helps.
pub(super) fn open_state(generation: &Generation, begin: bool) -> Result<State, StoreError> {
    let folder = generation.folder();
    let opened = match State::open_again(generation, begin) {
        // A disk that was full leaves half a snapshot, which sled takes for a damaged store.
        Err(StoreError::Damaged(why)) if remove_snapshots(&folder).is_ok_and(|any| any) => {
            tracing::warn!(%why, "the store is opened without its snapshots");
            State::open_again(generation, begin)
        }
        opened => opened,
    };
    opened.map_err(|error| match &error {
        StoreError::Io { .. } => {
            durable::unreadable_at(&folder.join("db")).map_or(error, bad_medium)
        }
        _ => error,
    })
}

/// Deletes sled's snapshots, whole and half-written ones; says whether there were any.
pub(super) fn remove_snapshots(folder: &Path) -> std::io::Result<bool> {
    let mut any = false;
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap.")) {
            fs::remove_file(path)?;
            any = true;
        }
    }
    Ok(any)
}

fn bad_medium(at: u64) -> StoreError {
    StoreError::Damaged(format!("the disk can't read it at byte {at}"))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    durable::sync_folder(folder).map_err(|e| io(folder, &e))
}

impl State {
    /// `begin`: an empty one is a new ledger; else it is one that has lost everything.
    fn open(generation: &Generation, begin: bool) -> Result<Self, StoreError> {
        let folder = generation.folder();
        let (db, file) = open_db(&folder)?;
        let mut state = Self { db, file, folder, epoch: Uuid::nil(), numbers: Mutex::default() };
        if state.get(EPOCH)?.is_none() {
            if !begin {
                return Err(StoreError::Damaged("nothing is left in it".into()));
            }
            let mut batch = Batch::default();
            batch.insert(EPOCH, Uuid::now_v7().as_bytes());
            batch.insert(LAST, &0u64.to_be_bytes());
            batch.insert(COUNT, &0u64.to_be_bytes());
            state.db.apply_batch(batch).map_err(|e| state.error(&e))?;
        }
        state.sync()?;
        sync_folder(&state.folder)?;
        let epoch = state.get(EPOCH)?.unwrap_or_default();
        state.epoch =
            Uuid::from_slice(&epoch).map_err(|e| StoreError::Damaged(format!("epoch: {e}")))?;
        state.refresh()?;
        Ok(state)
    }

    /// As [`Self::open`], after another handle on it was dropped: sled's own threads may hold it
    /// for a moment more.
    fn open_again(generation: &Generation, begin: bool) -> Result<Self, StoreError> {
        let until = Instant::now() + REOPEN_LIMIT;
        loop {
            match Self::open(generation, begin) {
                Err(StoreError::InUse) if Instant::now() < until => thread::sleep(REOPEN_PAUSE),
                other => return other,
            }
        }
    }

    pub(super) fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<sled::IVec>, StoreError> {
        self.db.get(key).map_err(|e| self.error(&e))
    }

    fn meta(&self, name: &[u8]) -> Result<u64, StoreError> {
        match self.get(name)? {
            Some(bytes) => number(&bytes),
            None => Err(StoreError::Damaged("the ledger's position is missing".into())),
        }
    }

    /// Takes position and count from what is there.
    fn refresh(&self) -> Result<(), StoreError> {
        // Not `count`: sled's iterator never ends at a page that can't be read.
        let mut marks = self.db.scan_prefix([DELIVERED]);
        let delivered = marks.try_fold(0, |n, mark| mark.map(|_| n + 1));
        let delivered = delivered.map_err(|e| self.error(&e))?;
        // What is wrong with it is met where it is needed.
        let packed_to = LINKS.last_packed(self).ok().flatten().unwrap_or_default();
        let (last, count) = (self.meta(LAST)?, self.meta(COUNT)?);
        self.set_numbers(Numbers { last, count, delivered, packed_to });
        Ok(())
    }

    pub(super) fn numbers(&self) -> Numbers {
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn position(&self) -> LedgerPosition {
        LedgerPosition { epoch: self.epoch, last_sequence: self.numbers().last }
    }

    pub(super) fn set_numbers(&self, numbers: Numbers) {
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|e| self.error(&e))?;
        self.file.sync_all().map_err(|e| io(&self.folder.join("db"), &e))
    }

    pub(super) fn error(&self, error: &sled::Error) -> StoreError {
        from_sled(&self.folder, error)
    }

    /// The same in another generation's folder, durably.
    pub(super) fn copied_to(&self, next: &Generation) -> Result<Self, StoreError> {
        let numbers = Mutex::new(self.numbers());
        let fresh = Self { epoch: self.epoch, numbers, ..Self::open(next, true)? };
        self.copy_to(&fresh.db)?;
        fresh.sync()?;
        sync_folder(&fresh.folder)?;
        Ok(fresh)
    }

    /// Every entry into a fresh store, batch by batch.
    fn copy_to(&self, db: &Db) -> Result<(), StoreError> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for item in self.db.iter() {
            let (key, value) = item.map_err(|e| self.error(&e))?;
            bytes += key.len() + value.len();
            batch.insert(key, value);
            if bytes >= COPY_BYTES {
                db.apply_batch(std::mem::take(&mut batch)).map_err(|e| self.error(&e))?;
                bytes = 0;
            }
        }
        db.apply_batch(batch).map_err(|e| self.error(&e))
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
