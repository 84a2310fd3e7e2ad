//! Where the versions of the lists are on the disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use milepost_wire::TopicLevel;

use super::incoming;
use crate::durable;

/// The folder of a version and that of one that is being written.
pub fn paths(place: &Path, version: u64) -> (PathBuf, PathBuf) {
    let path = place.join(version.to_string());
    let unfinished = place.join(format!("{version}.{}", durable::UNFINISHED));
    (path, unfinished)
}

pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The lists that have a folder.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if TopicLevel::new(&name).is_ok() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Deletes versions that were being written, and parts of lists that are in force.
pub fn tidy(place: &Path) -> io::Result<()> {
    if let Some(highest) = versions(place)?.last() {
        incoming::forget_up_to(place, *highest)?;
    }
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == durable::UNFINISHED) && path.is_dir() {
            remove(&path)?;
        }
    }
    Ok(())
}

/// The versions of a list that are whole, oldest first.
pub fn versions(place: &Path) -> io::Result<Vec<u64>> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if let Some(version) = name.parse::<u64>().ok().filter(|v| v.to_string() == *name) {
            versions.push(version);
        }
    }
    versions.sort_unstable();
    Ok(versions)
}
