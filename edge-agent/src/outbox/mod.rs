//! The durable queue between the reader and the server. The only module that knows sled.
//!
//! [`Outbox::keep`] returns when the record and its photos survive a power cut, with the record's
//! **sequence**: up by one from 1 within an **epoch**, without gaps, given in the same atomic write
//! as the record. A record leaves by [`Outbox::delivered`], or by eviction when the store is full,
//! which is itself a record.
//!
//! - one thread owns every write and commits whatever waits together ([`writer`], [`group`]), keeps
//!   the limits ([`limits`], [`disk`]), and does what is due by itself ([`upkeep`]);
//! - small records go into sled ([`sled_store`], [`index`], [`sled_state`], [`generation`]), photos are files of their own
//!   ([`photos`]), written, fsynced and renamed before the record that names them; both are sealed;
//! - the store is opened in a process of its own first ([`probe`]); a damaged one is set aside and a
//!   new one, with a new epoch, begins ([`open`]); what can be read of the old one comes over
//!   ([`salvage`]).
//!
//! How it fails: a full or broken disk makes `keep` an error (the sequence is not used up) and the
//! component `fail`; the caller may try again with the same id, which is kept once.

mod asides;
mod block;
mod disk;
mod generation;
mod group;
mod hold;
mod index;
mod limits;
mod mark;
mod open;
mod packed;
mod photos;
pub mod probe;
mod salvage;
mod sealed;
mod sled_state;
mod sled_store;
mod stall;
mod store;
mod upkeep;
mod writer;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod ledger_tests;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    ops::RangeInclusive,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use jiff::Timestamp;
use milepost_wire::{
    Alert, Data, Event, EvictionCause, Ledger, LedgerPosition, PhotoKind, Read, Source, UnreadPass,
};
use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    config,
    health::Health,
    sealing::{Clock, KeyId},
};

pub(crate) use open::KEYS;

pub use hold::{Held, HoldRequest};
pub use sled_store::SledStore;
pub use store::{Change, Fact, Kind, Loss, PhotoRef, Record, Store, StoreError, Stored};
pub use upkeep::{ManifestRequest, Signer, Thresholds};

/// Largest record in bytes, its own bookkeeping included. Above about 6 KB sled puts a value into a
/// file that it never fsyncs, and a power cut then makes the store unopenable.
pub const MAX_RECORD_BYTES: usize = 6000;

/// Largest photo in bytes; a 1080p JPEG at quality 100 is about 2 MB.
pub const MAX_PHOTO_BYTES: usize = 8 << 20;

/// Most photos of one record: one of each kind.
pub const MAX_PHOTOS: usize = PhotoKind::ALL.len();

/// Writes waiting for the writer before `keep` waits too.
const MAX_WAITING: usize = 64;

/// One photo of a record.
#[derive(Clone, PartialEq, Eq)]
pub struct Photo {
    /// Which of the two.
    pub kind: PhotoKind,
    /// The JPEG.
    pub jpeg: Vec<u8>,
}

impl fmt::Debug for Photo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Photo({:?}, {} bytes)", self.kind, self.jpeg.len())
    }
}

/// Makes the final body once the record's place in the ledger is known.
pub type Body = Box<dyn FnOnce(Ledger) -> Result<Vec<u8>, serde_json::Error> + Send>;

/// What is to be kept.
pub struct Entry {
    /// The event's id; an id that is kept already is not kept again.
    pub id: Uuid,
    /// Which topic it goes to.
    pub kind: Kind,
    /// Exposure time; decides later whether it is historical.
    pub captured_at: Timestamp,
    /// Its event without `historical`.
    pub body: Body,
    /// At most one of each kind.
    pub photos: Keeping,
}

/// The photos of an entry.
pub enum Keeping {
    /// To be written.
    New(Vec<Photo>),
    /// It was kept before, in a store that was replaced: files that are there already, and what its
    /// time on the pole ends by.
    Again {
        /// The files.
        photos: Vec<PhotoRef>,
        /// On hold.
        held: bool,
        /// What it was sealed with.
        key: Option<KeyId>,
    },
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?} {})", self.kind, self.id)
    }
}

impl Entry {
    /// A read with its photos.
    #[must_use]
    pub fn read(source: Source, read: Read, photos: Vec<Photo>) -> Self {
        Self::event(Kind::Read, read.read_id, source, read.captured_at, read, photos)
    }

    /// An alert.
    #[must_use]
    pub fn alert(source: Source, alert: Alert) -> Self {
        Self::event(Kind::Alert, alert.alert_id, source, alert.captured_at, alert, Vec::new())
    }

    /// An unread pass.
    #[must_use]
    pub fn unread_pass(source: Source, pass: UnreadPass) -> Self {
        Self::event(Kind::UnreadPass, pass.pass_id, source, pass.captured_at, pass, Vec::new())
    }

    /// What the pole says of itself.
    #[must_use]
    pub fn ledger<T: Data + Serialize + Send + 'static>(
        id: Uuid,
        source: Source,
        at: Timestamp,
        data: T,
    ) -> Self {
        Self::event(Kind::Ledger, id, source, at, data, Vec::new())
    }

    pub(crate) fn event<T: Data + Serialize + Send + 'static>(
        kind: Kind,
        id: Uuid,
        source: Source,
        captured_at: Timestamp,
        data: T,
        photos: Vec<Photo>,
    ) -> Self {
        let body = move |ledger| Event::new(id, source, captured_at, Some(ledger), data).to_json();
        Self { id, kind, captured_at, body: Box::new(body), photos: Keeping::New(photos) }
    }
}

/// Why the outbox could not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboxError {
    /// Another process has it.
    #[error(
        "{0} is in use by another process: stop the other agent, or give this one its own outbox.directory"
    )]
    InUse(PathBuf),
    /// The folder can't be used.
    #[error("outbox.directory {path}: {why}: check that it exists, is writable and has free space")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The record is too large to be safe in the store.
    #[error(
        "record of {bytes} bytes is over the limit of {MAX_RECORD_BYTES}: it was not kept; report this \
         with the agent's version"
    )]
    TooLarge {
        /// Its size with bookkeeping.
        bytes: usize,
    },
    /// A photo is empty or too large, or there is more than one of a kind.
    #[error("photos that can't be kept: {0}")]
    Photos(String),
    /// Its time on the pole has ended: its data key was destroyed.
    #[error("its time on the pole has ended")]
    Aged,
    /// The body could not be made.
    #[error("record could not be written as JSON: {0}")]
    Body(String),
    /// The store failed; whether the record survives is not known, so try again with the same id.
    #[error("the store failed: {0}: check the disk and its free space")]
    Store(String),
    /// A photo whose data key can't be used now; it is kept.
    #[error("a photo's data key can't be used: check the files in sealing/ below outbox.directory")]
    OutOfReach,
    /// A manifest of a stretch that the ledger does not have, or does not know any more.
    #[error("no manifest of {0}")]
    Stretch(String),
    /// Nothing to sign with.
    #[error("no key to sign with is configured: set uplink.certificate_file and uplink.key_file")]
    NoIdentity,
    /// Signing failed.
    #[error("{0}")]
    Signature(String),
    /// The writer has ended.
    #[error("the outbox is closed: the agent is stopping, or has to be started again")]
    Closed,
}

impl From<StoreError> for OutboxError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl OutboxError {
    /// Whether trying again with the same entry can't succeed.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Photos(_) | Self::Body(_) | Self::Aged)
    }
}

/// What an outbox is opened with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its folder and limits.
    pub config: config::Outbox,
    /// Where the key-encryption key comes from.
    pub sealing: config::Sealing,
    /// What signs for the ledger.
    pub signer: Option<Signer>,
    /// The agent's own program, to open the store in a process of its own first; without it the
    /// store is opened at once, and a panic of sled's is caught only where panics unwind.
    pub program: Option<PathBuf>,
    /// What ages are measured with; `None`: the machine's clocks ([`crate::sealing::PoleClock`]).
    pub clock: Option<Arc<dyn Clock>>,
    /// When the store is made smaller.
    pub thresholds: Thresholds,
    /// Stands in the records that the outbox itself makes.
    pub source: Source,
    /// Where it says how it is.
    pub health: Arc<Health>,
}

impl Setup {
    /// With a key file in its own folder, nothing to sign with, and no process of its own: for tests
    /// and tools.
    #[must_use]
    pub fn plain(config: config::Outbox, source: Source, health: Arc<Health>) -> Self {
        let sealing =
            config::Sealing { key: config::SealingKey::File(config.directory.join("sealing.key")) };
        Self {
            config,
            sealing,
            signer: None,
            program: None,
            clock: None,
            thresholds: Thresholds::default(),
            source,
            health,
        }
    }
}

/// Some records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Those that can be read.
    pub records: Vec<Record>,
    /// Places of those whose data key can't be used now; they are kept.
    pub out_of_reach: Vec<u64>,
}

/// A handle on the outbox; clones share it. The writer ends with the last handle, which waits for it.
#[derive(Clone)]
pub struct Outbox {
    store: Arc<dyn Store>,
    photos: Arc<photos::Photos>,
    changed: watch::Receiver<u64>,
    shared: Arc<Shared>,
}

struct Shared {
    writer: mpsc::SyncSender<writer::Command>,
    thread: Option<thread::JoinHandle<()>>,
    /// Tells a salvage under way.
    stop: Arc<AtomicBool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.writer.send(writer::Command::Stop);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbox({:?})", self.position())
    }
}

impl Outbox {
    /// Opens or makes an outbox and starts its writer.
    ///
    /// # Errors
    /// [`OutboxError::InUse`], [`OutboxError::Folder`]. A damaged store is no error: it is set
    /// aside and reported as a warning of the component, and a new epoch begins.
    pub fn open(setup: Setup) -> Result<Self, OutboxError> {
        open::open(setup)
    }

    /// Reads of the store; what is wrong with it is told to the writer, which mends or replaces it.
    fn read<T>(
        &self,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, OutboxError> {
        let opening = self.store.openings();
        work(&*self.store).map_err(|error| {
            if error.is_of_the_store() {
                // One word is enough: where the writer is behind, it has others to come.
                let word = writer::Command::MetDamage(error.clone(), opening);
                let _ = self.shared.writer.try_send(word);
            }
            error.into()
        })
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(group::Reply<T>) -> writer::Command,
    ) -> Result<T, OutboxError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.shared.writer.send(command(reply)).map_err(|_| OutboxError::Closed)?;
        answer.recv().map_err(|_| OutboxError::Closed)?
    }

    /// Keeps an entry; durable when this returns. Blocks for about one fsync.
    ///
    /// # Errors
    /// Nothing was kept, except after [`OutboxError::Store`], where it is not known: try again
    /// with the same id.
    pub fn keep(&self, entry: Entry) -> Result<u64, OutboxError> {
        let kept = self.keep_all(vec![entry])?;
        kept.into_iter().next().ok_or(OutboxError::Closed)
    }

    /// Keeps entries in one commit, in this order: after a power cut all of them are there or none.
    ///
    /// # Errors
    /// As [`Self::keep`]; where one of them can't be kept ([`OutboxError::is_final`]), those before it may
    /// be.
    pub fn keep_all(&self, entries: Vec<Entry>) -> Result<Vec<u64>, OutboxError> {
        self.ask(|reply| writer::Command::Keep(entries, reply))
    }

    /// Deletes records, and their photos, that the server has; those on hold go once they are released.
    /// Unknown sequences are ignored. After a power cut some may be back; they are then sent again.
    ///
    /// # Errors
    /// [`OutboxError::Store`]: they are all still there or all gone.
    pub fn delivered(&self, sequences: Vec<u64>) -> Result<(), OutboxError> {
        let epoch = self.position().epoch;
        self.ask(|reply| writer::Command::Delivered(epoch, sequences, reply))
    }

    /// Puts records on hold (or ends it): they outlive their receipt, the configured age and the limits, up to
    /// two years. Who asked is in the ledger.
    ///
    /// # Errors
    /// [`OutboxError::Store`].
    pub fn hold(&self, request: HoldRequest) -> Result<Held, OutboxError> {
        self.ask(|reply| writer::Command::Hold(request, reply))
    }

    /// Signs for a stretch of the ledger; the sequence of the entry that carries it.
    ///
    /// # Errors
    /// [`OutboxError::Stretch`], [`OutboxError::NoIdentity`], [`OutboxError::Signature`],
    /// [`OutboxError::Store`].
    pub fn manifest(&self, request: ManifestRequest) -> Result<u64, OutboxError> {
        self.ask(|reply| writer::Command::Manifest(request, reply))
    }

    /// Readable records from `first` on, oldest first, at most `limit`; fewer only where there are no
    /// more.
    ///
    /// # Errors
    /// [`OutboxError::Store`].
    pub fn records(&self, first: u64, limit: usize) -> Result<Vec<Record>, OutboxError> {
        Ok(self.page(first..=u64::MAX, false, limit)?.records)
    }

    /// Readable records of a range, oldest or newest first, at most `limit` of them; fewer are all that
    /// the range has, but for what is out of reach.
    ///
    /// # Errors
    /// [`OutboxError::Store`].
    pub fn page(
        &self,
        sequences: RangeInclusive<u64>,
        newest_first: bool,
        limit: usize,
    ) -> Result<Page, OutboxError> {
        let (mut first, mut last) = sequences.into_inner();
        let mut page = Page::default();
        while page.records.len() < limit && first <= last {
            let room = limit - page.records.len();
            let stored = self.read(|store| {
                if newest_first {
                    store.newest(first..=last, room)
                } else {
                    store.stored(first, room)
                }
            })?;
            let Some(end) = stored.last().map(Stored::sequence) else { break };
            if newest_first {
                let Some(before) = end.checked_sub(1) else { break };
                last = before;
            } else {
                first = end.saturating_add(1);
            }
            for stored in stored {
                match stored {
                    Stored::Record(record) => page.records.push(record),
                    Stored::Unreadable { sequence, loss: Loss::OutOfReach, .. } => {
                        page.out_of_reach.push(sequence);
                    }
                    Stored::Unreadable { .. } => {}
                }
            }
        }
        Ok(page)
    }

    /// One record; `None` where it is not there (any more) or can't be read.
    ///
    /// # Errors
    /// [`OutboxError::Store`].
    pub fn record(&self, sequence: u64) -> Result<Option<Record>, OutboxError> {
        let stored = self.read(|store| store.at(sequence))?;
        Ok(stored.and_then(Stored::record))
    }

    /// The sequence of a kept record.
    ///
    /// # Errors
    /// [`OutboxError::Store`].
    pub fn sequence_of(&self, id: Uuid) -> Result<Option<u64>, OutboxError> {
        self.read(|store| store.sequence_of(id))
    }

    /// A record's photo; `None` where it is not there (any more). One that should be there and can't
    /// be read is given up on the ledger.
    ///
    /// # Errors
    /// [`OutboxError::Store`] where the disk can't be read, [`OutboxError::OutOfReach`].
    pub fn photo(&self, id: Uuid, kind: PhotoKind) -> Result<Option<Vec<u8>>, OutboxError> {
        let loaded = self.photos.load(id, kind).map_err(|e| OutboxError::Store(e.to_string()))?;
        match loaded {
            photos::Loaded::Jpeg(jpeg) => return Ok(Some(jpeg)),
            // Where its record is still there, what it says of its key is what is damaged.
            photos::Loaded::Aged => self.lost(id, kind, EvictionCause::Damaged)?,
            photos::Loaded::Missing => self.lost(id, kind, EvictionCause::Missing)?,
            photos::Loaded::Damaged => self.lost(id, kind, EvictionCause::Damaged)?,
            photos::Loaded::OutOfReach => return Err(OutboxError::OutOfReach),
        }
        Ok(None)
    }

    /// Gives up a photo that is larger than any message may be, on the ledger.
    ///
    /// # Errors
    /// [`OutboxError::Store`].
    pub fn give_up_photo(&self, id: Uuid, kind: PhotoKind) -> Result<(), OutboxError> {
        self.lost(id, kind, EvictionCause::TooLarge)
    }

    fn lost(&self, id: Uuid, kind: PhotoKind, cause: EvictionCause) -> Result<(), OutboxError> {
        self.ask(|reply| writer::Command::PhotoLost(id, kind, cause, reply))
    }

    /// Where the ledger is.
    #[must_use]
    pub fn position(&self) -> LedgerPosition {
        self.store.position()
    }

    /// Records waiting for the server.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.store.waiting()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says the last sequence each time a record was kept.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}
