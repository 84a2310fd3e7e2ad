//! Crypto-erase: makes everything that the pole keeps unreadable, then deletes it, and says what was
//! done in a receipt that the pole signs.
//!
//! The order is what a power cut in the middle needs: data keys first (nothing can be read any more),
//! then the key-encryption key where it is a file, then the store, the photos and what was set aside.
//! Done again, it goes on. What fails is named in the receipt; the rest is erased all the same.
//!
//! Invariants: refused while an agent runs; nothing outside the outbox's folder is touched but the key
//! file. How it fails: by [`EraseError`] before anything is erased, by [`Receipt::failed`] after.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{KeyId, Protection, key_file, purge};
use crate::{
    clock::{Discipline, last_look},
    config::Config,
    durable,
};

/// The receipt's `typ` as a JWS.
pub const RECEIPT_TYP: &str = "milepost-erase-receipt+jws";

/// Names in the outbox's folder that are its store, its photos, their quarantined like, the keys, the
/// ballast, the alert lists, looks that are not in the ledger yet, and what is in force of a suspension: an erased pole is a new one.
const OURS: [&str; 9] = [
    "store",
    purge::PHOTO_FOLDERS,
    "sealing",
    "ballast",
    "lists",
    "suspension",
    "audit",
    "time-correction-owed",
    last_look::FILE,
];
/// Stays, so that nobody else comes in meanwhile; empty.
const LOCK: &str = "lock";
/// Deepest folder below the outbox's.
const MAX_DEPTH: u32 = 8;

/// Who wants it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// The work order's or case's number.
    pub work_order: Option<String>,
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// An agent runs.
    #[error("{0} is in use: stop the agent first (systemctl stop milepost)")]
    InUse(PathBuf),
    /// The folder can't be used.
    #[error("outbox.directory {path}: {why}: nothing was erased")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

/// What was done. Signed as a JWS of the type [`RECEIPT_TYP`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The `source` of the camera's events.
    pub source: String,
    /// When it was done, by the pole's clock.
    pub erased_at: Timestamp,
    /// Whether that clock was kept to a reference.
    pub clock_synchronised: bool,
    /// Why.
    pub reason: String,
    /// By whose order.
    pub by: String,
    /// The work order's or case's number.
    pub work_order: Option<String>,
    /// Ids of the data keys that were destroyed.
    pub keys_destroyed: Vec<String>,
    /// What became of the key-encryption key.
    pub key_encryption_key: String,
    /// Files of photos deleted.
    pub photos: u64,
    /// Their size.
    pub photo_bytes: u64,
    /// Files of stores deleted.
    pub store_files: u64,
    /// Their size.
    pub store_bytes: u64,
    /// What is still in the folder and none of ours.
    pub left: Vec<String>,
    /// What could not be erased, each with its reason. Empty where all was.
    pub failed: Vec<String>,
    /// What this can't vouch for.
    pub not_guaranteed: Vec<String>,
}

/// Takes the outbox's lock, for as long as what is returned lives.
///
/// # Errors
/// [`EraseError::InUse`] while an agent runs, [`EraseError::Folder`].
pub fn lock(directory: &Path) -> Result<File, EraseError> {
    let failed = |e: io::Error| EraseError::Folder { path: directory.into(), why: e.to_string() };
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join(LOCK))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(EraseError::InUse(directory.into())),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// Erases everything. `_lock` is [`lock`]'s.
#[must_use]
pub fn erase(config: &Config, order: &Order, _lock: &File) -> Receipt {
    let mut receipt = Receipt {
        // A parsed configuration always has one.
        source: config.site.root().map(|root| root.source().to_string()).unwrap_or_default(),
        erased_at: Timestamp::now(),
        clock_synchronised: Discipline::ask().is_ok_and(|d| d.synchronised),
        reason: order.reason.clone(),
        by: order.by.clone(),
        work_order: order.work_order.clone(),
        keys_destroyed: Vec::new(),
        key_encryption_key: String::new(),
        photos: 0,
        photo_bytes: 0,
        store_files: 0,
        store_bytes: 0,
        left: Vec::new(),
        failed: Vec::new(),
        not_guaranteed: vec![
            "flash storage may hold older blocks of the key files until it reuses them: what they wrap opens only with the key-encryption key".into(),
            "what the agent wrote before it sealed, or others copied, is not covered".into(),
        ],
    };
    let keys = config.sealing_folder();
    receipt.keys(&keys);
    match durable::asides(&keys) {
        Ok(asides) => asides.iter().for_each(|aside| receipt.keys(aside)),
        Err(error) => receipt.note(&keys, &error),
    }
    receipt.kek(&Protection::from(&config.sealing));
    receipt.data(&config.outbox.directory);
    receipt
}

impl Receipt {
    /// Whether all was erased.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    fn note(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.failed.push(format!("{}: {error}", path.display()));
        }
    }

    /// Every file in the keys' folder, overwritten.
    fn keys(&mut self, folder: &Path) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.note(folder, &error),
        };
        let mut paths = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => paths.push(entry.path()),
                Err(error) => self.note(folder, &error),
            }
        }
        paths.sort();
        for path in paths {
            let key = path
                .extension()
                .filter(|e| *e == key_file::ENDING)
                .and_then(|_| path.file_stem()?.to_str()?.parse::<KeyId>().ok());
            match durable::destroy(&path) {
                Ok(()) => self.keys_destroyed.extend(key.map(|key| key.to_string())),
                Err(error) => self.note(&path, &error),
            }
        }
        if let Err(error) = durable::sync_folder(folder) {
            self.note(folder, &error);
        }
    }

    fn kek(&mut self, protection: &Protection) {
        match protection {
            Protection::Credential(name) => {
                self.key_encryption_key = format!("systemd credential {name}: not touched");
                self.not_guaranteed.push(format!(
                    "the systemd credential {name} still opens old copies of the key files: delete its .cred file and clear the TPM before the box leaves the agency's hands"
                ));
            }
            Protection::KeyFile(path) => {
                let there = path.exists();
                let destroyed = durable::destroy(path)
                    .and_then(|()| durable::sync_folder(path.parent().unwrap_or(Path::new("."))));
                self.key_encryption_key = match &destroyed {
                    Ok(()) if there => format!("key file {}: destroyed", path.display()),
                    Ok(()) => format!("key file {}: was not there", path.display()),
                    Err(_) => format!("key file {}: not destroyed", path.display()),
                };
                if let Err(error) = destroyed {
                    self.note(path, &error);
                }
                self.aside_keys(path);
                self.not_guaranteed.push(
                    "flash storage may hold the key file itself in an older block: with it, older blocks of the data keys and of sealed data could be read".into(),
                );
            }
        }
    }

    /// Key files that were set aside: with one, old copies of what it wrapped could be read.
    fn aside_keys(&mut self, path: &Path) {
        let place = path.parent().unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let entries = match fs::read_dir(place) {
            Ok(entries) => entries,
            Err(error) => return self.note(place, &error),
        };
        for entry in entries.filter_map(Result::ok) {
            let other = entry.file_name();
            let rest = other.to_str().and_then(|other| other.strip_prefix(&*name));
            if rest.is_some_and(|rest| rest.starts_with(durable::ASIDE))
                && let Err(error) = durable::destroy(&entry.path())
            {
                self.note(&entry.path(), &error);
            }
        }
    }

    fn data(&mut self, directory: &Path) {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => return self.note(directory, &error),
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let of = |ours: &str| {
                let rest = name.strip_prefix(ours);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
            };
            match OURS.into_iter().find(|ours| of(ours)) {
                Some(ours) => self.delete(&entry.path(), ours == purge::PHOTO_FOLDERS, 0),
                None if name == LOCK => {}
                None => self.left.push(name),
            }
        }
        self.left.sort();
        if let Err(error) = durable::sync_folder(directory) {
            self.note(directory, &error);
        }
    }

    /// Deletes a file or a folder with all in it, and counts. Follows no links.
    fn delete(&mut self, path: &Path, photos: bool, depth: u32) {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return self.note(path, &error),
        };
        let deleted = if metadata.is_dir() {
            match fs::read_dir(path) {
                Ok(entries) if depth < MAX_DEPTH => {
                    for entry in entries.filter_map(Result::ok) {
                        self.delete(&entry.path(), photos, depth + 1);
                    }
                }
                Ok(_) => {}
                Err(error) => self.note(path, &error),
            }
            fs::remove_dir(path)
        } else {
            fs::remove_file(path)
        };
        match deleted {
            Ok(()) if metadata.is_dir() => {}
            Ok(()) if photos => {
                self.photos += 1;
                self.photo_bytes += metadata.len();
            }
            Ok(()) => {
                self.store_files += 1;
                self.store_bytes += metadata.len();
            }
            Err(error) => self.note(path, &error),
        }
    }
}

#[cfg(test)]
mod tests;
