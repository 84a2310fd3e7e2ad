//! What a server can say of a pole's ledger, in words and numbers.

use std::ops::RangeInclusive;

use milepost_wire::{Chain, SequenceRange, Source};
use uuid::Uuid;

/// Ranges named in a [`LedgerState`], of each kind.
pub const MAX_NAMED: usize = 16;

/// What a manifest is worth by what has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every body of its stretch is there and as signed, or was given up by a signed eviction.
    Verified,
    /// It can't be said yet.
    Open(Waits),
    /// It does not fit: something was changed, or it is not the pole's word.
    Wrong(String),
}

/// What an open manifest waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Bodies that have not come.
    Bodies,
    /// A manifest of the eviction that explains what is missing.
    Eviction,
    /// A manifest of just the bodies before what was given up ([`LedgerState::ask_for`]): the chain
    /// can't be followed from them to a signed value.
    Between,
    /// Nothing any more: a body's digest had to be forgotten before it could be checked.
    Memory,
    /// An authority to check its signature by; none was given.
    Authority,
}

impl Waits {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Bodies => "records of it have not come",
            Self::Eviction => "the eviction of what is missing is not signed for yet",
            Self::Between => "ask for a manifest of the records between what was given up",
            Self::Memory => "it can't be checked any more: too much to remember",
            Self::Authority => "no authority was given to check its signature by",
        }
    }
}

/// A stretch that the pole has signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// First sequence.
    pub from: u64,
    /// Last one.
    pub to: u64,
    /// The chain before `from`.
    pub before: Chain,
    /// The chain after `to`.
    pub after: Chain,
    /// Made by itself, not because a command asked: these join without overlap.
    pub hourly: bool,
}

impl Stretch {
    pub(super) fn range(&self) -> RangeInclusive<u64> {
        self.from..=self.to
    }
}

/// Where a ledger stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerState {
    /// Whose.
    pub source: Source,
    /// Which.
    pub epoch: Uuid,
    /// First sequence that came or was given up; 0 for none.
    pub first: u64,
    /// Last one.
    pub last: u64,
    /// The last one that the pole says it has given, where it said.
    pub announced: u64,
    /// How many are missing between first and last.
    pub missing: u64,
    /// The first [`MAX_NAMED`] ranges of them.
    pub missing_ranges: Vec<SequenceRange>,
    /// Bodies that a signature vouches for.
    pub verified: u64,
    /// The last [`MAX_NAMED`] ranges of them.
    pub verified_ranges: Vec<SequenceRange>,
    /// The chain after the last of them.
    pub verified_chain: Option<Chain>,
    /// Ranges that only a manifest of just them can vouch for.
    pub ask_for: Vec<SequenceRange>,
    /// Bodies forgotten before they could be checked.
    pub unchecked: u64,
    /// Manifests that fit.
    pub verified_manifests: u64,
    /// Manifests that do not.
    pub wrong_manifests: u64,
    /// Manifests of which it can't be said yet.
    pub open_manifests: u64,
}
