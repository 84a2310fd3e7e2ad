//! Which folder holds the store: `store-<n>`, named by the file `store.current`.
//!
//! A fresh store is built beside the one in use and becomes the one in use by renaming one small
//! file, so that a power cut leaves either. What is left of another is deleted at the next open. A
//! name that can't be read means the oldest folder: a younger one may be half built.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::durable;

/// Names the folder in use.
const POINTER: &str = "store.current";
/// What the folders' names begin with.
const PREFIX: &str = "store-";
/// In the folder of one that was gone through.
const SALVAGED: &str = "salvaged";
/// So many that were set aside are kept to be looked at.
const MAX_QUARANTINED: usize = 2;

/// One generation of the store of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    place: PathBuf,
    name: String,
}

impl Generation {
    /// The one in use in an outbox's folder; the first where there is none yet.
    pub(super) fn current(place: &Path) -> io::Result<Self> {
        let named =
            fs::read_to_string(place.join(POINTER)).ok().and_then(|text| parse(text.trim()));
        let there = all(place)?;
        let number = match named {
            Some(number) if there.contains(&number) || there.is_empty() => number,
            _ => there.into_iter().min().unwrap_or(1),
        };
        Ok(Self::numbered(place, number))
    }

    fn numbered(place: &Path, number: u64) -> Self {
        Self { place: place.into(), name: format!("{PREFIX}{number}") }
    }

    /// One that was set aside, by its folder.
    pub(super) fn aside(folder: &Path) -> Option<Self> {
        let name = folder.file_name()?.to_str()?.to_owned();
        Some(Self { place: folder.parent()?.into(), name })
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.place.join(&self.name)
    }

    /// There while its last commit is not known to have reached the disk.
    pub(super) fn suspicion(&self) -> PathBuf {
        self.place.join(format!("{}.suspect", self.name))
    }

    /// The one after it.
    pub(super) fn next(&self) -> Self {
        Self::numbered(&self.place, parse(&self.name).unwrap_or_default() + 1)
    }

    /// Sets it aside under another name, durably; where it is now.
    pub(super) fn quarantine(&self, at: Timestamp) -> io::Result<PathBuf> {
        let aside = durable::set_aside(&self.folder(), at)?;
        let all = quarantined(&self.place)?;
        let extra = all.len().saturating_sub(MAX_QUARANTINED);
        // What is not gone through stays, however many there are.
        let old = all.into_iter().filter(|path| *path != aside && is_salvaged(path));
        old.take(extra).try_for_each(fs::remove_dir_all)?;
        Ok(aside)
    }

    /// Makes it the one in use, durably.
    pub(super) fn select(&self) -> io::Result<()> {
        let (pointer, text) = (self.place.join(POINTER), format!("{}\n", self.name));
        if fs::read_to_string(&pointer).is_ok_and(|there| there == text) {
            return Ok(());
        }
        durable::write(&pointer, text.as_bytes())
    }

    /// Deletes it; one that is not there is no error.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.folder()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Deletes every other generation.
    pub(super) fn remove_others(&self) -> io::Result<()> {
        let others = all(&self.place)?.into_iter().map(|n| Self::numbered(&self.place, n));
        others.filter(|other| other != self).try_for_each(|other| other.remove())
    }
}

/// Stores that were set aside and not gone through to the end, oldest first.
pub(super) fn unsalvaged(place: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = quarantined(place)?;
    paths.retain(|path| !is_salvaged(path));
    Ok(paths)
}

/// Notes that what can be read of it has come over.
pub(super) fn salvaged(aside: &Path) -> io::Result<()> {
    File::create(aside.join(SALVAGED)).map(drop)
}

/// Whether what can be read of a store that was set aside has come over.
pub(super) fn is_salvaged(aside: &Path) -> bool {
    aside.join(SALVAGED).exists()
}

/// Stores that were set aside, oldest first.
pub(super) fn quarantined(place: &Path) -> io::Result<Vec<PathBuf>> {
    durable::asides(&place.join(PREFIX))
}

fn parse(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

fn all(place: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(place)? {
        numbers.extend(entry?.file_name().to_str().and_then(parse));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_built_generation_is_never_taken_for_the_one_in_use() {
        let place = tempfile::tempdir().unwrap();
        let first = Generation::current(place.path()).unwrap();
        assert_eq!(first.folder().file_name().unwrap(), "store-1");
        fs::create_dir(first.folder()).unwrap();
        first.select().unwrap();
        let second = first.next();
        fs::create_dir(second.folder()).unwrap();
        assert_eq!(Generation::current(place.path()).unwrap(), first);
        fs::write(place.path().join(POINTER), "\0\0\0").unwrap();
        assert_eq!(Generation::current(place.path()).unwrap(), first, "an unreadable name");
        second.select().unwrap();
        assert_eq!(Generation::current(place.path()).unwrap(), second);
        second.remove_others().unwrap();
        assert!(!first.folder().exists() && second.folder().exists());
        assert_eq!(Generation::current(place.path()).unwrap(), second);
    }

    #[test]
    fn damaged_ones_are_set_aside_under_new_names_and_only_the_last_are_kept() {
        let place = tempfile::tempdir().unwrap();
        let mut aside = Vec::new();
        for _ in 0..5 {
            let generation = Generation::current(place.path()).unwrap();
            fs::create_dir(generation.folder()).unwrap();
            generation.select().unwrap();
            aside.push(generation.quarantine(Timestamp::UNIX_EPOCH).unwrap());
            assert!(!generation.folder().exists());
        }
        assert_eq!(quarantined(place.path()).unwrap().len(), 5, "none is gone through");
        aside.iter().for_each(|path| salvaged(path).unwrap());
        let generation = Generation::current(place.path()).unwrap();
        fs::create_dir(generation.folder()).unwrap();
        let last = generation.quarantine(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(quarantined(place.path()).unwrap().len(), MAX_QUARANTINED);
        assert!(last.exists());
        assert_eq!(all(place.path()).unwrap(), Vec::<u64>::new());
    }
}
