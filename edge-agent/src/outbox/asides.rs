//! What was set aside: damaged stores, and the photos under keys that were lost. It is kept to be looked
//! at, as long as there is room for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::generation;
use crate::{durable, sealing::PHOTO_FOLDERS};

/// What lies in an outbox's folder beside what is in use.
#[derive(Debug)]
pub(super) struct Asides {
    place: PathBuf,
    /// As of the last count.
    bytes: u64,
}

impl Asides {
    pub(super) fn new(place: &Path) -> Self {
        Self { place: place.into(), bytes: 0 }
    }

    /// Whether a store is being gone through, or has to be.
    pub(super) fn is_any_needed(&self) -> io::Result<bool> {
        Ok(!generation::unsalvaged(&self.place)?.is_empty())
    }

    /// Bytes that could be given up when they were last counted. What is gone through still is not among
    /// them: nothing that is to be sent goes for its room.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn recount(&mut self) -> io::Result<()> {
        self.bytes = self.free()?.iter().map(|folder| size(folder)).sum::<io::Result<u64>>()?;
        Ok(())
    }

    /// Deletes what nobody needs to go through any more, the oldest; `None` where there is nothing.
    pub(super) fn give_up(&mut self) -> io::Result<Option<PathBuf>> {
        if self.bytes == 0 {
            return Ok(None);
        }
        let gone = self.free()?.into_iter().next();
        if let Some(folder) = &gone {
            fs::remove_dir_all(folder)?;
        }
        self.recount()?;
        Ok(gone)
    }

    /// What can go, in this order: photos first, which nothing opens but a key that comes back; no store
    /// that a salvage goes through still.
    fn free(&self) -> io::Result<Vec<PathBuf>> {
        let mut folders = durable::asides(&self.place.join(PHOTO_FOLDERS))?;
        let stores = generation::quarantined(&self.place)?.into_iter();
        folders.extend(stores.filter(|store| generation::is_salvaged(store)));
        Ok(folders)
    }
}

fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(file) if file.is_dir() => size(&entry.path())?,
            Ok(file) => file.len(),
            // The retention watchdog was quicker.
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(place: &Path, name: &str, bytes: usize) -> PathBuf {
        let folder = place.join(name);
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("deep/file"), vec![1; bytes]).unwrap();
        folder
    }

    #[test]
    fn what_was_set_aside_counts_and_goes_when_room_is_needed_but_not_while_it_is_salvaged() {
        let place = tempfile::tempdir().unwrap();
        let photos = folder(place.path(), "photos.damaged-20261127T000000000Z-1", 10);
        let done = folder(place.path(), "store-1.damaged-20261127T000000000Z-1", 100);
        let under_way = folder(place.path(), "store-2.damaged-20261127T000000000Z-1", 1000);
        folder(place.path(), "photos", 10_000);
        generation::salvaged(&done).unwrap();
        let mut asides = Asides::new(place.path());
        assert_eq!(asides.give_up().unwrap(), None, "nothing is known of before it is counted");
        asides.recount().unwrap();
        assert_eq!(asides.bytes(), 110);
        assert_eq!(asides.give_up().unwrap(), Some(photos));
        assert_eq!(asides.give_up().unwrap(), Some(done));
        assert_eq!((asides.give_up().unwrap(), asides.bytes()), (None, 0));
        assert!(under_way.exists());
    }
}
