//! Entries that give no alert for a time, by the server's order. Pure.
//!
//! **By which clock.** A mute ends at its `until` by the wall clock, kept or not, or when the pole has been
//! on, or was off for all it knows, for as long as was asked for: whichever comes first. So a clock that
//! stands or was set back keeps no entry muted, and one that runs ahead ends a mute early: rather an alert
//! too many than one too few. What is over is forgotten and does not come back with the clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use milepost_wire::{MAX_MUTE, Mute};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    answered::Answered,
    sealing::{Clock, PoleTime},
};

/// Most entries muted at once.
pub const MAX_MUTES: usize = 1000;

/// The clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// What the wall clock says.
    pub wall: Timestamp,
    /// The pole's own time, which nothing sets.
    pub own: &'a dyn Clock,
}

/// What the server asks, and who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The server's command.
    pub command_id: Uuid,
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The case.
    pub case_number: Option<String>,
    /// Which list.
    pub list: String,
    /// Which entry of it.
    pub entry_id: String,
    /// Until when it is to give no alert; `None`: it is to give alerts again.
    pub until: Option<Timestamp>,
}

impl Order {
    /// What the ledger has of it.
    #[must_use]
    pub fn said(&self) -> Mute {
        let Self { command_id, by, reason, case_number, list, entry_id, until } = self.clone();
        Mute { muted: until.is_some(), list, entry_id, until, by, reason, case_number, command_id }
    }
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It would be over.
    #[error("`until` has passed: this pole's clock says {0}")]
    Passed(Timestamp),
    /// Too long.
    #[error(
        "`until` is more than {max:#} ahead: ask for less and again before it ends (this pole's clock \
         says {0})",
        max = MAX_MUTE
    )]
    TooFarAhead(Timestamp),
    /// Too many.
    #[error("{MAX_MUTES} entries are muted already: take the worst out of their lists")]
    TooMany,
    /// Nothing to end.
    #[error("this entry is not muted (any more)")]
    NotMuted,
}

/// A muted entry. Who asked stands in the ledger alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Muted {
    list: String,
    entry_id: String,
    until: Timestamp,
    /// When it was ordered, in own time.
    ordered: PoleTime,
    longest: Duration,
}

impl Muted {
    fn is(&self, list: &str, entry_id: &str) -> bool {
        self.list == list && self.entry_id == entry_id
    }

    fn is_over(&self, now: &Now<'_>) -> bool {
        now.wall >= self.until || now.own.age(self.ordered) >= self.longest
    }
}

/// What is remembered of mutes, on the disk as well.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    muted: Vec<Muted>,
    /// Commands carried out, and the ledger's entry of each.
    answered: Answered,
}

impl Memory {
    /// Whether an entry gives no alert.
    #[must_use]
    pub fn is_muted(&self, list: &str, entry_id: &str, now: &Now<'_>) -> bool {
        self.until(list, entry_id, now).is_some()
    }

    /// Until when an entry gives no alert; `None` where it gives some.
    #[must_use]
    pub fn until(&self, list: &str, entry_id: &str, now: &Now<'_>) -> Option<Timestamp> {
        let muted = self.muted.iter().find(|muted| muted.is(list, entry_id));
        muted.filter(|muted| !muted.is_over(now)).map(|muted| muted.until)
    }

    /// How many entries of a list give none, as of the last [`Self::look`].
    #[must_use]
    pub fn count(&self, list: &str) -> usize {
        self.muted.iter().filter(|muted| muted.list == list).count()
    }

    /// Forgets what is over.
    pub fn look(&mut self, now: &Now<'_>) {
        let own = now.own.now();
        self.muted.retain_mut(|muted| {
            // The own time was begun anew: it is counted again from here, rather than never.
            muted.ordered = muted.ordered.min(own);
            !muted.is_over(now)
        });
    }

    /// Carries an order out.
    ///
    /// # Errors
    /// What is wrong with it; nothing was done.
    pub fn carry_out(&mut self, order: &Order, now: &Now<'_>) -> Result<(), OrderError> {
        let Order { list, entry_id, until, .. } = order;
        let Some(until) = *until else {
            let before = self.muted.len();
            self.look(now);
            self.muted.retain(|muted| !muted.is(list, entry_id));
            return if self.muted.len() < before { Ok(()) } else { Err(OrderError::NotMuted) };
        };
        let length = until.duration_since(now.wall);
        if length <= SignedDuration::ZERO {
            return Err(OrderError::Passed(now.wall));
        }
        if length > MAX_MUTE {
            return Err(OrderError::TooFarAhead(now.wall));
        }
        self.look(now);
        let others = self.muted.iter().filter(|muted| !muted.is(list, entry_id)).count();
        if others >= MAX_MUTES {
            return Err(OrderError::TooMany);
        }
        self.muted.retain(|muted| !muted.is(list, entry_id));
        self.muted.push(Muted {
            list: list.clone(),
            entry_id: entry_id.clone(),
            until,
            ordered: now.own.now(),
            longest: length.unsigned_abs(),
        });
        Ok(())
    }

    /// What a command that came before was answered with.
    #[must_use]
    pub fn answered(&self, command_id: Uuid) -> Option<u64> {
        self.answered.get(command_id)
    }

    /// A command is carried out; its entry in the ledger has this number.
    pub fn answer(&mut self, command_id: Uuid, sequence: u64) {
        self.answered.push(command_id, sequence);
    }
}

#[cfg(test)]
#[path = "mute_tests.rs"]
mod tests;
