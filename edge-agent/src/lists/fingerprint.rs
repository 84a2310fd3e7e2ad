//! Plates as keyed numbers: what an index holds instead of text.
//!
//! `HMAC-SHA256(key, folded plate)`, its first 64 bits. Folded, so that all texts that look alike have one
//! number and are found by one look; keyed, so that the numbers mean nothing without the version's key.

use aws_lc_rs::hmac;

use crate::look_alikes;

/// Length of a key.
pub const KEY_BYTES: usize = 32;

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
        let tag = hmac::sign(&self.0, folded.as_bytes());
        tag.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
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
