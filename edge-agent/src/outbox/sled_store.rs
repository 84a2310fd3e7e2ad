//! The store on sled 0.34.
//!
//! Keys, in one tree so that a power cut leaves all of one batch or nothing: `r` + sequence (8 bytes, big-endian) → id and
//! sealed record; `i` + id (16 bytes) → sequence; `c` + sequence → chain; `m` + name → epoch, last
//! sequence, count, facts. What lies far back of the first three stands in blocks, under `R`, `I` and `C`
//! ([`super::index`]). What a record says is readable with its data key alone, bound to its epoch and
//! sequence.
//!
//! sled gives no space back: a store that is drained and large is copied into a fresh one
//! ([`super::generation`]).

use std::{
    fs::{self, File},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use milepost_wire::{Chain, LedgerPosition};
use uuid::Uuid;

use super::{
    generation::Generation,
    index::{Edit, IDS, LINKS, RECORDS},
    mark::{self, Mark},
    sealed,
    sled_state::{COUNT, DELIVERED, LAST, Numbers, State, io, mend, number, open_state},
    store::{Change, Fact, LINK_STRIDE, Store, StoreError, Stored},
};
use crate::sealing::Keyring;

/// Records gone through at once.
const CHECKED: usize = 1000;
/// With more records than this the store is not drained.
const COMPACT_RECORDS: u64 = 1000;
/// So many sequences are young: what is kept and delivered meanwhile is written once. Half as many links, with
/// their records, are moved into blocks at once.
pub(super) const STANDING_ALONE: u64 = 512;
/// That is done so often before a commit.
const PACK_STEPS: u32 = 4;

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
    standing_alone: u64,
}

fn delivered_key(sequence: u64) -> [u8; 9] {
    let mut key = [DELIVERED; 9];
    key[1..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// A ledger does not lose its end: its numbers would be given a second time.
fn not_gone_back(before: LedgerPosition, now: LedgerPosition) -> Result<(), StoreError> {
    if before.epoch == now.epoch && before.last_sequence > now.last_sequence {
        let (was, is) = (before.last_sequence, now.last_sequence);
        return Err(StoreError::Damaged(format!("it has gone back from {was} to {is}")));
    }
    Ok(())
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
        let mut store = Self::open_generation(generation.clone(), keyring, Mark::none(), begin)?;
        let now = store.position();
        if !begin && mark::is_damaged(place, now) {
            let why = "its mark is damaged, so whether it has gone back can't be told";
            return Err(StoreError::Damaged(why.into()));
        }
        if let Some(before) = mark::read(place) {
            not_gone_back(before, now)?;
        }
        store.mark = Mark::open(place, now).map_err(|e| io(place, &e))?;
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
        let generation = Mutex::new(generation);
        let standing_alone = STANDING_ALONE;
        Ok(Self { state, openings, mark, known, generation, keyring, standing_alone })
    }

    /// The same with another number of entries that stand alone.
    #[must_use]
    pub fn standing_alone(self, standing_alone: u64) -> Self {
        Self { standing_alone, ..self }
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
        // What is met of damage later on costs the commit that meets it.
        self.read(|state| {
            state.db.iter().try_for_each(|item| item.map(drop).map_err(|e| state.error(&e)))
        })?;
        loop {
            let page = self.stored(next, CHECKED)?;
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
        let beyond = position.last_sequence.saturating_add(1)..=u64::MAX;
        if self.read(|state| Ok(!RECORDS.range(state, beyond, false, 1)?.is_empty()))? {
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

    /// What is durable of a range: what is not yet is not there yet. It could be sent, lost, and its number
    /// given again.
    fn range(
        &self,
        sequences: RangeInclusive<u64>,
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.read(|state| {
            let durable = *sequences.start()..=state.numbers().last.min(*sequences.end());
            let found = RECORDS.range(state, durable, newest_first, limit)?.into_iter();
            found
                .map(|(sequence, value)| {
                    sealed::unseal(&self.keyring, state.epoch, sequence, &value)
                })
                .collect()
        })
    }

    /// Moves what lies far back into blocks, a step at a time; says whether it did.
    fn pack(&self) -> Result<bool, StoreError> {
        self.read(|state| {
            let numbers = state.numbers();
            let far = numbers.last.saturating_sub(self.standing_alone);
            let step = (self.standing_alone / 2).max(1);
            if far < numbers.packed_to + step {
                return Ok(false);
            }
            let links = LINKS.alone(state, &(0..=far), false, step as usize)?;
            let more = links.len() as u64 == step;
            let packed_to = links.last().map_or(far, |(last, _)| if more { *last } else { far });
            let mut edit = Edit::of(state);
            for (sequence, link) in links {
                edit.pack(LINKS, &sequence.to_be_bytes(), &link)?;
            }
            for (sequence, value) in RECORDS.alone(state, &(0..=packed_to), false, usize::MAX)? {
                let (key, id) = (sequence.to_be_bytes(), sealed::split(sequence, &value)?.0);
                edit.pack(RECORDS, &key, &value)?;
                edit.pack(IDS, id.as_bytes(), &key)?;
            }
            for step in edit.into_steps()? {
                state.db.apply_batch(step).map_err(|e| state.error(&e))?;
            }
            state.set_numbers(Numbers { packed_to, ..numbers });
            Ok(true)
        })
    }
}

impl Store for SledStore {
    fn commit(&self, change: &Change) -> Result<(), StoreError> {
        // What deletes only may do so because there is no room.
        let mut steps = if change.must_last() { PACK_STEPS } else { 0 };
        while steps > 0 && self.pack()? {
            steps -= 1;
        }
        self.read(|state| {
            let mut edit = Edit::of(state);
            let before = state.numbers();
            let Numbers { mut last, mut count, mut delivered, packed_to } = before;
            for (sequence, id) in &change.delete {
                if edit.remove(RECORDS, &sequence.to_be_bytes())? {
                    count = count.saturating_sub(1);
                }
                edit.remove(IDS, id.as_bytes())?;
                let mark = delivered_key(*sequence);
                if delivered > 0 && state.get(mark)?.is_some() {
                    edit.batch.remove(&mark);
                    delivered = delivered.saturating_sub(1);
                }
            }
            for record in &change.put {
                let (key, sealed) = (
                    record.sequence.to_be_bytes(),
                    sealed::seal(&self.keyring, state.epoch, record)?,
                );
                if record.sequence > before.last {
                    edit.add(RECORDS, &key, sealed);
                    edit.add(IDS, record.id.as_bytes(), &key);
                    count += 1;
                    last = last.max(record.sequence);
                } else {
                    edit.replace(RECORDS, &key, sealed)?;
                }
                let mark = delivered_key(record.sequence);
                if record.delivered && state.get(mark)?.is_none() {
                    edit.batch.insert(&mark, &[]);
                    delivered += 1;
                }
            }
            for (sequence, chain) in &change.links {
                edit.add(LINKS, &sequence.to_be_bytes(), chain.as_bytes());
            }
            if let Some(end) = change.thin_links.end.checked_sub(1) {
                let links = LINKS.range(state, change.thin_links.start..=end, false, usize::MAX)?;
                for (sequence, _) in links.into_iter().filter(|(s, _)| s % LINK_STRIDE != 0) {
                    let key = sequence.to_be_bytes();
                    // A record that is there, on hold, needs its own.
                    if RECORDS.get(state, &key)?.is_none() {
                        edit.remove(LINKS, &key)?;
                    }
                }
            }
            let mut batch = edit.into_batch()?;
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
            state.set_numbers(Numbers { last, count, delivered, packed_to });
            self.mark.write(LedgerPosition { epoch: state.epoch, last_sequence: last });
            Ok(())
        })
    }

    fn stored(&self, first: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.range(first..=u64::MAX, false, limit)
    }

    fn newest(
        &self,
        sequences: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.range(sequences, true, limit)
    }

    fn sequence_of(&self, id: Uuid) -> Result<Option<u64>, StoreError> {
        self.read(|state| IDS.get(state, id.as_bytes())?.map(|bytes| number(&bytes)).transpose())
    }

    fn chain_after(&self, sequence: u64) -> Result<Option<Chain>, StoreError> {
        self.read(|state| {
            if sequence == 0 {
                return Ok(Some(Chain::start(state.epoch)));
            }
            let found = LINKS.get(state, &sequence.to_be_bytes())?;
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

    fn delivered(&self) -> u64 {
        self.read(|state| Ok(state.numbers().delivered)).unwrap_or_default()
    }

    fn bytes(&self) -> u64 {
        let folder = self.generation().folder();
        fs::metadata(folder.join("db")).map_or(0, |file| file.len())
    }

    fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    fn compact(&self, min_bytes: u64) -> Result<bool, StoreError> {
        if self.bytes() < min_bytes || self.waiting() > COMPACT_RECORDS {
            return Ok(false);
        }
        let next = self.generation().next();
        let failed = |e: std::io::Error| io(&next.folder(), &e);
        next.remove().map_err(failed)?;
        let fresh = self.read(|state| state.copied_to(&next))?;
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
        not_gone_back(self.position(), state.position())?;
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
        let state = open_state(&next, true)?;
        if let Err(error) = next.select() {
            tracing::warn!(%error, "the new store is in use, but may not be found at the next start");
        }
        *generation = next;
        drop(generation);
        self.set(Some(state));
        Ok(aside)
    }
}
