//! One data key in a file: `<folder>/<key id>.key`.
//!
//! ```text
//! magic (8) ‖ label (25) ‖ number of wraps (1) ‖ wraps
//! label: use (1) ‖ key id (8) ‖ made, pole's own seconds (8) ‖ made, Unix seconds (8)
//! wrap:  check of the key-encryption key (8) ‖ AES-KWP of label ‖ data key (72)
//! ```
//!
//! The label stands open, so that old keys can be found and destroyed without the key-encryption key,
//! and again inside each wrap, where it is authenticated. There are two wraps only while the
//! key-encryption key is being changed.
//!
//! Invariants: a file is whole or not there (see [`super::files`]). Fails with a reason in words.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{
    Clock, KeyId, KeyUse, PoleTime, SealingError,
    kek::{CHECK_BYTES, Kek},
};
use crate::durable;

/// Length of a data key (AES-256).
pub const KEY_BYTES: usize = 32;
/// Ending of a key file.
pub const ENDING: &str = "key";

const MAGIC: [u8; 8] = *b"MPKEY\0\0\x01";
const LABEL_BYTES: usize = 1 + KeyId::BYTES + 8 + 8;
pub(super) const PAYLOAD_BYTES: usize = LABEL_BYTES + KEY_BYTES;
/// RFC 5649: padded to eights, and eight more.
pub(super) const WRAPPED_BYTES: usize = PAYLOAD_BYTES.next_multiple_of(8) + 8;
const WRAP_BYTES: usize = CHECK_BYTES + WRAPPED_BYTES;
const HEAD_BYTES: usize = MAGIC.len() + LABEL_BYTES + 1;
/// The old and the new key-encryption key's.
const MAX_WRAPS: usize = 2;

/// A data key in the plain.
pub(super) type DataKey = Zeroizing<[u8; KEY_BYTES]>;

/// What is known of a data key without unwrapping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Which.
    pub id: KeyId,
    /// What it is for.
    pub key_use: KeyUse,
    /// When it was made, by the pole's own time.
    pub made: PoleTime,
    /// When it was made by the wall clock, for people; may be wrong.
    pub made_at: Timestamp,
}

impl Label {
    fn to_bytes(self) -> [u8; LABEL_BYTES] {
        let mut bytes = [0; LABEL_BYTES];
        bytes[0] = match self.key_use {
            KeyUse::Data => 1,
            KeyUse::Hold => 2,
            KeyUse::List => 3,
        };
        bytes[1..9].copy_from_slice(&self.id.to_bytes());
        bytes[9..17].copy_from_slice(&self.made.as_secs().to_be_bytes());
        bytes[17..].copy_from_slice(&self.made_at.as_second().to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; LABEL_BYTES]) -> Option<Self> {
        let eight = |at: usize| bytes[at..at + 8].try_into().unwrap_or_default();
        Some(Self {
            key_use: match bytes[0] {
                1 => KeyUse::Data,
                2 => KeyUse::Hold,
                3 => KeyUse::List,
                _ => return None,
            },
            id: KeyId::from_bytes(eight(1))?,
            made: PoleTime::from_secs(u64::from_be_bytes(eight(9))),
            made_at: Timestamp::from_second(i64::from_be_bytes(eight(17))).ok()?,
        })
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Wrap {
    check: [u8; CHECK_BYTES],
    wrapped: [u8; WRAPPED_BYTES],
}

/// A key file's content.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyFile {
    pub label: Label,
    wraps: Vec<Wrap>,
}

/// Why a key file gives no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoKey {
    /// None of its wraps is of this key-encryption key.
    OtherKek,
    /// It is damaged.
    Damaged,
    /// The library failed.
    Failed(SealingError),
}

impl KeyFile {
    /// A data key with its label, wrapped.
    pub(super) fn new(label: Label, key: &DataKey, kek: &Kek) -> Result<Self, SealingError> {
        let mut file = Self { label, wraps: Vec::new() };
        file.add(key, kek)?;
        Ok(file)
    }

    /// Adds the wrap of one more key-encryption key; one that is there already is made anew.
    pub(super) fn add(&mut self, key: &DataKey, kek: &Kek) -> Result<(), SealingError> {
        let mut payload = Zeroizing::new([0; PAYLOAD_BYTES]);
        payload[..LABEL_BYTES].copy_from_slice(&self.label.to_bytes());
        payload[LABEL_BYTES..].copy_from_slice(key.as_slice());
        let wrap = Wrap { check: kek.check(), wrapped: kek.wrap(&payload)? };
        self.wraps.retain(|w| w.check != wrap.check);
        self.wraps.push(wrap);
        let surplus = self.wraps.len().saturating_sub(MAX_WRAPS);
        self.wraps.drain(..surplus);
        Ok(())
    }

    /// Leaves only this key-encryption key's wrap; says whether there were others.
    pub(super) fn keep_only(&mut self, kek: &Kek) -> bool {
        let (before, check) = (self.wraps.len(), kek.check());
        self.wraps.retain(|w| w.check == check);
        self.wraps.len() != before
    }

    /// The data key.
    pub(super) fn open(&self, kek: &Kek) -> Result<DataKey, NoKey> {
        let check = kek.check();
        let Some(wrap) = self.wraps.iter().find(|w| w.check == check) else {
            return Err(NoKey::OtherKek);
        };
        let payload = kek.unwrap(&wrap.wrapped).map_err(NoKey::Failed)?.ok_or(NoKey::Damaged)?;
        if payload[..LABEL_BYTES] != self.label.to_bytes() {
            return Err(NoKey::Damaged);
        }
        let mut key = DataKey::default();
        key.copy_from_slice(&payload[LABEL_BYTES..]);
        Ok(key)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.wraps.len() * WRAP_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(self.label.to_bytes());
        bytes.push(u8::try_from(self.wraps.len()).unwrap_or_default());
        for wrap in &self.wraps {
            bytes.extend(wrap.check);
            bytes.extend(wrap.wrapped);
        }
        bytes
    }

    /// From bytes that may be anything; `None` where they are no key file.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, wraps) = bytes.split_at_checked(HEAD_BYTES)?;
        let (magic, rest) = head.split_at_checked(MAGIC.len())?;
        let (label, number) = rest.split_at_checked(LABEL_BYTES)?;
        let number = usize::from(*number.first()?);
        let right = magic == MAGIC
            && (1..=MAX_WRAPS).contains(&number)
            && wraps.len() == number * WRAP_BYTES;
        if !right {
            return None;
        }
        let label = Label::from_bytes(label.try_into().ok()?)?;
        let wraps = wraps.chunks_exact(WRAP_BYTES).map(|wrap| {
            let (check, wrapped) = wrap.split_at(CHECK_BYTES);
            Some(Wrap { check: check.try_into().ok()?, wrapped: wrapped.try_into().ok()? })
        });
        Some(Self { label, wraps: wraps.collect::<Option<_>>()? })
    }

    /// Durable when this returns.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        durable::write(&path(folder, self.label.id), &self.to_bytes())
    }
}

/// Where a key's file is.
pub(super) fn path(folder: &Path, id: KeyId) -> PathBuf {
    folder.join(format!("{id}.{ENDING}"))
}

/// Reads the file of a key; `None` where it is not there.
pub(super) fn read(folder: &Path, id: KeyId) -> Result<Option<KeyFile>, SealingError> {
    match read_named(folder, id)? {
        Some(file) if file.label.id != id => Err(another_key(id)),
        file => Ok(file),
    }
}

/// The file of this name, whatever key it says that it holds.
pub(super) fn read_named(folder: &Path, id: KeyId) -> Result<Option<KeyFile>, SealingError> {
    match durable::read(&path(folder, id)) {
        Ok(bytes) => match KeyFile::from_bytes(&bytes) {
            None => Err(SealingError::KeyDamaged { key: id }),
            file => Ok(file),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(SealingError::KeyUnusable { key: id, why: e.to_string() }),
    }
}

/// Its file holds a key that is whole, of another name.
pub(super) fn another_key(id: KeyId) -> SealingError {
    let why = "its file holds another key: it was renamed or copied".into();
    SealingError::KeyUnusable { key: id, why }
}

/// The ids of all key files in a folder, and other files that end alike (which are none of ours).
///
/// # Errors
/// Where the folder can't be read.
pub(super) fn list(folder: &Path) -> Result<(Vec<KeyId>, Vec<PathBuf>), SealingError> {
    let failed = SealingError::io(folder);
    let (mut ids, mut others) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let path = entry.map_err(&failed)?.path();
        if path.extension().is_none_or(|e| e != ENDING) {
            continue;
        }
        match path.file_stem().and_then(|s| s.to_str()).map(str::parse) {
            Some(Ok(id)) => ids.push(id),
            _ => others.push(path),
        }
    }
    ids.sort_unstable();
    Ok((ids, others))
}

/// Destroys key files; unknown ones are ignored.
pub(super) fn destroy(folder: &Path, keys: &[KeyId]) -> Result<(), SealingError> {
    if keys.is_empty() {
        return Ok(());
    }
    for id in keys {
        let path = path(folder, *id);
        durable::destroy(&path).map_err(SealingError::io(&path))?;
    }
    durable::sync_folder(folder).map_err(SealingError::io(folder))
}

/// Destroys the files of all keys that have reached their age; says which. Needs no key-encryption
/// key. Files whose label can't be read stay: nothing opens them.
pub(super) fn destroy_aged(
    folder: &Path,
    clock: &dyn Clock,
    max_age: Duration,
) -> Result<Vec<KeyId>, SealingError> {
    let (ids, _) = list(folder)?;
    let labels = ids.iter().filter_map(|id| read(folder, *id).ok().flatten());
    let aged = labels
        .map(|file| file.label)
        .filter(|label| clock.age(label.made) >= label.key_use.max_age(max_age))
        .map(|label| label.id)
        .collect::<Vec<_>>();
    destroy(folder, &aged)?;
    Ok(aged)
}

/// Destroys key files that a power cut left unfinished; only this process makes any.
pub(super) fn sweep(folder: &Path) -> Result<(), SealingError> {
    let failed = SealingError::io(folder);
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let path = entry.map_err(&failed)?.path();
        let of_key =
            path.file_stem().and_then(|s| s.to_str()).is_some_and(|s| s.parse::<KeyId>().is_ok());
        if of_key && path.extension().is_some_and(|e| e == durable::UNFINISHED) {
            durable::destroy(&path).map_err(&failed)?;
        }
    }
    Ok(())
}
