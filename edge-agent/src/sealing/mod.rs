//! Sealing at rest: what lies on the disk can be read only with keys that can be destroyed.
//!
//! ```text
//! systemd credential (TPM 2.0) or key file ─► key-encryption key ─► wraps the data keys (files)
//!                                                                       └─► seal records and photos
//! ```
//!
//! - [`keyring`]: data keys, a new one every hour, each in a file of its own; sealing and unsealing;
//! - [`kek`]: the key-encryption key, and how well its source protects it;
//! - [`key_file`], [`blob`]: the two formats;
//! - [`pole_time`]: the pole's own time, which no step of the wall clock moves;
//! - [`purge`], [`watchdog`]: data keys are destroyed at the configured age, whatever the rest of the
//!   agent does;
//! - [`erase`]: all of it at once, with a signed receipt;
//! - [`memory`]: no core dumps; warns of swap.
//!
//! Invariants: a key file is durable before anything is sealed under its key; a sealed blob opens only
//! in the context it was sealed in; destroying a key file makes everything under it unreadable, and
//! nothing else. No key and no plain text in `Debug` output or logs.
//!
//! How it fails: by [`SealingError`]. One unusable key file makes only its own blobs unreadable.
//! Nothing is ever deleted because it could not be unwrapped.

pub mod blob;
pub mod erase;
pub mod kek;
pub mod key_file;
pub mod keyring;
pub mod memory;
pub mod pole_time;
pub mod purge;
pub mod watchdog;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

pub use kek::{Kek, Protection};
pub use keyring::{KeyInfo, Keyring};
pub use pole_time::{Clock, ManualClock, PoleClock, PoleTime};
pub use purge::{PHOTO_FOLDERS, Purged, Purger};
pub use watchdog::Watchdog;

/// How long a data key seals before the next one is made. What is destroyed by age is destroyed in
/// steps of this.
pub const KEY_LIFE: Duration = Duration::from_secs(3600);

/// How long a key for held records seals before the next one is made.
pub const HOLD_KEY_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a key for alert lists seals before the next one is made: a list of ten million entries takes
/// three fifths of [`MAX_MESSAGES_PER_KEY`].
pub const LIST_KEY_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long a key goes on sealing where the next one can't be written. With [`KEY_LIFE`] shorter than
/// the least `retention.max_age_h`, so that a key never seals at an age at which it is destroyed.
pub const KEY_GRACE: Duration = Duration::from_secs(1800);

/// Longest that anything is kept, held records too (two years).
pub const MAX_KEPT: Duration = Duration::from_secs(730 * 24 * 3600);

/// Messages sealed with one key by one run of the agent. NIST SP 800-38D allows 2³² with random
/// nonces; this leaves room for 4000 restarts within a key's life.
pub const MAX_MESSAGES_PER_KEY: u64 = 1 << 20;

/// Largest message that is sealed.
pub const MAX_PLAIN_BYTES: usize = 64 << 20;

/// Which data key: seven random bytes and their exclusive or, so that a damaged one is not taken for
/// one that was destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; KeyId::BYTES]);

impl KeyId {
    /// Its length.
    pub const BYTES: usize = 8;

    fn random() -> Result<Self, SealingError> {
        let mut id = [0; Self::BYTES];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| SealingError::Crypto("random numbers"))?;
        id[Self::BYTES - 1] = Self::check(&id);
        Ok(Self(id))
    }

    fn check(id: &[u8; Self::BYTES]) -> u8 {
        id[..Self::BYTES - 1].iter().fold(0, |all, byte| all ^ byte)
    }

    /// From its bytes; `None` where they are damaged.
    #[must_use]
    pub fn from_bytes(id: [u8; Self::BYTES]) -> Option<Self> {
        (id[Self::BYTES - 1] == Self::check(&id)).then_some(Self(id))
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = ();

    /// As [`fmt::Display`] writes it.
    fn from_str(text: &str) -> Result<Self, ()> {
        let number = u64::from_str_radix(text, 16).map_err(|_| ())?;
        let id = Self::from_bytes(number.to_be_bytes()).ok_or(())?;
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a data key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// Records and photos; destroyed at the configured age.
    Data,
    /// What the server has put on hold; destroyed at [`MAX_KEPT`].
    Hold,
    /// Alert lists, which are replaced and deleted by themselves; destroyed at [`MAX_KEPT`].
    List,
}

impl KeyUse {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Data, Self::Hold, Self::List];

    /// How long such a key seals before the next one is made.
    #[must_use]
    pub const fn life(self) -> Duration {
        match self {
            Self::Data => KEY_LIFE,
            Self::Hold => HOLD_KEY_LIFE,
            Self::List => LIST_KEY_LIFE,
        }
    }

    /// The age at which such a key is destroyed.
    #[must_use]
    pub fn max_age(self, configured: Duration) -> Duration {
        match self {
            Self::Data => configured.min(MAX_KEPT),
            Self::Hold | Self::List => MAX_KEPT,
        }
    }
}

/// Why something can't be sealed or unsealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// The key-encryption key can't be had.
    #[error("{source_name}: {why}")]
    Kek {
        /// Where it should come from, in the configuration's words.
        source_name: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// The key-encryption key was a file, which is gone or is no key any more.
    #[error("{source_name}: {why}")]
    KekLost {
        /// Where it should come from, in the configuration's words.
        source_name: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// No key file of the folder opens with it.
    #[error(
        "none of the {files} key files in {folder} opens with the key of {source_name}: either it is not the key they were made with (restore the right one, or `milepost erase` to begin anew), or the files are damaged; nothing was deleted"
    )]
    WrongKek {
        /// The folder.
        folder: PathBuf,
        /// How many there are.
        files: usize,
        /// Where the key came from.
        source_name: String,
    },
    /// The data key was destroyed: what was sealed under it can't be read by anyone.
    #[error("data key {key} was destroyed: what was sealed with it is gone")]
    KeyGone {
        /// Which.
        key: KeyId,
    },
    /// The data key's file is damaged.
    #[error("data key {key}: its file is damaged: what was sealed with it can't be read")]
    KeyDamaged {
        /// Which.
        key: KeyId,
    },
    /// The data key's file is there and can't be used.
    #[error("data key {key}: {why}")]
    KeyUnusable {
        /// Which.
        key: KeyId,
        /// What is wrong.
        why: String,
    },
    /// Not what was sealed in this context, or not sealed at all.
    #[error("sealed data is damaged or of another record: {0}")]
    Damaged(&'static str),
    /// Too large to seal.
    #[error("{bytes} bytes are over the limit of {MAX_PLAIN_BYTES}: not sealed")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// A folder or file can't be read or written.
    #[error("{path}: {why}: check that it exists, is writable and has free space")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The cryptographic library refused.
    #[error("the cryptographic library failed at {0}: restart, and if it stays, report this build")]
    Crypto(&'static str),
}

impl SealingError {
    fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |error| Self::Io { path: path.into(), why: error.to_string() }
    }
}
