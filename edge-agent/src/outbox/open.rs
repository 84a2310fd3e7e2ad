//! Opening: lock, a look at the store in a process of its own, quarantine, photos without a record.
//!
//! `<directory>/lock` keeps a second agent out, `store-<n>/` is sled's, `photos/` the photos,
//! `sealing/` the data keys. A damaged store is renamed to `store-<n>.damaged-<time>`, a new epoch
//! begins at once, and what can still be read of the old one comes over while the agent works.

use std::{
    fs::{self, File, TryLockError},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool, mpsc},
    thread,
};

use jiff::Timestamp;
use milepost_wire::PhotoKind;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    MAX_WAITING, Outbox, OutboxError, Setup, Shared,
    asides::Asides,
    disk::{BALLAST_BYTES, Disk},
    generation::{self, Generation},
    limits::Look,
    mark,
    photos::Photos,
    probe::Probe,
    salvage::Salvager,
    sled_state,
    sled_store::SledStore,
    stall::{Busy, EndOnPanic},
    store::{Store, StoreError, Stored},
    upkeep::Upkeep,
    writer::Writer,
};
use crate::{
    config::SealingKey,
    durable,
    health::{Component, Status},
    sealing::{Keyring, PHOTO_FOLDERS, PoleClock, SealingError},
};

/// Folder of the data keys, within the outbox's.
pub(crate) const KEYS: &str = "sealing";

pub(super) fn open(setup: Setup) -> Result<Outbox, OutboxError> {
    let health = setup.health.clone();
    let result = try_open(setup);
    if let Err(error) = &result {
        health.set(Component::Outbox, Status::Fail, error.to_string());
    }
    result
}

/// Keys that can't be used any more, and the store that was sealed with them.
struct Lost {
    why: String,
    aside: PathBuf,
}

/// What was found of the store.
enum Found {
    Sound {
        /// Records that nobody can read.
        unreadable: u64,
    },
    /// Damaged; where it is now.
    Quarantined { why: String, aside: PathBuf },
}

fn try_open(setup: Setup) -> Result<Outbox, OutboxError> {
    let directory = setup.config.directory.clone();
    let folder = |e: io::Error| OutboxError::Folder { path: directory.clone(), why: e.to_string() };
    durable::make_folder(&directory).map_err(folder)?;
    let lock = File::create(directory.join("lock")).map_err(folder)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OutboxError::InUse(directory)),
        Err(TryLockError::Error(e)) => return Err(folder(e)),
    }
    let disk = Disk::new(&directory, setup.config.min_free_bytes);
    if disk.free().is_ok_and(|free| free < BALLAST_BYTES) && disk.drop_ballast() {
        tracing::warn!("the disk is full: the ballast was let go of to open the outbox");
    }

    let (keyring, lost) = keys(&setup)?;
    let probe = Probe {
        program: setup.program.clone(),
        sealing: setup.sealing.clone(),
        keyring: keyring.clone(),
    };
    let fault = |e: StoreError| match e {
        StoreError::InUse => OutboxError::InUse(directory.clone()),
        e => OutboxError::Folder { path: directory.clone(), why: e.to_string() },
    };
    let found = look(&probe, &directory, lost).map_err(fault)?;
    let begin = matches!(found, Found::Quarantined { .. }) || mark::may_begin(&directory);
    let before = mark::read(&directory);
    let store = SledStore::open(&directory, keyring.clone(), begin).map_err(fault)?;
    let store = store.standing_alone(setup.thresholds.standing_alone);
    let store: Arc<dyn Store> = Arc::new(store);
    let photos = Photos::open(&directory.join(PHOTO_FOLDERS), keyring.clone()).map_err(folder)?;
    // Its photos may belong to records that still come over.
    let asides = generation::unsalvaged(&directory).map_err(folder)?;
    let collected = if asides.is_empty() {
        collect_orphans(&photos, &*store).unwrap_or_else(|error| {
            tracing::warn!(%error, "photos without a record could not be deleted; done at the next start");
            Collected::default()
        })
    } else {
        Collected::default()
    };
    let Collected { orphans, photos_from } = collected;
    let (records, photo_bytes) = (store.count(), photos.bytes());
    tracing::info!(records, photo_bytes, orphans, "outbox opened");

    let photos = Arc::new(photos);
    let (commands, waiting) = mpsc::sync_channel(MAX_WAITING);
    let position = store.position();
    let (changed_tx, changed) = watch::channel(position.last_sequence);
    let stop = Arc::new(AtomicBool::new(false));
    let salvager = Salvager {
        probe,
        source: setup.source.clone(),
        writer: commands.clone(),
        stop: stop.clone(),
    };
    let salvage = move |aside: PathBuf| {
        if let Err(error) = salvager.clone().start(aside) {
            tracing::error!(%error, "the damaged store can't be salvaged");
        }
    };
    let now = keyring.clock().now();
    let mut writer = Writer {
        store: store.clone(),
        photos: photos.clone(),
        keyring,
        disk,
        asides: Asides::new(&directory),
        limits: (&setup.config).into(),
        source: setup.source,
        health: setup.health,
        upkeep: Upkeep::new(setup.signer, setup.thresholds, now),
        epoch: position.epoch,
        trouble: None,
        reported: None,
        met: false,
        changed: changed_tx,
        standing: standing(&found),
        salvage: Box::new(salvage),
        busy: Busy::default(),
        last_eviction: None,
        room: 0,
        photos_from,
        disk_errors: 0,
        damaged: 0,
        stopping: false,
        _lock: lock,
    };
    let other = before.filter(|before| before.epoch != position.epoch);
    let found_unreadable = matches!(found, Found::Sound { unreadable: 1.. });
    let damage = match found {
        Found::Quarantined { why, .. } => Some(why),
        // The start that set it aside did not come to its end.
        Found::Sound { .. } if position.last_sequence == 0 && other.is_some() => {
            Some("it was set aside at an earlier start".to_owned())
        }
        Found::Sound { .. } => None,
    };
    let before = before.filter(|_| damage.is_some());
    writer.started(damage.as_deref(), before)?;
    // Before anything is read of it: what is past its time is told first.
    if found_unreadable && let Err(error) = writer.purge_all(Look::All) {
        tracing::warn!(%error, "purge failed; tried again");
    }
    asides.into_iter().for_each(|aside| (writer.salvage)(aside));
    writer.busy.watch(writer.health.clone()).map_err(folder)?;
    let thread = thread::Builder::new()
        .name("outbox".into())
        .spawn(move || {
            let _guard = EndOnPanic(writer.health.clone());
            writer.run(&waiting);
        })
        .map_err(folder)?;
    let shared = Arc::new(Shared { writer: commands, thread: Some(thread), stop });
    Ok(Outbox { store, photos, changed, shared })
}

/// The data keys. A key file or a folder of data keys that can't be used any more is set aside, as a
/// damaged store is: reading goes on under new keys. Says why, where that happened.
fn keys(setup: &Setup) -> Result<(Keyring, Option<Lost>), OutboxError> {
    let place = &setup.config.directory;
    let folder = place.join(KEYS);
    let failed = |why: String| OutboxError::Folder { path: folder.clone(), why };
    let open = || match &setup.clock {
        Some(clock) => Keyring::open_by(&setup.sealing, &folder, clock.clone()),
        None => Keyring::open(&setup.sealing, &folder),
    };
    let (why, file) = match (open(), &setup.sealing.key) {
        (Ok(keyring), _) => return Ok((keyring, None)),
        (
            Err(error @ (SealingError::KekLost { .. } | SealingError::WrongKek { .. })),
            SealingKey::File(file),
        ) => (error.to_string(), file),
        // A credential may be had again.
        (Err(error), _) => return Err(failed(error.to_string())),
    };
    // The store first: where this is cut off, the next start must not take it for one whose keys have
    // reached their age.
    let io = |e: io::Error| failed(e.to_string());
    let generation = Generation::current(place).map_err(io)?;
    let aside = match generation.quarantine(Timestamp::now()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => generation.folder(),
        aside => aside.map_err(io)?,
    };
    // The photos wait beside the keys, should the key file come back; both age as before.
    for path in [file, &place.join(PHOTO_FOLDERS), &folder] {
        match durable::set_aside(path, Timestamp::now()) {
            Ok(aside) if path == &folder => {
                PoleClock::carry_over(&aside, &folder).map_err(|e| failed(e.to_string()))?;
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e.to_string())),
            _ => {}
        }
    }
    tracing::error!(%why, "the keys were damaged and set aside; new ones are made");
    Ok((open().map_err(|e| failed(e.to_string()))?, Some(Lost { why, aside })))
}

/// Goes through the store, without its snapshots where they are what is damaged, and sets it aside
/// where it can't be used.
fn look(probe: &Probe, directory: &Path, lost: Option<Lost>) -> Result<Found, StoreError> {
    if let Some(Lost { why, aside }) = lost {
        return Ok(Found::Quarantined { why, aside });
    }
    let io = |e: io::Error| StoreError::Io { path: directory.into(), why: e.to_string() };
    let generation = Generation::current(directory).map_err(io)?;
    let check = || {
        let bytes = fs::metadata(generation.folder().join("db")).map_or(0, |f| f.len());
        let sound = || probe.check(directory, bytes);
        catch_unwind(AssertUnwindSafe(sound))
            .unwrap_or_else(|_| Err(StoreError::Damaged("sled panicked while opening it".into())))
    };
    let why = match check() {
        Err(StoreError::Damaged(why)) => why,
        other => return other.map(|unreadable| Found::Sound { unreadable }),
    };
    if !generation.folder().exists() {
        return Ok(Found::Quarantined { why, aside: generation.folder() });
    }
    // sled makes its snapshots again from the log.
    if sled_state::remove_snapshots(&generation.folder()).map_err(io)?
        && let Ok(unreadable) = check()
    {
        tracing::warn!(%why, "the store was mended by leaving its snapshot out");
        return Ok(Found::Sound { unreadable });
    }
    let aside = generation.quarantine(Timestamp::now()).map_err(io)?;
    tracing::error!(aside = %aside.display(), %why, "the store was damaged; a new one begins");
    Ok(Found::Quarantined { why, aside })
}

/// What came of looking after every photo.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Deleted: no record names them.
    pub(super) orphans: u64,
    /// The first read that has photos which could be given up.
    pub(super) photos_from: u64,
}

/// Deletes the photos that no record names. Not while a salvage may bring their records.
pub(super) fn collect_orphans(photos: &Photos, store: &dyn Store) -> io::Result<Collected> {
    let mut photos_from = store.position().last_sequence + 1;
    let orphans = photos.collect(|id: Uuid, kind: PhotoKind| {
        let sequence = store.sequence_of(id).map_err(io::Error::other)?;
        let stored = sequence.map(|s| store.at(s)).transpose().map_err(io::Error::other)?.flatten();
        Ok(match stored {
            Some(Stored::Record(record)) => {
                if !record.held {
                    photos_from = photos_from.min(record.sequence);
                }
                record.photos.iter().any(|p| p.kind == kind)
            }
            // Purged together, or readable again some day.
            Some(Stored::Unreadable { sequence, .. }) => {
                photos_from = photos_from.min(sequence);
                true
            }
            None => false,
        })
    })?;
    photos.sync()?;
    Ok(Collected { orphans, photos_from })
}

/// What the component says while all is well.
fn standing(found: &Found) -> (Status, String) {
    match found {
        // What can't be read is given up, and said, as it is met.
        Found::Sound { .. } => (Status::Pass, "durable".to_owned()),
        Found::Quarantined { why, aside } => quarantined(why, aside),
    }
}

pub(super) fn quarantined(why: &str, aside: &Path) -> (Status, String) {
    let output = format!(
        "the store was damaged ({why}) and set aside as {}; a new one is in use: if this comes \
         again, exchange the disk",
        aside.display()
    );
    (Status::Warn, output)
}
