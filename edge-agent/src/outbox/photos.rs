//! Photos as files: `<folder>/<record id>-<plate|context>.sealed`.
//!
//! Sealed, written under another name, fsynced, renamed, and the folder fsynced, all before a record
//! names them. So a file without a record is left over from a power cut and is deleted at open; a
//! record without its file is one whose photo was evicted.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use milepost_wire::PhotoKind;
use uuid::Uuid;

use super::Photo;
use crate::{
    durable,
    sealing::{KeyUse, Keyring, SealingError},
};

/// Ending of a whole photo.
const WHOLE: &str = "sealed";

/// The folder of the photos.
#[derive(Debug)]
pub(super) struct Photos {
    folder: PathBuf,
    keyring: Keyring,
    /// On disk, as the files' lengths.
    bytes: AtomicU64,
}

/// What loading a photo came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    Jpeg(Vec<u8>),
    /// Its time has ended: its key was destroyed.
    Aged,
    /// Not there.
    Missing,
    /// No longer what was written.
    Damaged,
    /// Its key can't be used now, and may be again.
    OutOfReach,
}

/// What a sealed photo is bound to.
fn context(id: Uuid, kind: PhotoKind) -> Vec<u8> {
    [&b"photo"[..], id.as_bytes(), kind.name().as_bytes()].concat()
}

impl Photos {
    pub(super) fn open(folder: &Path, keyring: Keyring) -> io::Result<Self> {
        durable::make_folder(folder)?;
        let photos = Self { folder: folder.into(), keyring, bytes: AtomicU64::new(0) };
        photos.recount()?;
        Ok(photos)
    }

    /// Takes their size from the disk: the retention watchdog deletes some on its own. Only where
    /// nothing else is being written.
    pub(super) fn recount(&self) -> io::Result<()> {
        let mut bytes = 0;
        for file in fs::read_dir(&self.folder)? {
            match file?.metadata() {
                Ok(file) => bytes += file.len(),
                // One that can't be looked at is met when it is to be sent.
                Err(e) if e.kind() == io::ErrorKind::NotFound || durable::is_bad_medium(&e) => {}
                Err(e) => return Err(e),
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn path(&self, id: Uuid, kind: PhotoKind) -> PathBuf {
        self.folder.join(format!("{}-{}.{WHOLE}", id.hyphenated(), kind.name()))
    }

    /// Writes one and says how large its file is; durable only after [`Self::sync`].
    pub(super) fn write(&self, id: Uuid, photo: &Photo, usage: KeyUse) -> io::Result<u64> {
        let sealed = self
            .keyring
            .seal_for(usage, &context(id, photo.kind), &photo.jpeg)
            .map_err(io::Error::other)?;
        let path = self.path(id, photo.kind);
        let before = fs::metadata(&path).map_or(0, |m| m.len());
        durable::replace(&path, &sealed)?;
        let size = sealed.len() as u64;
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        Ok(size)
    }

    /// Makes the names of all that was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        durable::sync_folder(&self.folder)
    }

    /// What is in one's file.
    pub(super) fn load(&self, id: Uuid, kind: PhotoKind) -> io::Result<Loaded> {
        let sealed = match fs::read(self.path(id, kind)) {
            Ok(sealed) => sealed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Missing),
            Err(e) if durable::is_bad_medium(&e) => {
                tracing::warn!(%id, kind = kind.name(), "the disk can't read a photo");
                return Ok(Loaded::Damaged);
            }
            Err(e) => return Err(e),
        };
        Ok(match self.keyring.unseal(&context(id, kind), &sealed) {
            Ok(jpeg) => Loaded::Jpeg(jpeg),
            Err(SealingError::KeyGone { .. }) => Loaded::Aged,
            Err(error @ (SealingError::Damaged(_) | SealingError::KeyDamaged { .. })) => {
                tracing::warn!(%id, kind = kind.name(), %error, "a photo can't be read");
                Loaded::Damaged
            }
            Err(error) => {
                tracing::warn!(%id, kind = kind.name(), %error, "a photo can't be read now");
                Loaded::OutOfReach
            }
        })
    }

    /// Size of one's file; 0 where it is not there.
    pub(super) fn size(&self, id: Uuid, kind: PhotoKind) -> u64 {
        fs::metadata(self.path(id, kind)).map_or(0, |m| m.len())
    }

    /// Deletes one; one that is not there is no error.
    pub(super) fn remove(&self, id: Uuid, kind: PhotoKind) -> io::Result<()> {
        self.remove_file(&self.path(id, kind))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let size = match fs::metadata(path) {
            Ok(file) => file.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        match fs::remove_file(path) {
            Ok(()) => {
                self.bytes.fetch_sub(size, Ordering::Relaxed);
                Ok(())
            }
            // The retention watchdog was quicker.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Deletes every file that `named` says no record names, and everything unfinished; says how
    /// many. Files that are not ours stay.
    pub(super) fn collect(
        &self,
        mut named: impl FnMut(Uuid, PhotoKind) -> io::Result<bool>,
    ) -> io::Result<u64> {
        let mut deleted = 0;
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            let ours = path.file_stem().and_then(|s| s.to_str()).and_then(|stem| {
                let (id, kind) = stem.rsplit_once('-')?;
                Some((Uuid::parse_str(id).ok()?, PhotoKind::from_name(kind)?))
            });
            let Some((id, kind)) = ours else { continue };
            let whole = path.extension().is_some_and(|e| e == WHOLE);
            if !whole || !named(id, kind)? {
                self.remove_file(&path)?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}
