//! The one thread that writes: whatever waits is committed together, with one fsync.
//!
//! Invariants: sequences are given in the order of arrival; a sequence is used up only by a record
//! that was committed; a photo is on disk before the record that names it; the limits hold after each
//! commit, and what was given up for them is in the ledger before it is deleted.
//!
//! After a failure the store is opened again, with the ballast let go of; one that turns out to be
//! damaged is set aside, and a new epoch begins while the agent goes on.

use std::{
    fs::File,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use milepost_wire::{EvictionCause, Ledger, PhotoKind, Source};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Entry, Keeping, MAX_PHOTO_BYTES, MAX_PHOTOS, MAX_RECORD_BYTES, OutboxError,
    asides::Asides,
    disk::Disk,
    group::{Group, Reply},
    hold::{Held, HoldRequest},
    limits::Limits,
    open::{self, Collected},
    photos::Photos,
    sealed::ID_BYTES,
    stall::Busy,
    store::{Loss, PhotoRef, Record, Store, StoreError, Stored},
    upkeep::{ManifestRequest, Upkeep},
};
use crate::{
    health::{Component, Health, Status},
    sealing::{KeyUse, Keyring, blob},
};

/// A failure is shown for so long at the least: one that mends itself in an instant is one all the same.
const SHOWN: Duration = Duration::from_secs(2);
/// Most commands in one commit.
const MAX_GROUP: usize = 64;

pub(super) enum Command {
    /// All in one commit; their places.
    Keep(Vec<Entry>, Reply<Vec<u64>>),
    /// Of the ledger of this epoch.
    Delivered(Uuid, Vec<u64>, Reply<()>),
    Hold(HoldRequest, Reply<Held>),
    Manifest(ManifestRequest, Reply<u64>),
    PhotoLost(Uuid, PhotoKind, EvictionCause, Reply<()>),
    /// A reader met damage of the store itself, as it was opened so many times.
    MetDamage(StoreError, u64),
    /// A salvage has ended.
    Salvaged,
    Stop,
}

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) photos: Arc<Photos>,
    pub(super) keyring: Keyring,
    pub(super) disk: Disk,
    pub(super) asides: Asides,
    pub(super) limits: Limits,
    pub(super) source: Source,
    pub(super) health: Arc<Health>,
    pub(super) upkeep: Upkeep,
    pub(super) epoch: Uuid,
    /// Why the last try failed; health says so until one succeeds.
    pub(super) trouble: Option<StoreError>,
    /// The last failure that was reported, and when.
    pub(super) reported: Option<(Instant, StoreError)>,
    /// A reader met damage in this store before.
    pub(super) met: bool,
    pub(super) changed: watch::Sender<u64>,
    /// What the component says while all is well.
    pub(super) standing: (Status, String),
    /// Takes what was set aside, to bring over what can be read of it.
    pub(super) salvage: Box<dyn Fn(PathBuf) + Send>,
    pub(super) busy: Busy,
    /// The last eviction of records, into which the next one folds it while it waits.
    pub(super) last_eviction: Option<u64>,
    /// Records given up for room that have not been used up by new ones.
    pub(super) room: u64,
    /// No read before this one has photos that could be given up.
    pub(super) photos_from: u64,
    /// Failures of the disk since the start that were none of room.
    pub(super) disk_errors: u64,
    /// Records and photos given up since the start because they could not be read.
    pub(super) damaged: u64,
    pub(super) stopping: bool,
    /// Held as long as the store may be written.
    pub(super) _lock: File,
}

impl Writer {
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        self.report(None);
        while !self.stopping {
            let mut wait = self.upkeep.next().saturating_duration_since(Instant::now());
            if self.reported.is_some() {
                wait = wait.min(SHOWN);
            }
            self.busy.end();
            let next = commands.recv_timeout(wait);
            self.busy.begin();
            match next {
                Ok(first) => {
                    let more = commands.try_iter().take(MAX_GROUP - 1);
                    let group: Vec<_> = std::iter::once(first).chain(more).collect();
                    self.commit(group);
                }
                // A failure was shown for long enough.
                Err(RecvTimeoutError::Timeout) => self.report(None),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.upkeep.next() <= Instant::now() {
                self.keep_up();
            }
        }
        self.stop();
        self.busy.end();
    }

    /// A group whose first record follows the last one kept.
    pub(super) fn group(&self) -> Result<Group, StoreError> {
        let position = self.store.position();
        let chain = self.store.chain_after(position.last_sequence)?.ok_or_else(|| {
            StoreError::Damaged(format!("no link of the chain at {}", position.last_sequence))
        })?;
        let next = Ledger { epoch: position.epoch, sequence: position.last_sequence + 1 };
        Ok(Group::new(next, chain))
    }

    fn commit(&mut self, commands: Vec<Command>) {
        let mut group = match self.sound_group() {
            Ok(group) => group,
            Err(error) => {
                let error = self.failed(&error);
                self.stopping |= commands.iter().any(|c| matches!(c, Command::Stop));
                return commands.into_iter().for_each(|c| c.refuse(&error));
            }
        };
        // A photo that could not be written is refused alone; the rest of the group goes on.
        let (opening, mut refused, mut salvaged) = (self.store.openings(), None, false);
        for command in commands {
            match command {
                Command::Keep(entries, reply) => {
                    let entries = entries.into_iter();
                    let result: Result<Vec<u64>, _> =
                        entries.map(|entry| self.prepare(entry, &mut group)).collect();
                    if let Err(OutboxError::Store(why)) = &result {
                        refused = Some(StoreError::Failed(why.clone()));
                    }
                    group.answer(reply, result);
                }
                // A number of a ledger that was replaced is another record's now.
                Command::Delivered(epoch, _, reply) if epoch != self.epoch => {
                    group.answer(reply, Ok(()));
                }
                Command::Delivered(_, sequences, reply) => {
                    let result = self.delete(&sequences, &mut group);
                    group.answer(reply, result.map_err(OutboxError::from));
                }
                Command::Hold(request, reply) => {
                    let result = self.hold(request, &mut group);
                    group.answer(reply, result);
                }
                Command::Manifest(request, reply) => {
                    let result = self.manifest(&request, &mut group);
                    group.answer(reply, result);
                }
                Command::PhotoLost(id, kind, cause, reply) => {
                    let result = self.photo_lost(id, kind, cause, &mut group);
                    group.answer(reply, result.map_err(OutboxError::from));
                }
                Command::MetDamage(error, at) if at == opening => group.met = Some(error),
                Command::MetDamage(..) => {}
                Command::Salvaged => salvaged = true,
                Command::Stop => self.stopping = true,
            }
        }
        let met = group.met.take();
        if let Some(error) = &refused {
            // The caller knows already, and the commit may wait for the disk.
            self.report(Some(error));
        }
        self.carry_out(group);
        // Not where that has opened it again.
        if let Some(error) = met.filter(|_| self.store.openings() == opening) {
            self.met_damage(&error);
        }
        if salvaged {
            self.collect();
        }
        if let Some(error) = refused {
            self.make_room();
            self.report(Some(&error));
        }
    }

    /// Keeps the limits, commits, and answers.
    pub(super) fn carry_out(&mut self, mut group: Group) {
        let result = self.keep_limits(&mut group).and_then(|()| self.write(&group));
        match result {
            Ok(()) => self.finish(group),
            Err(error) => {
                let error = self.failed(&error);
                group.end(&Err(error));
            }
        }
    }

    fn write(&self, group: &Group) -> Result<(), StoreError> {
        if group.photos_written {
            self.photos.sync().map_err(|e| StoreError::Failed(e.to_string()))?;
        }
        if group.is_empty() { Ok(()) } else { self.store.commit(&group.change) }
    }

    /// A group on a store that works: after a failure it is opened again, or set aside.
    pub(super) fn sound_group(&mut self) -> Result<Group, StoreError> {
        match self.group() {
            Err(StoreError::Damaged(why)) if !self.disk.is_full() => self.set_aside(&why)?,
            // Not there since a failure.
            Err(_) => self.open_again()?,
            Ok(_) => {}
        }
        if self.store.position().epoch != self.epoch {
            self.begin_epoch("the store was not there any more")?;
        }
        self.group()
    }

    /// Notes a failure, makes room and opens the store again for the next try.
    pub(super) fn failed(&mut self, error: &StoreError) -> OutboxError {
        tracing::error!(%error, "outbox commit failed");
        if matches!(error, StoreError::Io { .. }) && !self.disk.is_full() {
            self.disk_errors += 1;
            let output = format!(
                "the disk has failed {} times since the start ({error}): a power cut may lose what was \
                 kept since. Restart the machine, which checks its file system; exchange the disk if \
                 this comes again",
                self.disk_errors
            );
            self.standing = (Status::Warn, output);
        }
        self.make_room();
        // Damage that a store shows to every commit is not mended by opening it again.
        let again = matches!(
            (error, &self.trouble),
            (StoreError::Damaged(_), Some(StoreError::Damaged(_)))
        );
        // Health says so before the store is opened again, which may hang.
        self.trouble = Some(error.clone());
        self.report(Some(error));
        let opened = match error {
            StoreError::Damaged(why) if again && !self.disk.is_full() => self.set_aside(why),
            _ => self.open_again(),
        };
        if let Err(error) = opened {
            tracing::error!(%error, "the store could not be opened again; tried again");
        }
        self.report(Some(error));
        error.clone().into()
    }

    /// Photos without a record were left while a salvage might have brought it.
    fn collect(&mut self) {
        self.busy.begin_opening(self.store.bytes());
        let collected = match self.asides.is_any_needed() {
            // The last salvage to end does it.
            Ok(true) => return self.busy.begin(),
            Ok(false) => open::collect_orphans(&self.photos, &*self.store),
            Err(error) => Err(error),
        };
        match collected {
            Ok(Collected { orphans, photos_from }) => {
                tracing::info!(orphans, "photos of records that a salvage did not bring over");
                self.photos_from = photos_from;
            }
            Err(error) => tracing::warn!(%error, "photos without a record could not be deleted"),
        }
        self.busy.begin();
    }

    /// Damage was met: the store is opened again, and at the second time set aside.
    fn met_damage(&mut self, error: &StoreError) {
        if std::mem::replace(&mut self.met, true) {
            self.trouble = Some(error.clone());
        }
        self.failed(error);
        // What the outcome is goes to the health page now, not with the next record.
        if let Ok(group) = self.sound_group() {
            self.carry_out(group);
        }
    }

    fn make_room(&self) {
        if self.disk.drop_ballast() {
            tracing::warn!("the ballast was let go of to make room");
        }
    }

    fn open_again(&mut self) -> Result<(), StoreError> {
        self.busy.begin_opening(self.store.bytes());
        let opened = self.store.reopen();
        self.busy.begin();
        match opened {
            // sled can't tell a store that it has no room to open from a damaged one.
            Err(StoreError::Damaged(why)) if self.disk.is_full() => {
                Err(StoreError::Failed(format!("{why} (the disk is full)")))
            }
            Err(StoreError::Damaged(why)) => self.set_aside(&why),
            other => other,
        }
    }

    fn set_aside(&mut self, why: &str) -> Result<(), StoreError> {
        let aside = self.store.replace()?;
        tracing::error!(aside = %aside.display(), %why, "the store was damaged; a new one begins");
        (self.met, self.photos_from) = (false, 0);
        self.standing = open::quarantined(why, &aside);
        // What it brings waits until the new ledger has its first entry, here or at the next try.
        (self.salvage)(aside);
        self.count_asides();
        self.begin_epoch(why)
    }

    /// Writes an entry's photos and puts its record into the group.
    pub(super) fn prepare(&self, entry: Entry, group: &mut Group) -> Result<u64, OutboxError> {
        let Entry { id, kind, captured_at, body, photos } = entry;
        let known = match group.ids.get(&id) {
            Some(&sequence) => Some(sequence),
            None => group.noting(self.store.sequence_of(id))?,
        };
        if let Some(sequence) = known {
            return Ok(sequence);
        }
        let (new, photos, held, key) = match photos {
            Keeping::New(photos) => {
                check_photos(&photos)?;
                let refer = |p: &super::Photo| {
                    let bytes = (p.jpeg.len() + blob::OVERHEAD_BYTES) as u64;
                    PhotoRef { kind: p.kind, bytes }
                };
                let references = photos.iter().map(refer).collect();
                (photos, references, false, None)
            }
            // Else it would be sealed with a new key, and live another while.
            Keeping::Again { key: Some(key), .. } if !self.keyring.has(key) => {
                return Err(OutboxError::Aged);
            }
            Keeping::Again { photos, held, key } => (Vec::new(), photos, held, key),
        };
        let sequence = group.next.sequence;
        let body = body(group.next).map_err(|e| OutboxError::Body(e.to_string()))?;
        let delivered = false;
        let record = Record { sequence, id, kind, captured_at, photos, held, delivered, key, body };
        let bytes = record.encode()?.len() + ID_BYTES + blob::OVERHEAD_BYTES;
        if bytes > MAX_RECORD_BYTES {
            return Err(OutboxError::TooLarge { bytes });
        }
        for photo in new {
            group.photos_written = true;
            if let Err(error) = self.photos.write(id, &photo, KeyUse::Data) {
                group.remove_photos.extend(record.photos.iter().map(|p| (id, p.kind)));
                return Err(OutboxError::Store(format!("photo could not be written: {error}")));
            }
        }
        group.put(record);
        Ok(sequence)
    }

    /// As [`Self::prepare`], for what the outbox itself says.
    pub(super) fn put(&self, group: &mut Group, entry: Entry) -> Result<(), StoreError> {
        self.prepare(entry, group).map(drop).map_err(|e| StoreError::Failed(e.to_string()))
    }

    fn delete(&self, sequences: &[u64], group: &mut Group) -> Result<(), StoreError> {
        for &sequence in sequences {
            // Put on hold, or released, in this very group.
            if let Some(record) = group.written_again(sequence) {
                record.delivered = record.held;
                if !record.held {
                    let record = record.clone();
                    group.drop_record(&record);
                }
                continue;
            }
            match group.noting(self.store.at(sequence))? {
                Some(Stored::Record(record)) if record.delivered => {}
                Some(Stored::Record(record)) if record.held => {
                    group.put_again(Record { delivered: true, ..record });
                }
                Some(Stored::Record(record)) => group.drop_record(&record),
                // It may be on hold.
                Some(Stored::Unreadable { loss: Loss::OutOfReach, .. }) => {}
                Some(Stored::Unreadable { id, .. }) => {
                    group.drop_unreadable(&self.photos, sequence, id);
                }
                None => {}
            }
        }
        Ok(())
    }

    fn finish(&mut self, mut group: Group) {
        for (id, kind) in std::mem::take(&mut group.remove_photos) {
            if let Err(error) = self.photos.remove(id, kind) {
                // Deleted at the next open: no record names it any more.
                tracing::warn!(%error, "a photo could not be deleted");
            }
        }
        self.health.metrics.outbox_evictions.inc_by(group.evictions);
        self.trouble = None;
        self.last_eviction = group.eviction.or(self.last_eviction);
        self.photos_from = group.photos_from.unwrap_or(self.photos_from);
        self.room = (self.room + group.room).saturating_sub(group.added());
        if group.damaged > 0 {
            self.damaged += group.damaged;
            let output = format!(
                "{} records or photos could not be read since the start and were given up on the \
                 ledger: if this comes again, exchange the disk",
                self.damaged
            );
            self.standing = (Status::Warn, output);
        }
        self.report(None);
        self.changed.send_replace(self.store.position().last_sequence);
        group.end(&Ok(()));
    }

    pub(super) fn report(&mut self, error: Option<&StoreError>) {
        let records = self.store.count();
        let photo_bytes = self.photos.bytes();
        let store_bytes = self.store.bytes();
        let error = error.or(self.trouble.as_ref());
        match error {
            Some(error) => self.reported = Some((Instant::now(), error.clone())),
            None => drop(self.reported.take_if(|(at, _)| at.elapsed() >= SHOWN)),
        }
        let metrics = &self.health.metrics;
        metrics.outbox_records.set(self.store.waiting().cast_signed());
        metrics.outbox_held_records.set(self.store.delivered().cast_signed());
        metrics.outbox_photo_bytes.set(photo_bytes.cast_signed());
        metrics.outbox_store_bytes.set(store_bytes.cast_signed());
        let near = |n: u64, max: u64| n >= max - max / 5;
        let shortage = self.disk.shortage();
        let limits = &self.limits;
        let (status, output) = match (error, &self.reported) {
            (Some(e), _) => {
                let output =
                    format!("records can't be kept: {e}: check the disk and its free space");
                (Status::Fail, output)
            }
            (None, Some((_, why))) => {
                let output = format!(
                    "records could not be kept a moment ago: {why}: check the disk and its free space"
                );
                (Status::Fail, output)
            }
            _ if shortage > 0 => {
                let output = format!(
                    "the disk is nearly full ({shortage} bytes below outbox.min_free_bytes): the \
                     oldest are given up; make room on it"
                );
                (Status::Warn, output)
            }
            _ if near(records, limits.records)
                || near(photo_bytes, limits.photo_bytes)
                || near(photo_bytes + store_bytes, limits.bytes) =>
            {
                let output = "over 80 % full, the oldest are given up when it is full: check the \
                              uplink and that the server gives receipts";
                (Status::Warn, output.to_owned())
            }
            _ => match self.upkeep.out_of_reach.as_ref().or(self.upkeep.complaint.as_ref()) {
                Some(complaint) => (Status::Warn, complaint.clone()),
                None => self.standing.clone(),
            },
        };
        self.health.set(Component::Outbox, status, output);
    }
}

impl Command {
    fn refuse(self, error: &OutboxError) {
        match self {
            Self::Keep(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Manifest(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Delivered(_, _, reply) | Self::PhotoLost(_, _, _, reply) => {
                drop(reply.send(Err(error.clone())));
            }
            Self::Hold(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::MetDamage(..) | Self::Salvaged | Self::Stop => {}
        }
    }
}

fn check_photos(photos: &[super::Photo]) -> Result<(), OutboxError> {
    let twice = photos.len() == 2 && photos[0].kind == photos[1].kind;
    if photos.len() > MAX_PHOTOS || twice {
        return Err(OutboxError::Photos("more than one of a kind".into()));
    }
    match photos.iter().find(|p| !(1..=MAX_PHOTO_BYTES).contains(&p.jpeg.len())) {
        Some(photo) => {
            let why = format!("{} bytes; 1 to {MAX_PHOTO_BYTES} are kept", photo.jpeg.len());
            Err(OutboxError::Photos(why))
        }
        None => Ok(()),
    }
}
