//! What a server has taken, on disk before its receipt: each in a file of its own, written, fsynced
//! and renamed; the folder is fsynced once for all that a receipt names.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use tokio::task::spawn_blocking;

use super::central::Seen;

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
            Seen::UnreadPass { event, duplicate: false } => (format!("{}.json", event.id), payload),
            Seen::Ledger { event, duplicate: false } => (format!("{}.json", event.id()), payload),
            Seen::Photo { read_id, kind, verified: true, early } => {
                (format!("{read_id}-{}.jpg", kind.name()), early.as_deref().unwrap_or(payload))
            }
            _ => return Ok(()),
        };
        let (folder, bytes) = (self.folder.clone(), bytes.to_vec());
        self.renamed = true;
        blocking(move || {
            let unfinished = folder.join(format!("{name}.new"));
            let mut file = File::create(&unfinished)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(unfinished, folder.join(name))
        })
        .await
    }

    /// Everything saved so far survives a power cut when this returns.
    pub(super) async fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.renamed) {
            let folder = self.folder.clone();
            blocking(move || File::open(folder)?.sync_all()).await?;
        }
        Ok(())
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
