//! Opening: lock, store, quarantine, photos without a record.
//!
//! `<directory>/lock` keeps a second agent out, `store/` is sled's, `photos/` the photos. A damaged
//! store is renamed to `store.damaged-<time>` with its photos beside it, and a new epoch begins.
//! sled was seen to panic on damage; in a release build a panic ends the process, so this catches
//! it only where panics unwind (opening in a child process is what will hold in both).

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use jiff::Timestamp;
use milepost_wire::Source;
use tokio::sync::watch;

use super::{
    MAX_WAITING, Outbox, OutboxError,
    photos::Photos,
    sled_store::SledStore,
    store::{Store, StoreError},
    writer::{Totals, Writer},
};
use crate::{
    config,
    health::{Component, Health, Status},
};

/// Records read at a time when the store is looked through.
const SCAN: usize = 512;

pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(super) fn open(
    config: &config::Outbox,
    source: Source,
    health: Arc<Health>,
) -> Result<Outbox, OutboxError> {
    let result = try_open(config, source, &health);
    if let Err(error) = &result {
        health.set(Component::Outbox, Status::Fail, error.to_string());
    }
    result
}

fn try_open(
    config: &config::Outbox,
    source: Source,
    health: &Arc<Health>,
) -> Result<Outbox, OutboxError> {
    let directory = &config.directory;
    let folder = |e: io::Error| OutboxError::Folder { path: directory.clone(), why: e.to_string() };
    make_folder(directory).map_err(folder)?;
    let lock = File::create(directory.join("lock")).map_err(folder)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OutboxError::InUse(directory.clone())),
        Err(TryLockError::Error(e)) => return Err(folder(e)),
    }

    let (store_folder, photo_folder) = (directory.join("store"), directory.join("photos"));
    let (store, damage) = match open_store(&store_folder) {
        Ok(store) => (store, None),
        Err(StoreError::Damaged(why)) => {
            let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
            let aside = directory.join(format!("store.damaged-{stamp}"));
            fs::rename(&store_folder, &aside).map_err(folder)?;
            if photo_folder.exists() {
                let photos = directory.join(format!("photos.damaged-{stamp}"));
                fs::rename(&photo_folder, photos).map_err(folder)?;
            }
            let store = open_store(&store_folder).map_err(|e| OutboxError::Folder {
                path: store_folder.clone(),
                why: e.to_string(),
            })?;
            tracing::error!(aside = %aside.display(), %why, "the store was damaged; a new one begins");
            (store, Some(aside))
        }
        Err(StoreError::InUse) => return Err(OutboxError::InUse(directory.clone())),
        Err(e) => {
            return Err(OutboxError::Folder { path: store_folder, why: e.to_string() });
        }
    };

    let photos = Photos::open(&photo_folder).map_err(folder)?;
    let (totals, named) = totals(&store).map_err(|e| OutboxError::Store(e.to_string()))?;
    let orphans = photos.collect(&named).map_err(folder)?;
    photos.sync().map_err(folder)?;
    tracing::info!(
        records = totals.records,
        photo_bytes = totals.photo_bytes,
        orphans,
        "outbox opened"
    );
    let standing = match &damage {
        Some(aside) => {
            let output = format!(
                "the store was damaged and set aside as {}; a new one is in use: save that folder, then delete it",
                aside.display()
            );
            (Status::Warn, output)
        }
        None => (Status::Pass, "durable".to_owned()),
    };

    let (store, photos): (Arc<dyn Store>, _) = (Arc::new(store), Arc::new(photos));
    let (commands, waiting) = mpsc::sync_channel(MAX_WAITING);
    let (changed_tx, changed) = watch::channel(store.position().last_sequence);
    let writer = Writer {
        store: store.clone(),
        photos: photos.clone(),
        source,
        health: health.clone(),
        max_records: config.max_records,
        max_photo_bytes: config.max_photo_bytes,
        totals,
        changed: changed_tx,
        standing,
        _lock: lock,
    };
    thread::Builder::new()
        .name("outbox".into())
        .spawn(move || writer.run(&waiting))
        .map_err(folder)?;
    Ok(Outbox { store, photos, writer: commands, changed })
}

fn open_store(folder: &Path) -> Result<SledStore, StoreError> {
    catch_unwind(AssertUnwindSafe(|| SledStore::open(folder)))
        .unwrap_or_else(|_| Err(StoreError::Damaged("sled panicked while opening it".into())))
}

type Named = HashSet<(uuid::Uuid, milepost_wire::PhotoKind)>;

fn totals(store: &dyn Store) -> Result<(Totals, Named), StoreError> {
    let (mut totals, mut named) = (Totals::default(), Named::new());
    let mut next = 0;
    loop {
        let records = store.records(next, SCAN)?;
        let Some(last) = records.last() else { return Ok((totals, named)) };
        next = last.sequence.saturating_add(1);
        for record in &records {
            totals.records += 1;
            totals.photo_bytes += record.photo_bytes();
            named.extend(record.photos.iter().map(|p| (record.id, p.kind)));
        }
    }
}
