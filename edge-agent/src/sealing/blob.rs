//! The format of sealed data. Pure.
//!
//! ```text
//! format (1) ‖ key id (8) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//! ```
//!
//! AES-256-GCM. The additional data is `milepost sealed` ‖ format ‖ key id ‖ context: all but the
//! context has a fixed length, so no two contexts read alike.

use aws_lc_rs::aead::{AES_256_GCM, Aad, MAX_TAG_LEN, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::{KeyId, MAX_PLAIN_BYTES, SealingError};

/// The first byte.
const FORMAT: u8 = 1;
const DOMAIN: &[u8] = b"milepost sealed";
const NONCE_AT: usize = 1 + KeyId::BYTES;
const SEALED_AT: usize = NONCE_AT + NONCE_LEN;

/// What sealing adds to a message.
pub const OVERHEAD_BYTES: usize = SEALED_AT + MAX_TAG_LEN;

/// Bytes at the start of a blob that name its key: enough for [`key_of`].
pub const HEAD_BYTES: usize = NONCE_AT;

fn additional_data(key: KeyId, context: &[u8]) -> Vec<u8> {
    [DOMAIN, &[FORMAT], &key.to_bytes(), context].concat()
}

/// Which key a blob was sealed with, from its first [`HEAD_BYTES`].
///
/// # Errors
/// [`SealingError::Damaged`] for what was never sealed here.
pub fn key_of(sealed: &[u8]) -> Result<KeyId, SealingError> {
    let head = sealed.get(..HEAD_BYTES).ok_or(SealingError::Damaged("too short"))?;
    if head[0] != FORMAT {
        return Err(SealingError::Damaged("unknown format"));
    }
    let id = head[1..].try_into().ok().and_then(KeyId::from_bytes);
    id.ok_or(SealingError::Damaged("its key's id is damaged"))
}

/// Seals a message.
///
/// # Errors
/// [`SealingError::TooLarge`], [`SealingError::Crypto`].
pub(super) fn seal(
    key: &RandomizedNonceKey,
    id: KeyId,
    context: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, SealingError> {
    if plain.len() > MAX_PLAIN_BYTES {
        return Err(SealingError::TooLarge { bytes: plain.len() });
    }
    let mut sealed = Vec::with_capacity(OVERHEAD_BYTES + plain.len());
    sealed.push(FORMAT);
    sealed.extend(id.to_bytes());
    sealed.extend([0; NONCE_LEN]);
    sealed.extend(plain);
    let aad = Aad::from(additional_data(id, context));
    let (nonce, tag) = key
        .seal_in_place_separate_tag(aad, &mut sealed[SEALED_AT..])
        .map_err(|_| SealingError::Crypto("sealing"))?;
    sealed[NONCE_AT..SEALED_AT].copy_from_slice(nonce.as_ref());
    sealed.extend(tag.as_ref());
    Ok(sealed)
}

/// Opens a blob that [`key_of`] said belongs to this key.
///
/// # Errors
/// [`SealingError::Damaged`].
pub(super) fn unseal(
    key: &RandomizedNonceKey,
    id: KeyId,
    context: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, SealingError> {
    let too_short = SealingError::Damaged("too short");
    if sealed.len() < OVERHEAD_BYTES {
        return Err(too_short);
    }
    let nonce =
        Nonce::try_assume_unique_for_key(&sealed[NONCE_AT..SEALED_AT]).map_err(|_| too_short)?;
    let mut plain = sealed[SEALED_AT..].to_vec();
    let opened = key
        .open_in_place(nonce, Aad::from(additional_data(id, context)), &mut plain)
        .map_err(|_| SealingError::Damaged("its tag does not fit"))?
        .len();
    plain.truncate(opened);
    Ok(plain)
}

/// The cipher with a key of [`super::key_file::KEY_BYTES`].
pub(super) fn cipher(key: &[u8]) -> Result<RandomizedNonceKey, SealingError> {
    RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| SealingError::Crypto("a data key"))
}
