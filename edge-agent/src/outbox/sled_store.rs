//! The store on sled 0.34.
//!
//! sled's `flush` calls `sync_file_range`, which orders no metadata and empties no disk cache:
//! after each flush that must count, the file `db` is fsynced by us, and the folders once at open
//! (measured with simulated power cuts: without it acknowledged records are lost).
//!
//! Keys, in one tree so that one batch is atomic: `r` + sequence (8 bytes, big-endian) → id and
//! sealed record; `i` + id (16 bytes) → sequence; `c` + sequence → chain; `m` + name → epoch, last
//! sequence, count, facts. What a record says is readable with its data key alone, bound to its
//! epoch and sequence.
//!
//! sled gives no space back: a store that is drained and large is copied into a fresh one
//! ([`super::generation`]).

use std::{
    fs::{self, File, TryLockError},
    ops::RangeInclusive,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use milepost_wire::{Chain, LedgerPosition};
use sled::{Batch, Db};
use uuid::Uuid;

use super::{
    generation::Generation,
    mark::{self, Mark},
    store::{Change, Fact, Loss, Record, Store, StoreError, Stored},
};
use crate::{
    durable,
    sealing::{KeyUse, Keyring, SealingError},
};

/// sled's cache. Its default of 1 GB is more than the whole agent may have.
const CACHE_BYTES: u64 = 8 << 20;
/// With more records than this the store is not drained.
const COMPACT_RECORDS: u64 = 1000;
/// Entries copied in one batch.
const COPY_BATCH: usize = 1000;
/// How long a store that was just closed may be in use still.
const REOPEN_LIMIT: Duration = Duration::from_secs(5);
/// Between two tries.
const REOPEN_PAUSE: Duration = Duration::from_millis(5);
/// Read and written at once when a file is written over itself.
const REWRITE_CHUNK: usize = 1 << 20;
/// Bytes of the id before a sealed record.
pub(super) const ID_BYTES: usize = 16;

const EPOCH: &[u8] = b"mepoch";
const LAST: &[u8] = b"mlast";
const COUNT: &[u8] = b"mcount";

const fn fact_key(fact: Fact) -> &'static [u8] {
    match fact {
        Fact::OrderlyStop => b"mstop",
        Fact::BootId => b"mboot",
        Fact::ManifestTo => b"mmanifest",
    }
}

/// A store in a folder of its own.
#[derive(Debug)]
pub struct SledStore {
    /// `None` while it could not be opened again after a failure.
    state: RwLock<Option<State>>,
    openings: AtomicU64,
    mark: Mark,
    /// The last position known: it is asked for while the store is opened again, too.
    known: Mutex<LedgerPosition>,
    generation: Mutex<Generation>,
    keyring: Keyring,
}

#[derive(Debug)]
struct State {
    db: Db,
    /// `<folder>/db`, to fsync it.
    file: File,
    folder: PathBuf,
    epoch: Uuid,
    /// As of the last commit; apart, so that asking for them never waits for the disk.
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    last: u64,
    count: u64,
}

fn key(prefix: u8, sequence: u64) -> [u8; 9] {
    let mut key = [prefix; 9];
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

/// What a sealed record is bound to.
fn context(epoch: Uuid, sequence: u64) -> Vec<u8> {
    [&b"record"[..], epoch.as_bytes(), &sequence.to_be_bytes()].concat()
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

fn io(path: &Path, error: &std::io::Error) -> StoreError {
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
fn mend(generation: &Generation) -> Result<bool, StoreError> {
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
fn open_state(generation: &Generation, begin: bool) -> Result<State, StoreError> {
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

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
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

    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<sled::IVec>, StoreError> {
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
        self.set_numbers(Numbers { last: self.meta(LAST)?, count: self.meta(COUNT)? });
        Ok(())
    }

    fn numbers(&self) -> Numbers {
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn position(&self) -> LedgerPosition {
        LedgerPosition { epoch: self.epoch, last_sequence: self.numbers().last }
    }

    fn set_numbers(&self, numbers: Numbers) {
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|e| self.error(&e))?;
        self.file.sync_all().map_err(|e| io(&self.folder.join("db"), &e))
    }

    fn error(&self, error: &sled::Error) -> StoreError {
        from_sled(&self.folder, error)
    }

    /// Every entry into a fresh store, batch by batch.
    fn copy_to(&self, db: &Db) -> Result<(), StoreError> {
        let (mut batch, mut size) = (Batch::default(), 0);
        for item in self.db.iter() {
            let (key, value) = item.map_err(|e| self.error(&e))?;
            batch.insert(key, value);
            size += 1;
            if size == COPY_BATCH {
                db.apply_batch(std::mem::take(&mut batch)).map_err(|e| self.error(&e))?;
                size = 0;
            }
        }
        db.apply_batch(batch).map_err(|e| self.error(&e))
    }
}

impl SledStore {
    /// Opens or makes the store of an outbox's folder. `begin`: where it is empty, a new ledger
    /// begins; else that is damage.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where its content is not what was written; else the disk.
    pub fn open(place: &Path, keyring: Keyring, begin: bool) -> Result<Self, StoreError> {
        let generation = Generation::current(place).map_err(|e| io(place, &e))?;
        if generation.suspicion().exists() {
            mend(&generation)?;
        }
        let store = Self::open_generation(generation.clone(), keyring, Mark::open(place), begin)?;
        let now = store.position();
        if !begin && mark::is_damaged(place) {
            let why = "its mark is damaged, so whether it has gone back can't be told";
            return Err(StoreError::Damaged(why.into()));
        }
        if let Some(before) = mark::read(place).filter(|before| before.epoch == now.epoch)
            && before.last_sequence > now.last_sequence
        {
            let (was, is) = (before.last_sequence, now.last_sequence);
            return Err(StoreError::Damaged(format!("it has gone back from {was} to {is}")));
        }
        generation.select().map_err(|e| io(place, &e))?;
        generation.remove_others().map_err(|e| io(place, &e))?;
        Ok(store)
    }

    /// Opens one that was set aside.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_aside(folder: &Path, keyring: Keyring) -> Result<Self, StoreError> {
        let generation = Generation::aside(folder)
            .ok_or_else(|| StoreError::Failed("not a store's folder".into()))?;
        Self::open_generation(generation, keyring, Mark::none(), false)
    }

    fn open_generation(
        generation: Generation,
        keyring: Keyring,
        mark: Mark,
        begin: bool,
    ) -> Result<Self, StoreError> {
        let state = open_state(&generation, begin)?;
        let known = Mutex::new(state.position());
        let state = RwLock::new(Some(state));
        let openings = AtomicU64::new(0);
        Ok(Self { state, openings, mark, known, generation: Mutex::new(generation), keyring })
    }

    /// Goes through everything: that the records, their ids, the chain and the position agree. Says
    /// how many records can't be read.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where they do not; else the disk.
    pub fn check(&self) -> Result<u64, StoreError> {
        let damaged = |why: &str| Err(StoreError::Damaged(why.into()));
        let (mut next, mut count, mut unreadable) = (0, 0, 0);
        let position = self.position();
        loop {
            let page = self.stored(next, COPY_BATCH)?;
            let Some(end) = page.last() else { break };
            next = end.sequence().saturating_add(1);
            for stored in page {
                let sequence = stored.sequence();
                count += 1;
                if self.chain_after(sequence)?.is_none() {
                    return damaged("a record without its link of the chain");
                }
                let id = match stored {
                    Stored::Record(record) => record.id,
                    Stored::Unreadable { id, .. } => {
                        unreadable += 1;
                        id
                    }
                };
                if self.sequence_of(id)? != Some(sequence) {
                    return damaged("an id that leads to another record");
                }
            }
        }
        let beyond = key(b'r', position.last_sequence.saturating_add(1))..=key(b'r', u64::MAX);
        if self.read(|state| Ok(state.db.range(beyond).next().is_some()))? {
            return damaged("a record beyond the last sequence");
        }
        if count != self.count() {
            return damaged("records are missing");
        }
        if self.chain_after(position.last_sequence)?.is_none() {
            return damaged("the last link of the chain is missing");
        }
        Ok(unreadable)
    }

    fn read<T>(&self, work: impl FnOnce(&State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        work(state.as_ref().ok_or_else(|| StoreError::Failed("the store is not open".into()))?)
    }

    fn set(&self, state: Option<State>) -> Option<State> {
        let position = self.position();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = position;
        let mut slot = self.state.write().unwrap_or_else(PoisonError::into_inner);
        self.openings.fetch_add(1, Ordering::Relaxed);
        std::mem::replace(&mut *slot, state)
    }

    fn generation(&self) -> MutexGuard<'_, Generation> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sealed(&self, epoch: Uuid, record: &Record) -> Result<Vec<u8>, StoreError> {
        let usage = if record.held { KeyUse::Hold } else { KeyUse::Data };
        let (context, plain) = (context(epoch, record.sequence), record.encode()?);
        let sealed = self.keyring.seal_under(record.key, usage, &context, &plain);
        let sealed = sealed.map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok([record.id.as_bytes(), &sealed[..]].concat())
    }

    fn page(
        &self,
        state: &State,
        entries: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Result<Vec<Stored>, StoreError> {
        entries
            .map(|item| {
                let (key, value) = item.map_err(|e| state.error(&e))?;
                self.unsealed(state.epoch, number(&key[1..])?, &value)
            })
            .collect()
    }

    fn unsealed(&self, epoch: Uuid, sequence: u64, value: &[u8]) -> Result<Stored, StoreError> {
        let (id, sealed) = value
            .split_at_checked(ID_BYTES)
            .ok_or_else(|| StoreError::Damaged(format!("record {sequence}: too short")))?;
        let id = Uuid::from_slice(id).map_err(|e| StoreError::Damaged(e.to_string()))?;
        let unreadable = |loss| Stored::Unreadable { sequence, id, loss };
        Ok(match self.keyring.unseal(&context(epoch, sequence), sealed) {
            Ok(plain) => Record::decode(sequence, &plain)
                .ok()
                .filter(|r| r.id == id)
                .map(|record| Record { key: Keyring::key_of(sealed).ok(), ..record })
                .map_or(unreadable(Loss::Damaged), Stored::Record),
            Err(SealingError::KeyGone { .. }) => unreadable(Loss::Aged),
            Err(SealingError::Damaged(_) | SealingError::KeyDamaged { .. }) => {
                unreadable(Loss::Damaged)
            }
            Err(_) => unreadable(Loss::OutOfReach),
        })
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
        self.read(|state| {
            let mut batch = Batch::default();
            let before = state.numbers();
            let Numbers { mut last, mut count } = before;
            for (sequence, id) in &change.delete {
                let key = key(b'r', *sequence);
                if state.get(key)?.is_some() {
                    count = count.saturating_sub(1);
                }
                batch.remove(&key);
                batch.remove(&id_key(*id));
            }
            for record in &change.put {
                batch.insert(&key(b'r', record.sequence), self.sealed(state.epoch, record)?);
                batch.insert(&id_key(record.id), &record.sequence.to_be_bytes());
                if record.sequence > before.last {
                    count += 1;
                    last = last.max(record.sequence);
                }
            }
            for (sequence, chain) in &change.links {
                batch.insert(&key(b'c', *sequence), chain.as_bytes());
            }
            for item in state.db.range(key(b'c', 0)..key(b'c', change.unlink_below)).keys() {
                batch.remove(item.map_err(|e| state.error(&e))?);
            }
            for (fact, value) in &change.facts {
                match value {
                    Some(value) => batch.insert(fact_key(*fact), value.as_slice()),
                    None => batch.remove(fact_key(*fact)),
                }
            }
            batch.insert(LAST, &last.to_be_bytes());
            batch.insert(COUNT, &count.to_be_bytes());
            state.db.apply_batch(batch).map_err(|e| state.error(&e))?;
            if change.must_last() {
                state.sync()?;
            } else {
                state.db.flush().map_err(|e| state.error(&e))?;
            }
            state.set_numbers(Numbers { last, count });
            self.mark.write(LedgerPosition { epoch: state.epoch, last_sequence: last });
            Ok(())
        })
    }

    fn stored(&self, first: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.read(|state| {
            // What is not durable yet is not there yet: it could be sent, lost, and its number given
            // again.
            let range = key(b'r', first)..=key(b'r', state.numbers().last.max(first));
            let durable = if first <= state.numbers().last { limit } else { 0 };
            self.page(state, state.db.range(range).take(durable))
        })
    }

    fn newest(
        &self,
        sequences: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.read(|state| {
            let last = state.numbers().last.min(*sequences.end());
            let durable = if *sequences.start() <= last { limit } else { 0 };
            let range = key(b'r', *sequences.start())..=key(b'r', last.max(*sequences.start()));
            self.page(state, state.db.range(range).rev().take(durable))
        })
    }

    fn sequence_of(&self, id: Uuid) -> Result<Option<u64>, StoreError> {
        self.read(|state| state.get(id_key(id))?.map(|bytes| number(&bytes)).transpose())
    }

    fn chain_after(&self, sequence: u64) -> Result<Option<Chain>, StoreError> {
        self.read(|state| {
            if sequence == 0 {
                return Ok(Some(Chain::start(state.epoch)));
            }
            let found = state.get(key(b'c', sequence))?;
            let chain = found.map(|bytes| <[u8; 32]>::try_from(&bytes[..]).map(Chain::from));
            chain.transpose().map_err(|_| StoreError::Damaged("a link of wrong size".into()))
        })
    }

    fn fact(&self, fact: Fact) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|state| Ok(state.get(fact_key(fact))?.map(|bytes| bytes.to_vec())))
    }

    fn position(&self) -> LedgerPosition {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(|state| Ok(state.position())).unwrap_or(known)
    }

    fn count(&self) -> u64 {
        self.read(|state| Ok(state.numbers().count)).unwrap_or_default()
    }

    fn bytes(&self) -> u64 {
        let folder = self.generation().folder();
        fs::metadata(folder.join("db")).map_or(0, |file| file.len())
    }

    fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    fn compact(&self, min_bytes: u64) -> Result<bool, StoreError> {
        if self.bytes() < min_bytes || self.count() > COMPACT_RECORDS {
            return Ok(false);
        }
        let next = self.generation().next();
        let failed = |e: std::io::Error| io(&next.folder(), &e);
        next.remove().map_err(failed)?;
        let fresh = self.read(|state| {
            let fresh = State {
                epoch: state.epoch,
                numbers: Mutex::new(state.numbers()),
                ..State::open(&next, true)?
            };
            state.copy_to(&fresh.db)?;
            fresh.sync()?;
            sync_folder(&fresh.folder)?;
            Ok(fresh)
        })?;
        // Where that fails the pointer may have moved all the same: it is gone on with what is new.
        if let Err(error) = next.select() {
            tracing::warn!(%error, "the new store is in use, but may not be found at the next start");
        }
        drop(self.set(Some(fresh)));
        let old = std::mem::replace(&mut *self.generation(), next);
        if let Err(error) = old.remove() {
            tracing::warn!(%error, "the store before could not be deleted; done at the next start");
        }
        Ok(true)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let generation = self.generation().clone();
        drop(self.set(None));
        // On a disk that is full or broken it may not come to be; then only a restart in this
        // very state is not covered.
        let _ = File::create(generation.suspicion());
        let there = mend(&generation)?;
        let state = open_state(&generation, !there)?;
        let (known, now) = (self.position(), state.position());
        if known.epoch == now.epoch && known.last_sequence > now.last_sequence {
            let (was, is) = (known.last_sequence, now.last_sequence);
            return Err(StoreError::Damaged(format!("it has gone back from {was} to {is}")));
        }
        self.set(Some(state));
        Ok(())
    }

    fn replace(&self) -> Result<PathBuf, StoreError> {
        let mut generation = self.generation();
        let failed = |e: std::io::Error| io(&generation.folder(), &e);
        drop(self.set(None));
        let aside = generation.quarantine(Timestamp::now()).map_err(failed)?;
        let next = generation.next();
        next.remove().map_err(failed)?;
        let state = State::open_again(&next, true)?;
        if let Err(error) = next.select() {
            tracing::warn!(%error, "the new store is in use, but may not be found at the next start");
        }
        *generation = next;
        drop(generation);
        self.set(Some(state));
        Ok(aside)
    }
}
