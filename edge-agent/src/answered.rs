//! Commands that were carried out, and what each was answered with: one that the broker brings again is not
//! carried out again, nor undoes a later one.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Commands whose answer is remembered.
pub const MAX_ANSWERED: usize = 8;

/// The last commands, each with the number of its entry in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answered(VecDeque<(Uuid, u64)>);

impl Answered {
    /// What a command that came before was answered with.
    #[must_use]
    pub fn get(&self, command_id: Uuid) -> Option<u64> {
        self.0.iter().find(|(id, _)| *id == command_id).map(|(_, sequence)| *sequence)
    }

    /// A command is carried out.
    pub fn push(&mut self, command_id: Uuid, sequence: u64) {
        self.0.push_back((command_id, sequence));
        if self.0.len() > MAX_ANSWERED {
            self.0.pop_front();
        }
    }

    /// A later entry came of a command that is remembered.
    pub fn replace(&mut self, command_id: Uuid, sequence: u64) {
        if let Some((_, last)) = self.0.iter_mut().find(|(id, _)| *id == command_id) {
            *last = sequence;
        }
    }
}
