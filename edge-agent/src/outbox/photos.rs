//! Photos as files: `<folder>/<record id>-<plate|context>.jpg`.
//!
//! Written under another name, fsynced, renamed, and the folder fsynced, all before a record names
//! them. So a file without a record is left over from a power cut and is deleted at open; a record
//! without its file is one whose photo was evicted.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use milepost_wire::PhotoKind;
use uuid::Uuid;

use super::Photo;

/// Ending of a file that is not yet whole.
const UNFINISHED: &str = "tmp";

/// The folder of the photos.
#[derive(Debug)]
pub(super) struct Photos {
    folder: PathBuf,
}

impl Photos {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        super::open::make_folder(folder)?;
        Ok(Self { folder: folder.into() })
    }

    fn path(&self, id: Uuid, kind: PhotoKind) -> PathBuf {
        self.folder.join(format!("{}-{}.jpg", id.hyphenated(), kind.name()))
    }

    /// Writes one; durable only after [`Self::sync`].
    pub(super) fn write(&self, id: Uuid, photo: &Photo) -> io::Result<()> {
        let path = self.path(id, photo.kind);
        let unfinished = path.with_extension(UNFINISHED);
        let written = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut file| file.write_all(&photo.jpeg).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // The space is needed; what can't be deleted now is deleted at the next open.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Makes the names of all that was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    pub(super) fn load(&self, id: Uuid, kind: PhotoKind) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(id, kind)) {
            Ok(jpeg) => Ok(Some(jpeg)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Deletes one; one that is not there is no error.
    pub(super) fn remove(&self, id: Uuid, kind: PhotoKind) -> io::Result<()> {
        match fs::remove_file(self.path(id, kind)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Deletes every file that no record names; says how many. Files that are not ours stay.
    pub(super) fn collect(&self, named: &HashSet<(Uuid, PhotoKind)>) -> io::Result<u64> {
        let mut deleted = 0;
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            let ours = path.file_stem().and_then(|s| s.to_str()).and_then(|stem| {
                let (id, kind) = stem.rsplit_once('-')?;
                Some((Uuid::parse_str(id).ok()?, PhotoKind::from_name(kind)?))
            });
            let whole = path.extension().is_some_and(|e| e == "jpg");
            if ours.is_some_and(|photo| !whole || !named.contains(&photo)) {
                fs::remove_file(&path)?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}
