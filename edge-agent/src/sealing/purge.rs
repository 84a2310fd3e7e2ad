//! Retention by age: destroys the data keys that have reached it, and deletes the photos that nobody
//! can read any more.
//!
//! Works on files alone, without the store's lock, the key-encryption key or any other part of the
//! agent: what is over its age is unreadable even where all of those are stuck. A photo's age is its
//! key's, so no name and no file time can mislead it. Records go with their key; the store forgets
//! them when it next comes to them.
//!
//! Invariants: a photo is deleted only where its key's file is gone; where the key folder can't be
//! listed, nothing is. How it fails: by [`SealingError`]; the next run goes on where it stopped.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Clock, KeyId, SealingError, blob, key_file};
use crate::durable;

/// Begins the name of each folder of photos: the one in use, and those set aside.
pub const PHOTO_FOLDERS: &str = "photos";

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Purged {
    /// Keys that were destroyed, and with them all that they sealed.
    pub keys: Vec<KeyId>,
    /// Photos deleted because their key is gone.
    pub photos: u64,
    /// Their size.
    pub photo_bytes: u64,
    /// Keys that are left.
    pub keys_left: usize,
    /// Age of the oldest of them, those for held records left out.
    pub oldest_key_age_s: u64,
}

/// Destroys what is over its age, again and again.
#[derive(Debug)]
pub struct Purger {
    keys: PathBuf,
    outbox: PathBuf,
    max_age: Duration,
    /// The keys at the last look at the photos: where none went, none need be looked at.
    seen: Option<Vec<KeyId>>,
}

impl Purger {
    /// For the keys in `keys` and the photos below `outbox`.
    #[must_use]
    pub fn new(keys: &Path, outbox: &Path, max_age: Duration) -> Self {
        Self { keys: keys.into(), outbox: outbox.into(), max_age, seen: None }
    }

    /// One run.
    ///
    /// # Errors
    /// [`SealingError::Io`]: something over its age may be left.
    pub fn run(&mut self, clock: &dyn Clock) -> Result<Purged, SealingError> {
        let mut purged = Purged {
            keys: key_file::destroy_aged(&self.keys, clock, self.max_age)?,
            ..Purged::default()
        };
        // Keys that were set aside age on.
        for aside in durable::asides(&self.keys).map_err(SealingError::io(&self.keys))? {
            purged.keys.extend(key_file::destroy_aged(&aside, clock, self.max_age)?);
            if key_file::list(&aside)?.0.is_empty() {
                fs::remove_dir_all(&aside).map_err(SealingError::io(&aside))?;
            }
        }
        let left = self.left()?;
        let gone = |seen: &Vec<KeyId>| seen.iter().any(|id| left.binary_search(id).is_err());
        if !purged.keys.is_empty() || self.seen.as_ref().is_none_or(gone) {
            for folder in photo_folders(&self.outbox)? {
                self.unreadable(&folder, &mut purged)?;
            }
        }
        let (ours, _) = key_file::list(&self.keys)?;
        let labels = ours.iter().filter_map(|id| key_file::read(&self.keys, *id).ok().flatten());
        let ages = labels
            .filter(|file| file.label.key_use == super::KeyUse::Data)
            .map(|file| clock.age(file.label.made).as_secs());
        purged.oldest_key_age_s = ages.max().unwrap_or_default();
        purged.keys_left = left.len();
        self.seen = Some(left);
        Ok(purged)
    }

    /// Every key that is left, those that were set aside as well, in order.
    fn left(&self) -> Result<Vec<KeyId>, SealingError> {
        let (mut left, _) = key_file::list(&self.keys)?;
        for aside in durable::asides(&self.keys).map_err(SealingError::io(&self.keys))? {
            left.extend(key_file::list(&aside)?.0);
        }
        left.sort_unstable();
        Ok(left)
    }

    /// Deletes the photos of a folder whose key is gone, and the folder where it was set aside and is
    /// empty.
    fn unreadable(&self, folder: &Path, purged: &mut Purged) -> Result<(), SealingError> {
        // Photos first, then keys: a key's file is there before anything is sealed under it.
        let photos = sealed_files(folder)?;
        let left = self.left()?;
        let before = purged.photos;
        for (path, key, bytes) in photos {
            if left.binary_search(&key).is_ok() {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => {
                    purged.photos += 1;
                    purged.photo_bytes += bytes;
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(SealingError::io(&path)(e)),
            }
        }
        if purged.photos > before {
            durable::sync_folder(folder).map_err(SealingError::io(folder))?;
        }
        if folder.to_string_lossy().contains(durable::ASIDE) {
            // Refused where something is in it still.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// The folders of photos below the outbox's.
pub(super) fn photo_folders(outbox: &Path) -> Result<Vec<PathBuf>, SealingError> {
    let failed = SealingError::io(outbox);
    let mut folders = Vec::new();
    for entry in fs::read_dir(outbox).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        let named = entry.file_name().to_str().is_some_and(|n| n.starts_with(PHOTO_FOLDERS));
        // Not a link to somewhere else.
        if named && entry.file_type().map_err(&failed)?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// The files of a folder that were sealed here, each with its key and size. Others are left alone.
fn sealed_files(folder: &Path) -> Result<Vec<(PathBuf, KeyId, u64)>, SealingError> {
    let failed = SealingError::io(folder);
    let mut sealed = Vec::new();
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        if !entry.file_type().map_err(&failed)?.is_file() {
            continue;
        }
        let mut head = [0; blob::HEAD_BYTES];
        let key = File::open(entry.path())
            .and_then(|mut file| file.read_exact(&mut head))
            .ok()
            .and_then(|()| blob::key_of(&head).ok());
        // Deleted meanwhile, or none of ours.
        if let (Some(key), Ok(metadata)) = (key, entry.metadata()) {
            sealed.push((entry.path(), key, metadata.len()));
        }
    }
    Ok(sealed)
}

#[cfg(test)]
mod tests;
