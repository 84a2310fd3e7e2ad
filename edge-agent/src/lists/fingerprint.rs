//! Plates as keyed numbers: what an index holds instead of text.
//!
//! `HMAC-SHA256(key, folded plate)`, its first 64 bits. Folded, so that all texts that look alike have one
//! number and are found by one look; keyed, so that the numbers mean nothing without the version's key.
//! Blind lists have tags of 128 bits beside them, of the plate as it is and of an entry's id.

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::look_alikes;

/// Length of a key.
pub const KEY_BYTES: usize = 32;
/// Length of a tag.
pub const TAG_BYTES: usize = 16;

/// Stands for one text, where a number stands for all that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tag(pub [u8; TAG_BYTES]);

/// Makes the numbers of one version of a list.
#[derive(Debug, Clone)]
pub struct Fingerprints(hmac::Key);

impl Fingerprints {
    /// With a version's key.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The number of a plate and of all that look like it.
    #[must_use]
    pub fn of(&self, plate: &str) -> u64 {
        self.of_folded(&look_alikes::fold(plate))
    }

    /// As [`Self::of`], of a plate that is folded already.
    #[must_use]
    pub fn of_folded(&self, folded: &str) -> u64 {
        u64::from_be_bytes(self.first("", folded))
    }

    /// The tag of a plate as it is.
    #[must_use]
    pub fn tag_of_plate(&self, plate: &str) -> Tag {
        Tag(self.first("exact", plate))
    }

    /// The tag of an entry's id.
    #[must_use]
    pub fn tag_of_id(&self, id: &str) -> Tag {
        Tag(self.first("id", id))
    }

    /// The first bytes of the hash. Plates have no small letters: no use of the key meets another's input.
    fn first<const N: usize>(&self, what: &str, text: &str) -> [u8; N] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(what.as_bytes());
        context.update(text.as_bytes());
        let hash = context.sign();
        std::array::from_fn(|i| hash.as_ref()[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_has_one_number_and_another_key_another() {
        let (one, other) = (Fingerprints::new(&[1; 32]), Fingerprints::new(&[2; 32]));
        assert_eq!(one.of("7ABO123"), one.of("7A80123"));
        assert_ne!(one.of("7ABO123"), one.of("7ABX123"));
        assert_ne!(one.of("7ABO123"), other.of("7ABO123"));
    }
}
