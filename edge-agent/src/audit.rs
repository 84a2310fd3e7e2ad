//! Looks at what the pole holds, on their way into the ledger: who, when, what, why.
//!
//! A look is written down, sealed and durable, before anything is shown; the agent enters it into the
//! ledger, at once or when it next runs, and only then deletes the file. What can't be written down is not
//! shown.

use std::{fs, io, path::Path};

use jiff::Timestamp;
use milepost_wire::Access;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    durable,
    sealing::{KeyUse, Keyring},
};

/// Name of the folder in the outbox's.
pub const FOLDER: &str = "audit";
const CONTEXT: &[u8] = b"audit";

/// One look, with the id that its entry in the ledger will have.
#[derive(Debug, Serialize, Deserialize)]
pub struct Look {
    /// Of the entry.
    pub id: Uuid,
    /// When it was written down.
    pub at: Timestamp,
    /// Who, what and why.
    pub access: Access,
}

/// Writes a look down; durable when this returns.
///
/// # Errors
/// Where it can't be: then nothing may be shown.
pub fn write_down(directory: &Path, keyring: &Keyring, access: Access) -> io::Result<()> {
    let look = Look { id: Uuid::now_v7(), at: access.at, access };
    let plain = serde_json::to_vec(&look)?;
    if plain.len() as u64 > durable::MAX_BYTES / 2 {
        return Err(io::Error::other("who looked and why is too long to be written down"));
    }
    let sealed = keyring.seal_for(KeyUse::List, CONTEXT, &plain).map_err(io::Error::other)?;
    let folder = directory.join(FOLDER);
    durable::make_folder(&folder)?;
    durable::write(&folder.join(look.id.to_string()), &sealed)
}

/// Hands the looks that were written down to `enter`; those that it took are done. One that can't be read
/// is said in the log and stays.
///
/// # Errors
/// Where the folder can't be read.
pub fn take(
    directory: &Path,
    keyring: &Keyring,
    mut enter: impl FnMut(Look) -> bool,
) -> io::Result<()> {
    let entries = match fs::read_dir(directory.join(FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some() {
            // Not whole.
            continue;
        }
        let look = durable::read(&path)
            .and_then(|sealed| keyring.unseal(CONTEXT, &sealed).map_err(io::Error::other))
            .and_then(|plain| serde_json::from_slice::<Look>(&plain).map_err(io::Error::from));
        match look {
            Ok(look) => {
                if enter(look) {
                    fs::remove_file(&path)?;
                }
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "a look that was written down can't be read");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use milepost_wire::examples;

    use super::*;
    use crate::sealing::fixtures::Pole;

    #[test]
    fn a_look_is_entered_once_and_stays_until_it_is() {
        let pole = Pole::new();
        let (ring, directory) = (pole.ring().unwrap(), pole.outbox());
        let none = |_| -> bool { panic!("nothing was written down") };
        take(&directory, &ring, none).unwrap();
        let access = examples::access().data;
        write_down(&directory, &ring, access.clone()).unwrap();
        for file in fs::read_dir(directory.join(FOLDER)).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let secret = access.by.as_bytes();
            assert!(!bytes.windows(secret.len()).any(|w| w == secret), "sealed");
        }
        let mut ids = Vec::new();
        for took in [false, true] {
            let enter = |look: Look| {
                assert_eq!(look.access, access);
                ids.push(look.id);
                took
            };
            take(&directory, &ring, enter).unwrap();
        }
        assert!(ids.len() == 2 && ids[0] == ids[1], "under the same id");
        take(&directory, &ring, none).unwrap();
    }
}
