//! The key-encryption key: 32 bytes that wrap the data keys, and where they come from.
//!
//! - A systemd credential: `$CREDENTIALS_DIRECTORY/NAME`, which systemd unseals at the unit's start
//!   with the TPM or the machine's own key. 32 bytes, raw or as base64.
//! - A key file, made on first use. Weak, and said to be.
//!
//! Invariants: zeroed when dropped; never in `Debug` output. Fails by [`SealingError::Kek`].

use std::{
    fmt, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    hmac,
    key_wrap::{AES_256, AesKek, KeyWrapPadded as _},
    rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{
    SealingError,
    key_file::{PAYLOAD_BYTES, WRAPPED_BYTES},
};
use crate::{
    config::{Sealing, SealingKey},
    durable,
    health::Status,
};

/// Length of the key.
pub const KEK_BYTES: usize = 32;
/// Length of what tells one key from another without giving it away.
pub(super) const CHECK_BYTES: usize = 8;
/// Where systemd lays credentials out.
pub const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// How well the key-encryption key is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// A systemd credential of this name.
    Credential(String),
    /// A file beside the data.
    KeyFile(PathBuf),
}

impl Protection {
    /// The configuration's words for where the key comes from.
    #[must_use]
    pub fn source_name(&self) -> String {
        match self {
            Self::Credential(name) => format!("sealing.key credential:{name}"),
            Self::KeyFile(path) => format!("sealing.key_file {}", path.display()),
        }
    }

    /// What the health page says.
    #[must_use]
    pub fn report(&self) -> (Status, String) {
        match self {
            Self::Credential(name) => {
                (Status::Pass, format!("AES-256-GCM, key from the systemd credential {name}"))
            }
            Self::KeyFile(path) => (
                Status::Warn,
                format!(
                    "data on this pole is sealed with a key file beside it ({}): who takes the box can read it; use a TPM credential (sealing.key)",
                    path.display()
                ),
            ),
        }
    }
}

impl From<&Sealing> for Protection {
    fn from(config: &Sealing) -> Self {
        match &config.key {
            SealingKey::Credential(name) => Self::Credential(name.clone()),
            SealingKey::File(path) => Self::KeyFile(path.clone()),
        }
    }
}

/// A key-encryption key with where it came from.
#[derive(Clone)]
pub struct Kek {
    key: Zeroizing<[u8; KEK_BYTES]>,
    protection: Protection,
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({})", self.protection.source_name())
    }
}

impl Kek {
    /// The key that the configuration names. A key file that is not there is made if `may_make`.
    ///
    /// # Errors
    /// [`SealingError::Kek`] with what to do.
    pub fn load(config: &Sealing, may_make: bool) -> Result<Self, SealingError> {
        let folder = std::env::var_os(CREDENTIALS_VARIABLE).map(PathBuf::from);
        Self::load_from(config.into(), folder.as_deref(), may_make)
    }

    /// As [`Self::load`], with the folder of systemd's credentials.
    pub(super) fn load_from(
        protection: Protection,
        credentials: Option<&Path>,
        may_make: bool,
    ) -> Result<Self, SealingError> {
        let key = match &protection {
            Protection::Credential(name) => from_credential(name, credentials),
            Protection::KeyFile(path) => from_file(path, may_make),
        };
        let source_name = protection.source_name();
        match key {
            Ok(key) => Ok(Self { key, protection }),
            Err(Trouble::OutOfReach(why)) => Err(SealingError::Kek { source_name, why }),
            Err(Trouble::Lost(why)) => Err(SealingError::KekLost { source_name, why }),
        }
    }

    /// Where it came from.
    #[must_use]
    pub const fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Tells this key from another one: 64 bits of an HMAC, from which the key can't be had.
    pub(super) fn check(&self) -> [u8; CHECK_BYTES] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.as_slice());
        let tag = hmac::sign(&key, b"milepost key-encryption key check");
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&tag.as_ref()[..CHECK_BYTES]);
        check
    }

    fn cipher(&self) -> Result<AesKek, SealingError> {
        AesKek::new(&AES_256, self.key.as_slice())
            .map_err(|_| SealingError::Crypto("the key-encryption key"))
    }

    /// AES key wrap with padding (RFC 5649, NIST SP 800-38F).
    pub(super) fn wrap(
        &self,
        payload: &[u8; PAYLOAD_BYTES],
    ) -> Result<[u8; WRAPPED_BYTES], SealingError> {
        let mut wrapped = [0; WRAPPED_BYTES];
        match self.cipher()?.wrap_with_padding(payload, &mut wrapped) {
            Ok(written) if written.len() == WRAPPED_BYTES => Ok(wrapped),
            _ => Err(SealingError::Crypto("wrapping a data key")),
        }
    }

    /// The payload, or `None` where it was not wrapped with this key or is damaged.
    pub(super) fn unwrap(
        &self,
        wrapped: &[u8; WRAPPED_BYTES],
    ) -> Result<Option<Zeroizing<[u8; PAYLOAD_BYTES]>>, SealingError> {
        let mut room = Zeroizing::new([0; WRAPPED_BYTES]);
        let Ok(plain) = self.cipher()?.unwrap_with_padding(wrapped, room.as_mut_slice()) else {
            return Ok(None);
        };
        let mut payload = Zeroizing::new([0; PAYLOAD_BYTES]);
        if plain.len() != PAYLOAD_BYTES {
            return Ok(None);
        }
        payload.copy_from_slice(plain);
        Ok(Some(payload))
    }
}

type Key = Zeroizing<[u8; KEK_BYTES]>;

/// Why there is no key.
enum Trouble {
    /// It may be had again: rights, a service, a disk.
    OutOfReach(String),
    /// The file that was it is gone or is no key any more.
    Lost(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::OutOfReach(why)
    }
}

fn from_credential(name: &str, folder: Option<&Path>) -> Result<Key, Trouble> {
    let Some(folder) = folder else {
        return Err(Trouble::OutOfReach(format!(
            "{CREDENTIALS_VARIABLE} is not set: start the agent by systemd, with LoadCredentialEncrypted={name}:/etc/milepost/{name}.cred in its unit"
        )));
    };
    let path = folder.join(name);
    let bytes = Zeroizing::new(durable::read(&path).map_err(|e| {
        format!(
            "{}: {e}: put LoadCredentialEncrypted={name}:/etc/milepost/{name}.cred into the unit",
            path.display()
        )
    })?);
    Ok(decode(&bytes)?)
}

fn from_file(path: &Path, may_make: bool) -> Result<Key, Trouble> {
    let bytes = match durable::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound && may_make => return Ok(make(path)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Trouble::Lost("the file is missing, but data keys wrapped with it are there: restore it, or `milepost erase` to begin anew".into()));
        }
        Err(e) => return Err(format!("can't be read: {e}").into()),
    };
    let mode = std::fs::metadata(path).map_err(|e| e.to_string())?.mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        let why = format!("can be used by others (mode {mode:04o}): chmod 600 {path}");
        return Err(why.into());
    }
    decode(&bytes).map_err(Trouble::Lost)
}

fn make(path: &Path) -> Result<Key, String> {
    let mut key = Zeroizing::new([0; KEK_BYTES]);
    rand::fill(key.as_mut_slice()).map_err(|_| "no random numbers to be had")?;
    let folder = path.parent().unwrap_or(Path::new("."));
    durable::make_folder(folder)
        .and_then(|()| durable::write(path, key.as_slice()))
        .map_err(|e| format!("can't be made: {e}"))?;
    tracing::warn!(path = %path.display(), "made a key file for sealing: whoever has it can read the data");
    Ok(key)
}

/// 32 bytes, or base64 of them with white space around.
fn decode(bytes: &[u8]) -> Result<Key, String> {
    let mut key = Zeroizing::new([0; KEK_BYTES]);
    if bytes.len() == KEK_BYTES {
        key.copy_from_slice(bytes);
    } else {
        let decoded = STANDARD.decode(bytes.trim_ascii()).map(Zeroizing::new);
        match decoded {
            Ok(decoded) if decoded.len() == KEK_BYTES => key.copy_from_slice(&decoded),
            _ => {
                return Err(format!(
                    "holds neither {KEK_BYTES} bytes nor base64 of them: make it with `head -c {KEK_BYTES} /dev/urandom`"
                ));
            }
        }
    }
    if key.iter().all(|byte| *byte == key[0]) {
        return Err(format!(
            "is one byte repeated: make it with `head -c {KEK_BYTES} /dev/urandom`"
        ));
    }
    Ok(key)
}
