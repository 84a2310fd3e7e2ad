//! The law of suspension, without I/O: given the server's orders and the pole's clocks, is capture
//! suspended, and what is to be entered into the ledger.
//!
//! A window is ordered in UTC and kept on the pole's **own time**, which nothing sets: where the wall
//! clock stood when the order came, and the own time since ([`Window::time`]). The wall clock is heard
//! again once in each boot, when the kernel first calls it synchronised: it then tells the time that
//! the pole was switched off, or what it was wrong by when the order came. Whatever is done to it after
//! that moves nothing. Why, and what that costs: `docs/decisions/suspension.md`.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};
use milepost_wire::{BootTime, MAX_SUSPENSION, Suspension, SuspensionEnd, Told};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{answered::Answered, sealing::PoleTime};

/// The own time counts whole seconds: a suspension begins so much sooner and ends so much later, never
/// the other way round.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// What the clocks say at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// The kernel says that it is kept to a reference.
    pub synchronised: bool,
    /// The pole's own time.
    pub own: PoleTime,
    /// The same moment on the machine's clock; names the boot.
    pub boot_time: Option<BootTime>,
}

impl Now {
    fn boot(&self) -> Option<Uuid> {
        self.boot_time.map(|b| b.boot_id)
    }

    pub(super) fn told(&self) -> Told {
        Told { synchronised: self.synchronised, boot_time: self.boot_time }
    }
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
    /// What.
    pub ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// To capture nothing in a time.
    Suspend {
        /// From when; from now on where it does not say.
        from: Option<Timestamp>,
        /// Until when.
        until: Timestamp,
    },
    /// To go on.
    Resume,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It would end before it begins.
    #[error("`until` must be later than `from`")]
    Backwards,
    /// It is over.
    #[error("`until` has passed: this pole's clock says {0}")]
    Passed(Timestamp),
    /// Too long.
    #[error(
        "{0:#} is longer than the {max:#} that capture may be suspended by one command: ask for less \
         and again before it ends (this pole's clock says {1})",
        max = MAX_SUSPENSION
    )]
    TooLong(SignedDuration, Timestamp),
    /// Too far ahead.
    #[error(
        "`from` is more than {max:#} ahead: ask later (this pole's clock says {0})",
        max = MAX_SUSPENSION
    )]
    TooFarAhead(Timestamp),
    /// It would end the one in force before its time, without anybody having asked for that.
    #[error(
        "capture is suspended until {0}, and one that begins later would end that now: ask for one \
         that begins now, or again when this one has ended, or resume first"
    )]
    InForce(Timestamp),
    /// Nothing to resume.
    #[error("capture is not suspended, and no suspension is to come")]
    NotSuspended,
}

/// Where the wall clock stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Anchor {
    wall: Timestamp,
    own: PoleTime,
    boot: Option<Uuid>,
    /// It was synchronised.
    believed: bool,
}

impl Anchor {
    fn at(now: &Now) -> Self {
        let (wall, own, boot) = (now.wall, now.own, now.boot());
        Self { wall, own, boot, believed: now.synchronised }
    }

    /// Nothing has happened since that the own time does not count.
    fn is_of_this_boot(&self, now: &Now) -> bool {
        self.boot.is_some() && self.boot == now.boot()
    }
}

/// One suspension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The command.
    pub id: Uuid,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    anchor: Anchor,
    /// Own time after which it ends whatever the wall clock says.
    longest: Duration,
    /// When it began, in own time.
    begun: Option<PoleTime>,
}

impl Window {
    /// One as ordered.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(
        id: Uuid,
        from: Option<Timestamp>,
        until: Timestamp,
        now: &Now,
    ) -> Result<Self, OrderError> {
        let from = from.unwrap_or(now.wall);
        let length = until.duration_since(from);
        if until <= now.wall {
            return Err(OrderError::Passed(now.wall));
        }
        if until <= from {
            return Err(OrderError::Backwards);
        }
        if length > MAX_SUSPENSION {
            return Err(OrderError::TooLong(length, now.wall));
        }
        if from.duration_since(now.wall) > MAX_SUSPENSION {
            return Err(OrderError::TooFarAhead(now.wall));
        }
        // A clock that was not kept may have made it too short.
        let longest = if now.synchronised { length } else { MAX_SUSPENSION };
        let longest = longest.unsigned_abs();
        Ok(Self { id, from, until, anchor: Anchor::at(now), longest, begun: None })
    }

    /// Whether it has begun.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// The time by which it begins and ends.
    fn time(&self, now: &Now) -> Timestamp {
        let since = SignedDuration::try_from(now.own - self.anchor.own).unwrap_or(SECOND);
        self.anchor.wall.checked_add(since).unwrap_or(Timestamp::MAX)
    }

    /// Takes the wall clock's word, once in each boot.
    fn hear(&mut self, now: &Now) {
        // The own time was begun anew: it is counted again from here, rather than never.
        self.anchor.own = self.anchor.own.min(now.own);
        self.begun = self.begun.map(|begun| begun.min(now.own));
        let heard = self.anchor.believed && self.anchor.is_of_this_boot(now);
        if now.synchronised && !heard {
            self.anchor = Anchor::at(now);
        }
    }

    fn is_to_begin(&self, now: &Now) -> bool {
        // Switched off since, and nothing but this clock knows for how long: rather too soon.
        let unheard = !self.anchor.is_of_this_boot(now) && now.wall >= self.from;
        unheard || self.time(now).duration_since(self.from) >= -SECOND
    }

    fn is_over(&self, now: &Now) -> bool {
        let worn = |begun| now.own - begun > self.longest + SECOND.unsigned_abs();
        self.time(now).duration_since(self.until) >= SECOND || self.begun.is_some_and(worn)
    }
}

/// What is to be entered into the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The event's id, so that it is entered once.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// What. Nobody's name: it waits in a file that is not sealed.
    pub said: Suspension,
}

impl Entry {
    fn new(said: Suspension, now: &Now) -> Self {
        Self { id: Uuid::now_v7(), at: now.wall, said }
    }

    /// The command that it came of.
    fn command(&self) -> Option<Uuid> {
        match self.said {
            Suspension::Begun { suspension_id, .. } => Some(suspension_id),
            Suspension::Ended { command_id, .. } => command_id,
            _ => None,
        }
    }
}

/// What is remembered, on the disk as well.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The suspension in force or to come.
    pub window: Option<Window>,
    /// What is still to be entered, oldest first.
    pub to_enter: VecDeque<Entry>,
    /// Commands carried out, and the last entry that came of each.
    answered: Answered,
}

impl Memory {
    /// After the memory was damaged: nothing is in force any more, and the ledger says so.
    #[must_use]
    pub fn lost(now: &Now) -> Self {
        let mut memory = Self::default();
        memory.enter_end(None, SuspensionEnd::Lost, None, now);
        memory
    }

    /// Whether nothing may be captured.
    #[must_use]
    pub fn in_force(&self) -> bool {
        self.window.as_ref().is_some_and(Window::has_begun)
    }

    /// What a command that came before was answered with.
    #[must_use]
    pub fn answered(&self, command_id: Uuid) -> Option<u64> {
        self.answered.get(command_id)
    }

    /// A command is carried out; its first entry has this number.
    pub fn answer(&mut self, command_id: Uuid, sequence: u64) {
        self.answered.push(command_id, sequence);
    }

    /// The first of what is to be entered has been; `None`: it never can be.
    pub fn entered(&mut self, sequence: Option<u64>) {
        let command = self.to_enter.pop_front().and_then(|entry| entry.command());
        if let (Some(command), Some(sequence)) = (command, sequence) {
            self.answered.replace(command, sequence);
        }
    }

    /// Begins and ends what is due.
    pub fn look(&mut self, now: &Now) {
        let Some(window) = &mut self.window else { return };
        window.hear(now);
        if window.is_over(now) {
            self.end(SuspensionEnd::Expired, None, now);
        } else if window.begun.is_none() && window.is_to_begin(now) {
            window.begun = Some(now.own);
            let &mut Window { id: suspension_id, from, until, .. } = window;
            let said = Suspension::Begun { suspension_id, from, until, told: now.told() };
            self.to_enter.push_back(Entry::new(said, now));
        }
    }

    /// Carries an order of the server's out; what is to be entered of it before anything is done.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn carry_out(&mut self, order: &Order, now: &Now) -> Result<Suspension, OrderError> {
        let Order { command_id, by, reason, case_number, ask } = order.clone();
        Ok(match ask {
            Ask::Suspend { from, until } => {
                let window = Window::new(command_id, from, until, now)?;
                let (suspension_id, from) = (command_id, window.from);
                self.suspend(window, now)?;
                Suspension::Ordered { suspension_id, from, until, by, reason, case_number }
            }
            Ask::Resume => {
                self.look(now);
                let ended = self.end(SuspensionEnd::Resumed, Some(command_id), now);
                let suspension_id = ended.ok_or(OrderError::NotSuspended)?;
                Suspension::Recalled { suspension_id, command_id, by, reason, case_number }
            }
        })
    }

    fn suspend(&mut self, window: Window, now: &Now) -> Result<(), OrderError> {
        self.look(now);
        let present = self.window.as_ref().filter(|present| present.has_begun());
        if let Some(present) = present.filter(|_| !window.is_to_begin(now)) {
            return Err(OrderError::InForce(present.until));
        }
        self.end(SuspensionEnd::Replaced, Some(window.id), now);
        self.window = Some(window);
        self.look(now);
        Ok(())
    }

    fn end(&mut self, cause: SuspensionEnd, by: Option<Uuid>, now: &Now) -> Option<Uuid> {
        let ended = self.window.take()?.id;
        self.enter_end(Some(ended), cause, by, now);
        Some(ended)
    }

    fn enter_end(
        &mut self,
        suspension_id: Option<Uuid>,
        cause: SuspensionEnd,
        command_id: Option<Uuid>,
        now: &Now,
    ) {
        let said = Suspension::Ended { suspension_id, cause, command_id, told: now.told() };
        self.to_enter.push_back(Entry::new(said, now));
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
