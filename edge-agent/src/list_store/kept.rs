//! Something small that outlives the agent: one sealed file, written as a whole.
//!
//! How it fails: what can't be unsealed or understood is set aside and begun anew, which
//! [`Kept::aside`] tells; one that can't be written is an error, and the file stays as it was.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    durable,
    sealing::{KeyUse, Keyring},
};

/// Larger files than this are none of ours.
const MAX_BYTES: u64 = 8 << 20;

/// A value and its file.
pub struct Kept<T> {
    /// The value; on the disk as of the last [`Self::save`].
    pub value: T,
    /// Where a damaged file was set aside when this was opened.
    pub aside: Option<PathBuf>,
    path: PathBuf,
    keyring: Keyring,
}

impl<T: Serialize + DeserializeOwned + Default> Kept<T> {
    /// What is in the file; the default where there is none.
    ///
    /// # Errors
    /// Where what is damaged can't be set aside.
    pub fn open(path: PathBuf, keyring: &Keyring) -> io::Result<Self> {
        let (value, aside) = match load(&path, keyring) {
            Ok(value) => (value, None),
            Err(why) if why.kind() == io::ErrorKind::NotFound => (T::default(), None),
            Err(why) => {
                let aside = durable::set_aside(&path, Timestamp::now())?;
                let (path, now) = (path.display(), aside.display());
                tracing::error!(%path, aside = %now, %why, "it is damaged, and begun anew");
                (T::default(), Some(aside))
            }
        };
        Ok(Self { value, aside, path, keyring: keyring.clone() })
    }

    /// As [`Self::open`], beside an agent that has it open: nothing is changed, and what can't be read is as if
    /// it were not there.
    #[must_use]
    pub fn open_to_read(path: PathBuf, keyring: &Keyring) -> Self {
        let value = load(&path, keyring).unwrap_or_else(|why| {
            if why.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %why, "it can't be read, and is left out");
            }
            T::default()
        });
        Self { value, aside: None, path, keyring: keyring.clone() }
    }

    /// Makes this the value, on the disk first.
    ///
    /// # Errors
    /// Where it can't be written: the value is what it was.
    pub fn save(&mut self, value: T) -> io::Result<()> {
        self.write(&value)?;
        self.value = value;
        Ok(())
    }

    /// Brings the value to the disk.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write_out(&self) -> io::Result<()> {
        self.write(&self.value)
    }

    fn write(&self, value: &T) -> io::Result<()> {
        let plain = serde_json::to_vec(value)?;
        let sealed = self.keyring.seal_for(KeyUse::List, &context(&self.path), &plain);
        durable::write(&self.path, &sealed.map_err(io::Error::other)?)
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The file's name: one can't stand in another's place.
fn context(path: &Path) -> Vec<u8> {
    path.file_name().unwrap_or_default().as_encoded_bytes().to_vec()
}

fn load<T: DeserializeOwned>(path: &Path, keyring: &Keyring) -> io::Result<T> {
    let mut sealed = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut sealed)?;
    let plain = keyring.unseal(&context(path), &sealed).map_err(io::Error::other)?;
    // serde's own words could repeat what stands there.
    serde_json::from_slice(&plain).map_err(|_| io::Error::other("not what was written"))
}
