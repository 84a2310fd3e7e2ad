//! The one thread that writes: whatever waits is committed together, with one fsync.
//!
//! Invariants: sequences are given in the order of arrival; a sequence is used up only by a record
//! that was committed; a photo is on disk before the record that names it; the caps hold after each
//! commit, and what was given up for them is in the ledger before it is deleted.

use std::{
    collections::HashMap,
    fs::File,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
};

use jiff::Timestamp;
use milepost_wire::{
    Evicted, Eviction, EvictionCause, Ledger, PhotoKind, SequenceRange, Source,
    ledger::MAX_EVICTED_RANGES,
};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Entry, MAX_PHOTO_BYTES, MAX_PHOTOS, MAX_RECORD_BYTES, OutboxError,
    photos::Photos,
    store::{Change, Kind, PhotoRef, Record, Store, StoreError},
};
use crate::health::{Component, Health, Status};

/// Most commands in one commit.
const MAX_GROUP: usize = 64;

/// Share of a cap that one eviction gives up, so that evictions stay few among the records.
const EVICT_SHARE: u64 = 100;

/// Records looked at in one step of an eviction.
const EVICT_SCAN: usize = 256;

type Reply<T> = SyncSender<Result<T, OutboxError>>;

pub(super) enum Command {
    Keep(Entry, Reply<u64>),
    Delivered(Vec<u64>, Reply<()>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) photo_bytes: u64,
}

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) photos: Arc<Photos>,
    pub(super) source: Source,
    pub(super) health: Arc<Health>,
    pub(super) max_records: u64,
    pub(super) max_photo_bytes: u64,
    pub(super) totals: Totals,
    pub(super) changed: watch::Sender<u64>,
    /// What the component says while all is well.
    pub(super) standing: (Status, String),
    /// Held as long as the store may be written.
    pub(super) _lock: File,
}

/// What one commit will do, and what is to be done after it.
#[derive(Default)]
struct Group {
    change: Change,
    /// Ids put in this group, which the store does not know yet.
    ids: HashMap<Uuid, u64>,
    kept: Vec<(Reply<u64>, u64)>,
    delivered: Vec<Reply<()>>,
    remove_photos: Vec<(Uuid, PhotoKind)>,
    photos_written: bool,
    evictions: u64,
}

impl Writer {
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        self.report(None);
        while let Ok(first) = commands.recv() {
            let more = commands.try_iter().take(MAX_GROUP - 1);
            let group: Vec<_> = std::iter::once(first).chain(more).collect();
            self.commit(group);
        }
    }

    fn commit(&mut self, commands: Vec<Command>) {
        let mut group = Group::default();
        let before = self.totals;
        let position = self.store.position();
        let mut next = position.last_sequence + 1;
        for command in commands {
            match command {
                Command::Keep(entry, reply) => {
                    let ledger = Ledger { epoch: position.epoch, sequence: next };
                    match self.prepare(entry, ledger, &mut group) {
                        Ok(sequence) => {
                            next = next.max(sequence + 1);
                            group.kept.push((reply, sequence));
                        }
                        // A caller that has gone does not want the answer.
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
                Command::Delivered(sequences, reply) => match self.delete(&sequences, &mut group) {
                    Ok(()) => group.delivered.push(reply),
                    Err(error) => drop(reply.send(Err(store_error(&error)))),
                },
            }
        }
        let result = self
            .evict(&mut group, Ledger { epoch: position.epoch, sequence: next })
            .and_then(|()| if group.photos_written { self.sync_photos() } else { Ok(()) })
            .and_then(|()| self.store.commit(&group.change));
        match result {
            Ok(()) => self.finish(group),
            Err(error) => {
                tracing::error!(%error, "outbox commit failed");
                self.totals = before;
                self.report(Some(&error));
                let error = store_error(&error);
                group.kept.into_iter().for_each(|(r, _)| drop(r.send(Err(error.clone()))));
                group.delivered.into_iter().for_each(|r| drop(r.send(Err(error.clone()))));
            }
        }
    }

    fn sync_photos(&self) -> Result<(), StoreError> {
        self.photos.sync().map_err(|e| StoreError::Failed(e.to_string()))
    }

    /// Writes an entry's photos and puts its record into the group.
    fn prepare(
        &mut self,
        entry: Entry,
        ledger: Ledger,
        group: &mut Group,
    ) -> Result<u64, OutboxError> {
        let Entry { id, kind, captured_at, body, photos } = entry;
        let known = match group.ids.get(&id) {
            Some(&sequence) => Some(sequence),
            None => self.store.sequence_of(id).map_err(|e| store_error(&e))?,
        };
        if let Some(sequence) = known {
            return Ok(sequence);
        }
        let twice = photos.len() == 2 && photos[0].kind == photos[1].kind;
        if photos.len() > MAX_PHOTOS || twice {
            return Err(OutboxError::Photos("more than one of a kind".into()));
        }
        if let Some(photo) = photos.iter().find(|p| !(1..=MAX_PHOTO_BYTES).contains(&p.jpeg.len()))
        {
            let why = format!("{} bytes; 1 to {MAX_PHOTO_BYTES} are kept", photo.jpeg.len());
            return Err(OutboxError::Photos(why));
        }
        let body = body(ledger).map_err(|e| OutboxError::Body(e.to_string()))?;
        let references =
            photos.iter().map(|p| PhotoRef { kind: p.kind, bytes: p.jpeg.len() as u64 }).collect();
        let record =
            Record { sequence: ledger.sequence, id, kind, captured_at, photos: references, body };
        let bytes = record.encode().map_err(|e| store_error(&e))?.len();
        if bytes > MAX_RECORD_BYTES {
            return Err(OutboxError::TooLarge { bytes });
        }
        for photo in &photos {
            self.photos
                .write(id, photo)
                .map_err(|e| OutboxError::Store(format!("photo could not be written: {e}")))?;
            group.photos_written = true;
        }
        self.totals.records += 1;
        self.totals.photo_bytes += record.photo_bytes();
        group.ids.insert(id, record.sequence);
        group.change.put.push(record);
        Ok(ledger.sequence)
    }

    fn delete(&mut self, sequences: &[u64], group: &mut Group) -> Result<(), StoreError> {
        for &sequence in sequences {
            let twice = group.change.delete.iter().any(|(s, _)| *s == sequence);
            if let Some(record) = self.store.record(sequence)?
                && !twice
            {
                self.drop_record(&record, group);
            }
        }
        Ok(())
    }

    fn drop_record(&mut self, record: &Record, group: &mut Group) {
        self.totals.records = self.totals.records.saturating_sub(1);
        self.drop_photos(record, group);
        group.change.delete.push((record.sequence, record.id));
    }

    fn drop_photos(&mut self, record: &Record, group: &mut Group) {
        self.totals.photo_bytes = self.totals.photo_bytes.saturating_sub(record.photo_bytes());
        group.remove_photos.extend(record.photos.iter().map(|p| (record.id, p.kind)));
    }

    /// Gives up the oldest until the caps hold, and puts what was given up into the ledger. What is
    /// put in this very group is not given up in it.
    fn evict(&mut self, group: &mut Group, mut at: Ledger) -> Result<(), StoreError> {
        if self.totals.records > self.max_records {
            let target = self.max_records - self.max_records / EVICT_SHARE - 1;
            at.sequence += u64::from(self.evict_some(group, at, Evicted::Records, target)?);
        }
        if self.totals.photo_bytes > self.max_photo_bytes {
            let target = self.max_photo_bytes - self.max_photo_bytes / EVICT_SHARE;
            self.evict_some(group, at, Evicted::Photos, target)?;
        }
        Ok(())
    }

    fn evict_some(
        &mut self,
        group: &mut Group,
        at: Ledger,
        evicted: Evicted,
        target: u64,
    ) -> Result<bool, StoreError> {
        let (mut given_up, mut bytes, mut first) = (Vec::new(), 0, 0);
        'scan: loop {
            let records = self.store.records(first, EVICT_SCAN)?;
            let Some(last) = records.last() else { break };
            first = last.sequence + 1;
            for mut record in records {
                let (over, cause_left) = match evicted {
                    Evicted::Records => (self.totals.records > target, true),
                    Evicted::Photos => {
                        (self.totals.photo_bytes > target, !record.photos.is_empty())
                    }
                };
                let ranges = SequenceRange::cover(&given_up).len();
                if !over || ranges >= MAX_EVICTED_RANGES {
                    break 'scan;
                }
                let leaving = group.change.delete.iter().any(|(s, _)| *s == record.sequence);
                if leaving || !cause_left {
                    continue;
                }
                given_up.push(record.sequence);
                bytes += record.photo_bytes();
                match evicted {
                    Evicted::Records => self.drop_record(&record, group),
                    Evicted::Photos => {
                        self.drop_photos(&record, group);
                        record.photos.clear();
                        group.change.put.push(record);
                    }
                }
            }
        }
        if given_up.is_empty() {
            return Ok(false);
        }
        let data = Eviction {
            evicted,
            cause: match evicted {
                Evicted::Records => EvictionCause::MaxRecords,
                Evicted::Photos => EvictionCause::MaxPhotoBytes,
            },
            sequences: SequenceRange::cover(&given_up),
            records: given_up.len() as u64,
            photo_bytes: bytes,
        };
        tracing::warn!(
            records = data.records,
            bytes,
            ?evicted,
            "the outbox is full: oldest given up"
        );
        group.evictions += data.records;
        let (id, now) = (Uuid::now_v7(), Timestamp::now());
        let entry = Entry::event(Kind::Ledger, id, self.source.clone(), now, data, Vec::new());
        self.prepare(entry, at, group).map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok(true)
    }

    fn finish(&mut self, group: Group) {
        for (id, kind) in group.remove_photos {
            if let Err(error) = self.photos.remove(id, kind) {
                // Deleted at the next open: no record names it any more.
                tracing::warn!(%error, "a photo could not be deleted");
            }
        }
        self.health.metrics.outbox_evictions.inc_by(group.evictions);
        self.report(None);
        self.changed.send_replace(self.store.position().last_sequence);
        group.kept.into_iter().for_each(|(reply, sequence)| drop(reply.send(Ok(sequence))));
        group.delivered.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
    }

    fn report(&self, error: Option<&StoreError>) {
        let metrics = &self.health.metrics;
        metrics.outbox_records.set(self.totals.records.cast_signed());
        metrics.outbox_photo_bytes.set(self.totals.photo_bytes.cast_signed());
        let near = |n: u64, max: u64| n >= max - max / 5;
        let (status, output) = match error {
            Some(e) => {
                let output =
                    format!("records can't be kept: {e}: check the disk and its free space");
                (Status::Fail, output)
            }
            None if near(self.totals.records, self.max_records)
                || near(self.totals.photo_bytes, self.max_photo_bytes) =>
            {
                let output = "over 80 % full, the oldest are given up when it is full: check the \
                              uplink and that the server gives receipts";
                (Status::Warn, output.to_owned())
            }
            None => self.standing.clone(),
        };
        self.health.set(Component::Outbox, status, output);
    }
}

fn store_error(error: &StoreError) -> OutboxError {
    OutboxError::Store(error.to_string())
}
