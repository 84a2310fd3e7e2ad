//! Files that survive a power cut, small ones, and files that are destroyed.
//!
//! Fails by `io::Error`; after a failed write the old file is whole, after a failed destruction the
//! file may be there, overwritten.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

/// Ending of a file that is not yet whole.
pub(crate) const UNFINISHED: &str = "tmp";

/// What stands in the name of what was damaged and set aside.
pub(crate) const ASIDE: &str = ".damaged-";

/// Larger files than this are none of ours.
pub(crate) const MAX_BYTES: u64 = 4096;

/// Makes a folder for one user; durable with its parents' names where it was made.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match path.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Makes a folder's names durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes that are free on a folder's disk, for us.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The bytes of a small file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Where the disk can't read a file that is there, as it has gone bad: the first such place.
pub(crate) fn unreadable_at(path: &Path) -> Option<u64> {
    let file = File::open(path).ok()?;
    let mut chunk = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        match file.read_at(&mut chunk, at) {
            Ok(0) => return None,
            Ok(bytes) => at += bytes as u64,
            Err(e) => return is_bad_medium(&e).then_some(at),
        }
    }
}

/// Whether the disk could not do it, or its file system is damaged there.
pub(crate) fn is_bad_medium(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let bad = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA];
    bad.into_iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Writes a file as a whole, durably. Mode 0600.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Writes a file as a whole: under another name, fsynced, renamed; durable after [`sync_folder`].
/// Mode 0600.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension(UNFINISHED);
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // The space is needed, and what is in it may be a key.
        let _ = destroy(&unfinished);
    }
    written
}

/// Overwrites a file in place and deletes its name; durable after [`sync_folder`]. One that is not
/// there is no error. On flash the old blocks may outlive this (docs/decisions/sealing.md).
pub(crate) fn destroy(path: &Path) -> io::Result<()> {
    let overwritten = overwrite(path);
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        // Gone by name even where overwriting failed (a full disk allows the one, not the other).
        _ => match overwritten {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), error = %e, "deleted, but not overwritten");
                Ok(())
            }
            _ => Ok(()),
        },
    }
}

/// Gives what is damaged another name, durably; the name.
pub(crate) fn set_aside(path: &Path, at: Timestamp) -> io::Result<PathBuf> {
    let stamp = at.strftime("%Y%m%dT%H%M%S%3fZ");
    let named = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("{ASIDE}{stamp}-{n}"));
        PathBuf::from(name)
    };
    // The clock may stand still or go back: a number makes the name new.
    let aside = (1..).map(named).find(|path| !path.exists()).unwrap_or_default();
    fs::rename(path, &aside)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))?;
    Ok(aside)
}

/// Folders that were set aside under this name, oldest first.
pub(crate) fn asides(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(place), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let rest = entry.file_name();
        let aside = rest.to_str().and_then(|n| n.strip_prefix(name)?.split_once(ASIDE));
        // Not a link to somewhere else.
        if aside.is_some() && entry.file_type()?.is_dir() {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    let mut left = file.metadata()?.len().min(MAX_BYTES);
    let zeros = [0; 512];
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        file.write_all(&zeros[..usize::try_from(part).unwrap_or(zeros.len())])?;
        left -= part;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_the_disk_can_not_read_is_told_from_one_that_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good");
        fs::write(&good, vec![7; 3 << 20]).unwrap();
        assert_eq!(unreadable_at(&good), None);
        assert_eq!(unreadable_at(&folder.path().join("none")), None);
        // Nothing is mapped at 0: the kernel answers EIO, as for a bad sector.
        assert_eq!(unreadable_at(Path::new("/proc/self/mem")), Some(0));
    }
}
