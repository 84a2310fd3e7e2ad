//! What a server has taken, on disk before its receipt: each in a file of its own, for its user alone;
//! the folder is fsynced once for all that a receipt names.

use std::{io, path::PathBuf};

use tokio::task::spawn_blocking;

use super::central::Seen;
use crate::durable;

/// Writes into one folder.
#[derive(Debug)]
pub(super) struct Saver {
    folder: PathBuf,
    /// Files were renamed since the folder was last fsynced.
    renamed: bool,
}

impl Saver {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder, renamed: false }
    }

    /// Saves what `payload` has brought; nothing for what came before.
    pub(super) async fn save(&mut self, seen: &Seen, payload: &[u8]) -> io::Result<()> {
        let (name, bytes) = match seen {
            Seen::Read { event, duplicate: false } => (format!("{}.json", event.id), payload),
            Seen::Alert { event, duplicate: false } => (format!("{}.json", event.id), payload),
            Seen::UnreadPass { event, duplicate: false } => (format!("{}.json", event.id), payload),
            Seen::Ledger { event, duplicate: false } => (format!("{}.json", event.id()), payload),
            Seen::Photo { read_id, kind, verified: true, early } => {
                (format!("{read_id}-{}.jpg", kind.name()), early.as_deref().unwrap_or(payload))
            }
            _ => return Ok(()),
        };
        let (path, bytes) = (self.folder.join(name), bytes.to_vec());
        self.renamed = true;
        blocking(move || durable::replace(&path, &bytes)).await
    }

    /// Everything saved so far survives a power cut when this returns.
    pub(super) async fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.renamed) {
            let folder = self.folder.clone();
            blocking(move || durable::sync_folder(&folder)).await?;
        }
        Ok(())
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::fs;

    use milepost_wire::{PhotoKind, examples};
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn what_came_is_saved_whole_and_an_early_photo_with_its_own_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut saver = Saver::new(folder.path().into());
        let event = Box::new(examples::read());
        let id = event.id;
        saver.save(&Seen::Read { event, duplicate: false }, b"the read").await.unwrap();
        let early = Some(b"the photo".to_vec());
        let photo = Seen::Photo { read_id: id, kind: PhotoKind::Plate, verified: true, early };
        saver.save(&photo, b"the read").await.unwrap();
        let wrong = Seen::Photo {
            read_id: Uuid::nil(),
            kind: PhotoKind::Plate,
            verified: false,
            early: None,
        };
        saver.save(&wrong, b"forged").await.unwrap();
        saver.sync().await.unwrap();
        let names = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<_> = names.map(|n| n.into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, [format!("{id}-plate.jpg"), format!("{id}.json")]);
        assert_eq!(fs::read(folder.path().join(&names[0])).unwrap(), b"the photo");
    }

    #[tokio::test]
    async fn what_can_not_be_saved_is_an_error_and_no_receipt_follows() {
        let mut saver = Saver::new("/proc/no/such/folder".into());
        let read = Seen::Read { event: Box::new(examples::read()), duplicate: false };
        assert!(saver.save(&read, b"the read").await.is_err());
    }
}
