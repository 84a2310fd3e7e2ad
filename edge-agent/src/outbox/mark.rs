//! How far the ledger has come, beside the store: a store that has gone back is found out.
//!
//! A log cut short can look like one that simply ended earlier; going on with it would give numbers
//! a second time. So after every commit, which is durable by then, the epoch and the last sequence
//! are written here, without an fsync of their own: what is here is never ahead of a sound store.
//! One page, which the kernel writes out now and then. It is made durably, as a whole, before the first
//! record is kept, and written over in place: whatever else is found there, or nothing, is damage.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use milepost_wire::LedgerPosition;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{durable, sealing::PHOTO_FOLDERS};

const FILE: &str = "store.mark";
/// Epoch, last sequence, and the first bytes of their SHA-256.
const BYTES: usize = 32;

fn bytes(position: LedgerPosition) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..16].copy_from_slice(position.epoch.as_bytes());
    bytes[16..24].copy_from_slice(&position.last_sequence.to_be_bytes());
    let sum = Sha256::digest(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum[..8]);
    bytes
}

/// The mark of one outbox.
#[derive(Debug)]
pub(super) struct Mark(Option<File>);

impl Mark {
    /// For writing, of a store that stands at `position`. An error where it can't be made: without it the
    /// next start would take the store for one that has gone back.
    pub(super) fn open(place: &Path, position: LedgerPosition) -> io::Result<Self> {
        let path = place.join(FILE);
        if read(place).is_none() {
            durable::write(&path, &bytes(position))?;
        }
        Ok(Self(Some(File::options().write(true).open(path)?)))
    }

    /// None at all.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    pub(super) fn write(&self, position: LedgerPosition) {
        if let Some(file) = &self.0 {
            let _ = file.write_all_at(&bytes(position), 0);
        }
    }
}

/// What it says; `None` where there is none or it is damaged.
pub(super) fn read(place: &Path) -> Option<LedgerPosition> {
    let there: [u8; BYTES] = fs::read(place.join(FILE)).ok()?.try_into().ok()?;
    let epoch = Uuid::from_slice(&there[..16]).ok()?;
    let last_sequence = u64::from_be_bytes(there[16..24].try_into().ok()?);
    let position = LedgerPosition { epoch, last_sequence };
    (bytes(position) == there).then_some(position)
}

/// Whether one was written and is not there any more, or something else, beside a store that stands at
/// `position`.
pub(super) fn is_damaged(place: &Path, position: LedgerPosition) -> bool {
    read(place).is_none() && (is_there(place) || position.last_sequence > 0)
}

/// Whether there ever was one.
pub(super) fn is_there(place: &Path) -> bool {
    place.join(FILE).exists()
}

/// Whether a store that is empty may be a new one: nothing shows that anything was kept here. A mark may
/// have gone together with the store; photos are on the disk before any record names them.
pub(super) fn may_begin(place: &Path) -> bool {
    let photos = fs::read_dir(place.join(PHOTO_FOLDERS));
    !is_there(place) && photos.map_or(true, |mut photos| photos.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was_and_a_damaged_one_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        assert!(!is_there(place.path()) && read(place.path()).is_none());
        let position = LedgerPosition { epoch: Uuid::now_v7(), last_sequence: 7 };
        let first = LedgerPosition { last_sequence: 0, ..position };
        assert!(!is_damaged(place.path(), first) && is_damaged(place.path(), position));
        let mark = Mark::open(place.path(), first).unwrap();
        assert_eq!(read(place.path()), Some(first));
        mark.write(position);
        assert_eq!(read(place.path()), Some(position));
        assert!(!is_damaged(place.path(), position));
        let file = place.path().join(FILE);
        for bit in 0..BYTES * 8 {
            let mut bytes = fs::read(&file).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &bytes).unwrap();
            assert_eq!(read(place.path()), None);
            assert!(is_damaged(place.path(), position));
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &bytes).unwrap();
        }
        for gone in [&[0; BYTES][..], &[]] {
            fs::write(&file, gone).unwrap();
            assert!(is_damaged(place.path(), first));
        }
        Mark::open(place.path(), position).unwrap();
        assert_eq!(read(place.path()), Some(position), "it is made anew");
    }
}
