//! The ledger's hash chain: one number that stands for every body up to a place in the sequence.
//!
//! `chain(0) = SHA-256("milepost ledger v1" ‖ epoch)`, the epoch as its 16 bytes;
//! `chain(n) = SHA-256(chain(n-1) ‖ SHA-256(body n))`, where a body is the event as it was sent,
//! without `historical` ([`crate::event::kept`]). A server that holds every body from
//! one place to another can compute the chain over them and compare it with the pole's signed
//! [`Manifest`](crate::Manifest); one that was given no body (it was evicted) goes on from the chain
//! that the eviction names.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Sets the first link apart from every other use of SHA-256.
const START: &[u8] = b"milepost ledger v1";

/// The chain's value after one place of the sequence; on the wire 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Chain([u8; 32]);

impl Chain {
    /// Before the first record of an epoch.
    #[must_use]
    pub fn start(epoch: Uuid) -> Self {
        Self(Sha256::new().chain_update(START).chain_update(epoch.as_bytes()).finalize().into())
    }

    /// After one more body (without `historical`).
    #[must_use]
    pub fn then(self, body: &[u8]) -> Self {
        self.then_digest(Sha256::digest(body).into())
    }

    /// After one more body, of which only the SHA-256 is at hand.
    #[must_use]
    pub fn then_digest(self, body: [u8; 32]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(body).finalize().into())
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Chain {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({self})")
    }
}

/// Not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a chain is 64 lower-case hexadecimal digits")]
pub struct NoChain;

impl FromStr for Chain {
    type Err = NoChain;

    fn from_str(text: &str) -> Result<Self, NoChain> {
        let digit = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        if text.len() != 64 || !text.as_bytes().iter().all(digit) {
            return Err(NoChain);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NoChain)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NoChain)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Chain {
    type Error = NoChain;

    fn try_from(text: String) -> Result<Self, NoChain> {
        text.parse()
    }
}

impl From<Chain> for String {
    fn from(chain: Chain) -> Self {
        chain.to_string()
    }
}

impl JsonSchema for Chain {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Chain".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        crate::schema::sha256(generator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_chain_comes_back_as_it_was(bytes in any::<[u8; 32]>()) {
            let chain = Chain::from(bytes);
            prop_assert_eq!(chain.to_string().parse(), Ok(chain));
        }

        #[test]
        fn a_body_changed_left_out_or_moved_changes_the_chain(
            bodies in vec(vec(any::<u8>(), 0..9), 2..9), at in any::<prop::sample::Index>(), flip in 1u8..,
        ) {
            let over = |bodies: &[Vec<u8>]| bodies.iter().fold(Chain::start(Uuid::nil()), |c, b| c.then(b));
            let right = over(&bodies);
            let at = at.index(bodies.len());
            let mut changed = bodies.clone();
            match changed[at].first_mut() {
                Some(byte) => *byte ^= flip,
                None => changed[at].push(flip),
            }
            prop_assert_ne!(over(&changed), right);
            let mut left_out = bodies.clone();
            left_out.remove(at);
            prop_assert_ne!(over(&left_out), right);
            let mut moved = bodies.clone();
            moved.rotate_left(1);
            prop_assert!(moved == bodies || over(&moved) != right);
        }
    }

    #[test]
    fn the_first_link_is_the_one_that_the_contract_names() {
        // Made with: printf 'milepost ledger v1' | cat - <(head -c16 /dev/zero) | sha256sum
        let start = "f8b614d2145ce589b23fc553c15dee5fb452684edaefdb57eb9d6e84094a331a";
        assert_eq!(Chain::start(Uuid::nil()).to_string(), start);
        assert!(
            "0".repeat(63).parse::<Chain>().is_err() && "G".repeat(64).parse::<Chain>().is_err()
        );
    }
}
