//! Where an entry of the store stands: alone while it is young, in a [`block`] with its neighbours once it lies
//! far back.
//!
//! sled makes a batch whole or not at all where the power is cut, but not where it meets a page in the middle
//! that it can't read. So blocks are written before what stands alone is deleted ([`Edit::into_steps`]): cut off, an
//! entry stands twice, and what stands alone counts. For the same reason whoever looks into both places looks
//! for what stands alone first.

use std::{collections::BTreeMap, ops::RangeInclusive};

use sled::{Batch, IVec};

use super::{
    block::{self, Item},
    sled_state::{State, number},
    store::StoreError,
};

/// Records by sequence.
pub(super) const RECORDS: Index = Index { alone: b'r', blocks: b'R' };
/// Sequences by id.
pub(super) const IDS: Index = Index { alone: b'i', blocks: b'I' };
/// The chain by sequence.
pub(super) const LINKS: Index = Index { alone: b'c', blocks: b'C' };

/// One index of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Index {
    /// Before the key of an entry that stands alone.
    alone: u8,
    /// Before the key of a block: that of its first item, or of one that it had.
    blocks: u8,
}

fn prefixed(prefix: u8, key: &[u8]) -> Vec<u8> {
    [&[prefix], key].concat()
}

impl Index {
    /// An entry.
    pub(super) fn get(self, state: &State, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        if let Some(alone) = state.get(prefixed(self.alone, key))? {
            return Ok(Some(alone));
        }
        let Some((_, block)) = self.block(state, key)? else { return Ok(None) };
        Ok(block::find(&block, key)?.map(IVec::from))
    }

    /// The block that a key belongs to.
    fn block(self, state: &State, key: &[u8]) -> Result<Option<(IVec, IVec)>, StoreError> {
        let range = vec![self.blocks]..=prefixed(self.blocks, key);
        state.db.range(range).next_back().transpose().map_err(|e| state.error(&e))
    }

    /// The last sequence that is in a block.
    pub(super) fn last_packed(self, state: &State) -> Result<Option<u64>, StoreError> {
        let Some((_, block)) = self.block(state, &u64::MAX.to_be_bytes())? else { return Ok(None) };
        let last = block::items(&block).last().transpose()?;
        last.map(|(key, _)| number(key)).transpose()
    }

    /// Entries of a range of sequences, at most `limit`, oldest or newest first.
    pub(super) fn range(
        self,
        state: &State,
        sequences: RangeInclusive<u64>,
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<(u64, IVec)>, StoreError> {
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
        let alone = self.alone(state, &sequences, newest_first, limit)?;
        let mut found: BTreeMap<u64, IVec> =
            self.packed(state, &sequences, newest_first, limit)?.into_iter().collect();
        found.extend(alone);
        Ok(directed(found.into_iter(), newest_first).take(limit).collect())
    }

    /// As [`Self::range`], of what stands alone.
    pub(super) fn alone(
        self,
        state: &State,
        sequences: &RangeInclusive<u64>,
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<(u64, IVec)>, StoreError> {
        let [first, last] = [sequences.start(), sequences.end()].map(|s| s.to_be_bytes());
        let range = prefixed(self.alone, &first)..=prefixed(self.alone, &last);
        let entries = directed(state.db.range(range), newest_first).take(limit);
        entries
            .map(|entry| {
                let (key, value) = entry.map_err(|e| state.error(&e))?;
                Ok((number(&key[1..])?, value))
            })
            .collect()
    }

    fn packed(
        self,
        state: &State,
        sequences: &RangeInclusive<u64>,
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<(u64, IVec)>, StoreError> {
        let [first, last] = [sequences.start(), sequences.end()].map(|s| s.to_be_bytes());
        let from = self.block(state, &first)?.map(|(key, _)| key.to_vec());
        let from = from.unwrap_or_else(|| prefixed(self.blocks, &first));
        let mut found = Vec::new();
        for entry in directed(state.db.range(from..=prefixed(self.blocks, &last)), newest_first) {
            let (_, block) = entry.map_err(|e| state.error(&e))?;
            let items = block::items(&block).collect::<Result<Vec<_>, _>>()?;
            for (key, value) in directed(items.into_iter(), newest_first) {
                let sequence = number(key)?;
                if found.len() == limit {
                    return Ok(found);
                }
                if sequences.contains(&sequence) {
                    found.push((sequence, value.into()));
                }
            }
        }
        Ok(found)
    }
}

fn directed<'a, T>(
    items: impl DoubleEndedIterator<Item = T> + 'a,
    backwards: bool,
) -> Box<dyn Iterator<Item = T> + 'a> {
    if backwards { Box::new(items.rev()) } else { Box::new(items) }
}

/// A block's key, and what is in it where it is not changed yet.
type Nearest = (Vec<u8>, Option<IVec>);

/// A block as it will be.
struct Changed {
    items: Vec<Item>,
    /// There is none of this key yet.
    new: bool,
}

/// A change of the store's entries, wherever they stand. Each block is written once.
pub(super) struct Edit<'a> {
    state: &'a State,
    /// What is changed besides blocks.
    pub(super) batch: Batch,
    blocks: BTreeMap<Vec<u8>, Changed>,
}

impl<'a> Edit<'a> {
    pub(super) fn of(state: &'a State) -> Self {
        Self { state, batch: Batch::default(), blocks: BTreeMap::new() }
    }

    /// A new entry.
    pub(super) fn add(&mut self, index: Index, key: &[u8], value: impl Into<IVec>) {
        self.batch.insert(prefixed(index.alone, key), value);
    }

    /// Another value for an entry, where it stands. It must not be much longer: a block is not divided for it.
    pub(super) fn replace(
        &mut self,
        index: Index,
        key: &[u8],
        value: Vec<u8>,
    ) -> Result<(), StoreError> {
        if self.state.get(prefixed(index.alone, key))?.is_none()
            && let Some(items) = self.block_with(index, key)?
        {
            items
                .iter_mut()
                .filter(|item| item.0 == key)
                .for_each(|item| item.1.clone_from(&value));
        } else {
            self.add(index, key, value);
        }
        Ok(())
    }

    /// Deletes an entry; says whether it was there.
    pub(super) fn remove(&mut self, index: Index, key: &[u8]) -> Result<bool, StoreError> {
        let alone = prefixed(index.alone, key);
        let mut there = self.state.get(&alone)?.is_some();
        if there {
            self.batch.remove(alone);
        }
        if let Some(items) = self.block_with(index, key)? {
            items.retain(|item| item.0 != key);
            there = true;
        }
        Ok(there)
    }

    /// Moves an entry that stands alone into the block that it belongs to.
    pub(super) fn pack(
        &mut self,
        index: Index,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.batch.remove(prefixed(index.alone, key));
        let block = match self.nearest(index, key)? {
            Some((block, bytes)) => {
                self.begin(&block, bytes.as_ref())?;
                block
            }
            None => prefixed(index.blocks, key),
        };
        let none = Changed { items: Vec::new(), new: true };
        let Changed { items, new } = self.blocks.remove(&block).unwrap_or(none);
        let mut parts = block::insert(items, (key.into(), value.into())).into_iter();
        self.blocks.insert(block, Changed { items: parts.next().unwrap_or_default(), new });
        for items in parts {
            if let Some((first, _)) = items.first() {
                let block = prefixed(index.blocks, first);
                self.blocks.insert(block, Changed { items, new: true });
            }
        }
        Ok(())
    }

    /// The block that a key belongs to.
    fn nearest(&self, index: Index, key: &[u8]) -> Result<Option<Nearest>, StoreError> {
        let there = index.block(self.state, key)?;
        let range = vec![index.blocks]..=prefixed(index.blocks, key);
        let changed = self.blocks.range(range).next_back().map(|(block, _)| block);
        // None of them is gone before the end of the edit: the later one of both is the nearest.
        Ok(match (there, changed) {
            (Some((block, bytes)), Some(changed)) if block[..] > changed[..] => {
                Some((block.to_vec(), Some(bytes)))
            }
            (Some((block, bytes)), None) => Some((block.to_vec(), Some(bytes))),
            (_, changed) => changed.map(|block| (block.clone(), None)),
        })
    }

    /// Begins to change a block, where that is not under way.
    fn begin(&mut self, block: &[u8], bytes: Option<&IVec>) -> Result<(), StoreError> {
        if let Some(bytes) = bytes {
            let changed = Changed { items: block::decode(bytes)?, new: false };
            self.blocks.insert(block.into(), changed);
        }
        Ok(())
    }

    /// The block that an entry is in, to be changed.
    fn block_with(
        &mut self,
        index: Index,
        key: &[u8],
    ) -> Result<Option<&mut Vec<Item>>, StoreError> {
        let Some((block, bytes)) = self.nearest(index, key)? else { return Ok(None) };
        if let Some(bytes) = &bytes
            && block::find(bytes, key)?.is_none()
        {
            return Ok(None);
        }
        self.begin(&block, bytes.as_ref())?;
        let items = self.blocks.get_mut(&block).map(|changed| &mut changed.items);
        Ok(items.filter(|items| items.iter().any(|(there, _)| there == key)))
    }

    /// All of it at once. Not after [`Self::pack`].
    pub(super) fn into_batch(mut self) -> Result<Batch, StoreError> {
        for (key, Changed { items, .. }) in self.blocks {
            if items.is_empty() {
                self.batch.remove(key);
            } else {
                self.batch.insert(key, block::encode(&items)?);
            }
        }
        Ok(self.batch)
    }

    /// All of it, to be done in this order, after [`Self::pack`]: at no step is an entry in neither place.
    pub(super) fn into_steps(self) -> Result<[Batch; 3], StoreError> {
        let [mut new, mut changed] = [Batch::default(), Batch::default()];
        for (key, block) in self.blocks {
            let step = if block.new { &mut new } else { &mut changed };
            step.insert(key, block::encode(&block.items)?);
        }
        Ok([new, changed, self.batch])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::outbox::{generation::Generation, sled_state::open_state};

    #[derive(Debug, Clone)]
    enum Op {
        /// So many new ones.
        Add(u64),
        /// So many of the oldest that stand alone, cut off after so many steps.
        Pack(usize, usize),
        /// Those of a stretch that are not multiples.
        Remove(u64, u64, u64),
        /// One of them, with a value of so many bytes.
        Replace(u64, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (1..60u64).prop_map(Op::Add),
            (1..60usize, 0..5usize).prop_map(|(many, steps)| Op::Pack(many, steps)),
            (0..300u64, 0..80u64, 1..9u64).prop_map(|(from, n, m)| Op::Remove(from, from + n, m)),
            (0..300u64, 0..2000usize).prop_map(|(key, bytes)| Op::Replace(key, bytes)),
        ]
    }

    /// Ids are in no order that sequences know.
    fn id(sequence: u64) -> [u8; 16] {
        u128::from(sequence).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes()
    }

    fn value(sequence: u64, bytes: usize) -> Vec<u8> {
        [&sequence.to_be_bytes()[..], &vec![b'v'; bytes]].concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn entries_are_found_wherever_they_stand(ops in vec(op(), 1..25)) {
            let scratch = tempfile::tempdir().unwrap();
            let generation = Generation::current(scratch.path()).unwrap();
            let state = open_state(&generation, true).unwrap();
            let (mut model, mut next) = (BTreeMap::new(), 0);
            for op in ops {
                let mut edit = Edit::of(&state);
                let steps = if let Op::Pack(_, steps) = op { Some(steps) } else { None };
                match op {
                    Op::Add(many) => {
                        for sequence in next..next + many {
                            let value = value(sequence, 480);
                            edit.add(RECORDS, &sequence.to_be_bytes(), value.clone());
                            edit.add(IDS, &id(sequence), &sequence.to_be_bytes());
                            model.insert(sequence, value);
                        }
                        next += many;
                    }
                    Op::Pack(many, _) => {
                        let oldest = RECORDS.alone(&state, &(0..=u64::MAX), false, many).unwrap();
                        for (sequence, value) in oldest {
                            edit.pack(RECORDS, &sequence.to_be_bytes(), &value).unwrap();
                            edit.pack(IDS, &id(sequence), &sequence.to_be_bytes()).unwrap();
                        }
                    }
                    Op::Remove(from, to, multiple) => {
                        for sequence in (from..=to).filter(|s| s % multiple != 0) {
                            let there = model.remove(&sequence).is_some();
                            prop_assert_eq!(edit.remove(RECORDS, &sequence.to_be_bytes()), Ok(there));
                            prop_assert_eq!(edit.remove(IDS, &id(sequence)), Ok(there));
                        }
                    }
                    Op::Replace(sequence, bytes) => {
                        if let Some(there) = model.get_mut(&sequence) {
                            *there = value(sequence, bytes);
                            edit.replace(RECORDS, &sequence.to_be_bytes(), there.clone()).unwrap();
                        }
                    }
                }
                match steps {
                    Some(steps) => edit.into_steps().unwrap().into_iter().take(steps).for_each(|step| {
                        state.db.apply_batch(step).unwrap();
                    }),
                    None => state.db.apply_batch(edit.into_batch().unwrap()).unwrap(),
                }
                for sequence in 0..next {
                    let found = RECORDS.get(&state, &sequence.to_be_bytes()).unwrap();
                    prop_assert_eq!(found.as_deref(), model.get(&sequence).map(|v| &v[..]));
                    let at = IDS.get(&state, &id(sequence)).unwrap().map(|at| number(&at).unwrap());
                    prop_assert_eq!(at, model.get(&sequence).map(|_| sequence));
                }
                for (from, to, limit) in [(0, u64::MAX, usize::MAX), (7, 150, 20), (60, 61, 1)] {
                    let all = || model.range(from..=to).map(|(s, v)| (*s, IVec::from(&v[..])));
                    let found = |newest_first| RECORDS.range(&state, from..=to, newest_first, limit);
                    prop_assert_eq!(found(false).unwrap(), all().take(limit).collect::<Vec<_>>());
                    prop_assert_eq!(found(true).unwrap(), all().rev().take(limit).collect::<Vec<_>>());
                }
            }
        }
    }
}
