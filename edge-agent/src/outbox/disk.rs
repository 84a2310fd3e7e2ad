//! Free space: a floor that is kept, and a ballast file to let go of when the disk is full all the
//! same.
//!
//! sled can neither insert nor remove on a full disk, and may not even open. So the outbox gives up
//! its oldest before that, and holds a file of [`BALLAST_BYTES`] that it deletes when a write fails:
//! what has to be written to come out of the shortage then has room.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::durable;

/// Size of the ballast: room for a few hundred commits and an eviction.
pub(super) const BALLAST_BYTES: u64 = 8 << 20;
/// With less than this free the disk counts as full: sled writes half a megabyte at a time.
const FULL_BYTES: u64 = 2 << 20;
/// Free space above the floor that the ballast needs to be made anew, as a multiple of its size.
const SPARE: u64 = 4;
/// Written at once.
const CHUNK: usize = 64 << 10;

/// The file system that the outbox is on.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    /// Bytes that are to stay free.
    floor: u64,
}

impl Disk {
    pub(super) fn new(folder: &Path, floor: u64) -> Self {
        Self { folder: folder.into(), floor }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Bytes that an unprivileged process may still write.
    pub(super) fn free(&self) -> io::Result<u64> {
        durable::free_bytes(&self.folder)
    }

    /// Bytes missing up to the floor; 0 where the system does not tell.
    pub(super) fn shortage(&self) -> u64 {
        self.free().map_or(0, |free| self.floor.saturating_sub(free))
    }

    /// Whether there is hardly room for one commit; not where the system does not tell.
    pub(super) fn is_full(&self) -> bool {
        self.free().is_ok_and(|free| free < FULL_BYTES)
    }

    /// Makes the ballast where it is missing and there is room for it. Real blocks, not a hole.
    pub(super) fn take_ballast(&self) -> io::Result<()> {
        let whole = fs::metadata(self.ballast()).is_ok_and(|file| file.len() == BALLAST_BYTES);
        if whole || self.free()? < self.floor + SPARE * BALLAST_BYTES {
            return Ok(());
        }
        let mut file = File::create(self.ballast())?;
        for _ in 0..BALLAST_BYTES / CHUNK as u64 {
            file.write_all(&[0xB0; CHUNK])?;
        }
        file.sync_all()
    }

    /// Lets go of the ballast; says whether there was any.
    pub(super) fn drop_ballast(&self) -> bool {
        fs::remove_file(self.ballast()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ballast_takes_room_only_where_there_is_room_and_is_given_back() {
        let place = tempfile::tempdir().unwrap();
        let disk = Disk::new(place.path(), 0);
        disk.take_ballast().unwrap();
        let blocks = rustix::fs::stat(disk.ballast()).unwrap().st_blocks;
        assert!(blocks.cast_unsigned() * 512 >= BALLAST_BYTES, "a hole keeps no room");
        assert!(disk.drop_ballast() && !disk.drop_ballast());
        let full = Disk::new(place.path(), u64::MAX / 2);
        full.take_ballast().unwrap();
        assert!(!full.drop_ballast());
        assert!(full.shortage() > 0 && disk.shortage() == 0);
    }
}
