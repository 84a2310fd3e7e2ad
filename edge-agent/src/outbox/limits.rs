//! What is given up when a limit is reached: photos before reads before alerts before what the pole says
//! of itself, the oldest first, each eviction in the ledger before anything is deleted.

use milepost_wire::{
    Chain, Event, Evicted, Eviction, EvictionCause, PhotoKind, SequenceRange,
    ledger::MAX_EVICTED_RANGES,
};

use uuid::Uuid;

use super::{
    group::Group,
    store::{Kind, Loss, Record, StoreError, Stored},
    writer::Writer,
};
use crate::config;

/// Share of a limit that one eviction gives up beyond it, so that evictions stay few among records.
const SHARE: u64 = 100;
/// Most records in one eviction.
const MAX_LOT: usize = 4096;
/// Records looked at in one step.
const SCAN: usize = 256;

/// How far a purge looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Until it comes to what can be read: keys end in the order of the records, but for those that were
    /// sealed again.
    Oldest,
    /// At so many.
    AtMost(usize),
    /// At all.
    All,
}

/// What may be given up, in the order in which it is.
const ORDER: [&[Kind]; 3] = [&[Kind::Read, Kind::UnreadPass], &[Kind::Alert], &[Kind::Ledger]];

/// The limits in force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) records: u64,
    pub(super) photo_bytes: u64,
    /// Photos and store together.
    pub(super) bytes: u64,
}

impl From<&config::Outbox> for Limits {
    fn from(config: &config::Outbox) -> Self {
        Self {
            records: config.max_records,
            photo_bytes: config.max_photo_bytes,
            bytes: config.max_bytes,
        }
    }
}

/// What the store will hold after a group.
#[derive(Debug, Clone, Copy)]
struct Held {
    records: u64,
    /// Records that the group puts.
    added: u64,
    /// Records that went for room and have not been made up for.
    room: u64,
    photo_bytes: u64,
    /// None of these photos can be given up.
    photos_stay: bool,
    store_bytes: u64,
}

/// What is over a limit: how much has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Excess {
    cause: EvictionCause,
    evicted: Evicted,
    /// Records, or bytes of photos.
    amount: u64,
}

/// What came of giving up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GaveUp {
    /// Anything.
    any: bool,
    /// There may be more.
    more: bool,
}

impl Limits {
    /// What has to be given up first, with what the store holds after a group.
    fn excess(
        &self,
        Held { records, added, room, photo_bytes, photos_stay, store_bytes }: Held,
        shortage: u64,
    ) -> Option<Excess> {
        let photos = |cause, over: u64| {
            let amount = (over + self.photo_bytes / SHARE).min(photo_bytes);
            let evicted = Evicted::Photos;
            (over > 0 && photo_bytes > 0 && !photos_stay).then_some(Excess {
                cause,
                evicted,
                amount,
            })
        };
        let over = photo_bytes.saturating_sub(self.photo_bytes);
        let all = (photo_bytes + store_bytes).saturating_sub(self.bytes);
        photos(EvictionCause::MaxPhotoBytes, over)
            .or_else(|| photos(EvictionCause::MaxBytes, all))
            .or_else(|| photos(EvictionCause::FreeDisk, shortage))
            .or_else(|| {
                let over = records.saturating_sub(self.records);
                let amount = over + self.records / SHARE + 1;
                let cause = EvictionCause::MaxRecords;
                (over > 0).then_some(Excess { cause, evicted: Evicted::Records, amount })
            })
            .or_else(|| {
                // No photo is left that could be given up. The store does not shrink, it uses the room of what
                // went.
                let cause = if all > 0 { EvictionCause::MaxBytes } else { EvictionCause::FreeDisk };
                (added > room && (all > 0 || shortage > 0)).then_some(Excess {
                    cause,
                    evicted: Evicted::Records,
                    amount: added + records / SHARE,
                })
            })
    }
}

impl Writer {
    /// Gives up what is over the limits, one eviction for each reason. What is put in this very group
    /// is not given up in it.
    pub(super) fn keep_limits(&mut self, group: &mut Group) -> Result<(), StoreError> {
        let mut done: Vec<(EvictionCause, Evicted)> = Vec::new();
        self.give_up_asides(group);
        let mut photos_stay = false;
        loop {
            let held = Held {
                records: (self.store.count() + group.added()).saturating_sub(group.removed()),
                added: group.added(),
                room: self.room + group.room,
                photo_bytes: self.photos.bytes().saturating_sub(group.freed_photo_bytes),
                photos_stay,
                store_bytes: self.store.bytes() + self.asides.bytes(),
            };
            let shortage = self.disk.shortage().saturating_sub(group.freed_photo_bytes);
            let excess = self.limits.excess(held, shortage);
            let Some(excess) = excess.filter(|e| !done.contains(&(e.cause, e.evicted))) else {
                return Ok(());
            };
            if excess.evicted == Evicted::Records && excess.cause != EvictionCause::MaxRecords {
                // What is short is what a salvage frees in a moment: better refuse it than give up reads.
                if self.asides.is_any_needed().unwrap_or(false) {
                    return Ok(());
                }
                group.room += excess.amount;
            }
            done.push((excess.cause, excess.evicted));
            // What the pole says of itself has no photos.
            let photos = excess.evicted == Evicted::Photos;
            for kinds in if photos { &ORDER[..1] } else { &ORDER[..] } {
                let GaveUp { any, more } = self.give_up(group, excess, kinds)?;
                photos_stay |= photos && !more;
                if any {
                    break;
                }
            }
        }
    }

    /// What was set aside goes before anything that is to be sent.
    fn give_up_asides(&mut self, group: &Group) {
        while self.asides.bytes() > 0 {
            let photos = self.photos.bytes().saturating_sub(group.freed_photo_bytes);
            let all = photos + self.store.bytes() + self.asides.bytes();
            if all <= self.limits.bytes && self.disk.shortage() == 0 {
                return;
            }
            match self.asides.give_up() {
                Ok(Some(path)) => tracing::warn!(path = %path.display(), "deleted for room"),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "what was set aside could not be deleted");
                    return;
                }
            }
        }
    }

    /// Gives up as much as `excess` asks for of these kinds.
    fn give_up(
        &mut self,
        group: &mut Group,
        excess: Excess,
        kinds: &[Kind],
    ) -> Result<GaveUp, StoreError> {
        let mut more = false;
        let mut lot = Lot::default();
        let photos_only = excess.evicted == Evicted::Photos;
        let begin = if photos_only { group.photos_from.unwrap_or(self.photos_from) } else { 0 };
        // Where the next one may begin.
        let (mut first, mut seen, mut passed_over) = (begin, begin, None);
        'scan: loop {
            let page = self.store.stored(first, SCAN)?;
            let Some(end) = page.last() else { break };
            first = end.sequence() + 1;
            for record in page.into_iter().filter_map(Stored::record) {
                let enough = match excess.evicted {
                    Evicted::Records => lot.sequences.len() as u64 >= excess.amount,
                    Evicted::Photos => lot.photo_bytes >= excess.amount,
                };
                if enough || lot.is_full() {
                    more = true;
                    break 'scan;
                }
                seen = record.sequence;
                // What says what was given up must reach the server.
                let says = record.kind == Kind::Ledger && eviction(&record).is_some();
                let gives =
                    !says && (excess.evicted == Evicted::Records || !record.photos.is_empty());
                if !gives || record.held || !kinds.contains(&record.kind) {
                    continue;
                }
                if group.changes(record.sequence) {
                    passed_over = passed_over.or(Some(record.sequence));
                } else {
                    self.take(&mut lot, group, record, excess.evicted);
                }
            }
        }
        if photos_only {
            group.photos_from = Some(passed_over.unwrap_or(seen));
        }
        let any = self.enter(lot, group, excess.cause, excess.evicted)?;
        Ok(GaveUp { any, more })
    }

    fn take(&self, lot: &mut Lot, group: &mut Group, mut record: Record, evicted: Evicted) {
        lot.add(record.sequence, record.photo_bytes());
        match evicted {
            Evicted::Records => group.drop_record(&record),
            Evicted::Photos => {
                group.drop_photos(&record);
                record.photos.clear();
                group.put_again(record);
            }
        }
    }

    /// Deletes records whose time on the pole has ended, or that can't be read, among those from `first`
    /// on; says where to go on, if anywhere.
    pub(super) fn purge(
        &mut self,
        group: &mut Group,
        mut first: u64,
        look: Look,
    ) -> Result<Option<u64>, StoreError> {
        let (mut aged, mut damaged) = (Lot::default(), Lot::default());
        let mut looked = 0;
        let next = 'scan: loop {
            let page = self.store.stored(first, SCAN)?;
            let Some(end) = page.last() else { break None };
            first = end.sequence() + 1;
            looked += page.len();
            self.busy.begin();
            let mut any = false;
            for stored in page {
                let Stored::Unreadable { sequence, id, loss } = stored else { continue };
                let lot = match loss {
                    Loss::Aged => &mut aged,
                    Loss::Damaged => &mut damaged,
                    // It may be read again.
                    Loss::OutOfReach => continue,
                };
                any = true;
                if lot.is_full() {
                    break 'scan Some(sequence);
                }
                lot.add(sequence, group.drop_unreadable(&self.photos, sequence, id));
            }
            match look {
                Look::Oldest if !any => break None,
                Look::AtMost(most) if looked >= most => break Some(first),
                _ => {}
            }
        };
        self.enter(aged, group, EvictionCause::MaxAge, Evicted::Records)?;
        self.enter(damaged, group, EvictionCause::Damaged, Evicted::Records)?;
        Ok(next)
    }

    /// Gives up one photo that can't be read, where a record names it.
    pub(super) fn photo_lost(
        &mut self,
        id: Uuid,
        kind: PhotoKind,
        cause: EvictionCause,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        let sequence = group.noting(self.store.sequence_of(id))?;
        let stored = sequence.map(|sequence| self.store.at(sequence)).transpose();
        let record = group
            .noting(stored)?
            .flatten()
            .and_then(Stored::record)
            .filter(|r| !group.changes(r.sequence));
        let Some(mut record) = record else { return Ok(()) };
        // Another broker may take what is on hold.
        if cause == EvictionCause::TooLarge && record.held {
            return Ok(());
        }
        let Some(place) = record.photos.iter().position(|p| p.kind == kind) else { return Ok(()) };
        let lost = record.photos.swap_remove(place);
        let mut lot = Lot::default();
        lot.add(record.sequence, lost.bytes);
        group.remove_photos.push((id, kind));
        group.put_again(record);
        self.enter(lot, group, cause, Evicted::Photos).map(drop)
    }

    /// Enters what was given up into the ledger; says whether there was anything.
    fn enter(
        &mut self,
        lot: Lot,
        group: &mut Group,
        cause: EvictionCause,
        evicted: Evicted,
    ) -> Result<bool, StoreError> {
        let Lot { sequences, photo_bytes, .. } = lot;
        if sequences.is_empty() {
            return Ok(false);
        }
        let records = sequences.len() as u64;
        let ranges = SequenceRange::cover(&sequences);
        let chain_sha256 = match evicted {
            Evicted::Photos => Vec::new(),
            Evicted::Records => {
                let link = |range: &SequenceRange| self.store.chain_after(range.to);
                let links = ranges.iter().map(link).collect::<Result<Option<Vec<Chain>>, _>>()?;
                links.unwrap_or_default()
            }
        };
        tracing::warn!(records, photo_bytes, ?evicted, ?cause, "oldest given up");
        let epoch = self.store.position().epoch;
        let mut data = Eviction {
            evicted,
            cause,
            epoch,
            sequences: ranges,
            chain_sha256,
            records,
            photo_bytes,
        };
        group.evictions += records;
        if cause == EvictionCause::Damaged {
            group.damaged += records;
        }
        if evicted == Evicted::Records {
            data = self.fold(data, group)?;
        }
        let sequence =
            self.prepare(self.entry(data), group).map_err(|e| StoreError::Failed(e.to_string()))?;
        if evicted == Evicted::Records {
            group.eviction = Some(sequence);
        }
        Ok(true)
    }

    /// Takes the eviction before, which waits still, into this one: else a full store would end up
    /// full of evictions.
    fn fold(&self, new: Eviction, group: &mut Group) -> Result<Eviction, StoreError> {
        let before = match self.last_eviction.filter(|s| !group.changes(*s)) {
            Some(sequence) => self.store.at(sequence)?.and_then(Stored::record),
            None => None,
        };
        let before = before.filter(|record| !record.held);
        let Some((record, old)) = before.and_then(|r| eviction(&r).map(|e| (r, e))) else {
            return Ok(new);
        };
        if old.sequences.len() != old.chain_sha256.len()
            || new.sequences.len() != new.chain_sha256.len()
        {
            return Ok(new);
        }
        let own = SequenceRange { from: record.sequence, to: record.sequence };
        let Some(own_chain) = self.store.chain_after(record.sequence)? else { return Ok(new) };
        let ours = old.sequences.iter().copied().zip(old.chain_sha256.iter().copied());
        let parts = ours
            .chain([(own, own_chain)])
            .chain(new.sequences.iter().copied().zip(new.chain_sha256.iter().copied()));
        let joined = join(parts.collect());
        let same = (old.cause, old.epoch, old.evicted) == (new.cause, new.epoch, new.evicted);
        if !same || joined.len() > MAX_EVICTED_RANGES {
            return Ok(new);
        }
        group.drop_record(&record);
        let (sequences, chain_sha256) = joined.into_iter().unzip();
        let records = old.records + 1 + new.records;
        let photo_bytes = old.photo_bytes + new.photo_bytes;
        Ok(Eviction { sequences, chain_sha256, records, photo_bytes, ..new })
    }
}

/// The eviction of records that a record is.
fn eviction(record: &Record) -> Option<Eviction> {
    let event = Event::<Eviction>::from_json(&record.body).ok()?;
    Some(event.data)
}

/// Ranges with the chain after each, in order, neighbours as one.
fn join(mut parts: Vec<(SequenceRange, Chain)>) -> Vec<(SequenceRange, Chain)> {
    parts.sort_unstable_by_key(|(range, _)| *range);
    let mut joined: Vec<(SequenceRange, Chain)> = Vec::new();
    for (range, chain) in parts {
        match joined.last_mut() {
            Some((last, after)) if last.to + 1 == range.from => {
                (last.to, *after) = (range.to, chain);
            }
            _ => joined.push((range, chain)),
        }
    }
    joined
}

/// What one eviction gives up.
#[derive(Debug, Default)]
struct Lot {
    /// Going up.
    sequences: Vec<u64>,
    /// Stretches without a gap among them.
    ranges: usize,
    photo_bytes: u64,
}

impl Lot {
    fn add(&mut self, sequence: u64, photo_bytes: u64) {
        let follows = self.sequences.last().is_some_and(|last| last + 1 == sequence);
        self.ranges += usize::from(!follows);
        self.sequences.push(sequence);
        self.photo_bytes += photo_bytes;
    }

    /// Whether no more goes into one entry, or one commit.
    fn is_full(&self) -> bool {
        self.ranges >= MAX_EVICTED_RANGES || self.sequences.len() >= MAX_LOT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { records: 1000, photo_bytes: 10_000, bytes: 20_000 };

    proptest! {
        #[test]
        fn photos_go_first_and_nothing_goes_while_all_limits_hold(
            records in 0u64..3000, photo_bytes in 0u64..30_000, store_bytes in 0u64..30_000, shortage in 0u64..3,
        ) {
            let bytes = photo_bytes + store_bytes;
            let over = records > 1000 || photo_bytes > 10_000 || bytes > 20_000 || shortage > 0;
            let held =
                Held { records, added: 1, room: 0, photo_bytes, photos_stay: false, store_bytes };
            let excess = LIMITS.excess(held, shortage);
            prop_assert_eq!(excess.is_some(), over);
            let stuck = LIMITS.excess(Held { photos_stay: true, ..held }, shortage);
            let needed = records > 1000 || bytes > 20_000 || shortage > 0;
            prop_assert_eq!(stuck.is_some(), needed, "held photos keep no record from going");
            prop_assert!(stuck.is_none_or(|e| e.evicted == Evicted::Records));
            if let Some(excess) = excess {
                prop_assert!(excess.amount > 0);
                let photos_help = photo_bytes > 0 && !(records > 1000 && photo_bytes <= 10_000
                    && bytes <= 20_000 && shortage == 0);
                prop_assert_eq!(excess.evicted == Evicted::Photos, photos_help);
            }
        }
    }
}
