//! One record under way, and the counts of what is in flight.

use std::time::Instant;

use uuid::Uuid;

use super::{Class, Part};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    InFlight(Instant),
    Done,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) part: Part,
    pub(super) bytes: u64,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) id: Uuid,
    pub(super) class: Class,
    pub(super) messages: Vec<Message>,
    /// Times that it was begun.
    pub(super) attempt: u32,
    /// Nothing of it goes before; where all of it is with the broker, all of it goes again then.
    pub(super) due: Option<Instant>,
}

impl Tracked {
    pub(super) fn state(&self, part: Part) -> Option<State> {
        self.messages.iter().find(|m| m.part == part).map(|m| m.state)
    }

    /// The state of its own event.
    pub(super) fn event(&self) -> Option<State> {
        self.messages.iter().find(|m| m.part.is_event()).map(|m| m.state)
    }

    pub(super) fn is_sent(&self) -> bool {
        self.messages.iter().all(|m| m.state == State::Done)
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.messages.iter().any(|m| matches!(m.state, State::InFlight(_)))
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InFlight {
    pub(super) all: usize,
    pub(super) live_events: usize,
    pub(super) live: usize,
    pub(super) photos: usize,
    pub(super) backlog: usize,
}

impl InFlight {
    pub(super) fn begins(&mut self, class: Class, part: Part, state: State) {
        self.count(class, part, state).for_each(|number| *number += 1);
    }

    pub(super) fn ends(&mut self, class: Class, part: Part, state: State) {
        self.count(class, part, state).for_each(|number| *number -= 1);
    }

    /// The numbers that a message in such a state counts in.
    fn count(
        &mut self,
        class: Class,
        part: Part,
        state: State,
    ) -> impl Iterator<Item = &mut usize> {
        let flies = matches!(state, State::InFlight(_));
        let (live, photo) = (class == Class::Live, part.is_photo());
        [
            (&mut self.all, true),
            (&mut self.live_events, live && !photo),
            (&mut self.live, live),
            (&mut self.photos, photo),
            (&mut self.backlog, !live),
        ]
        .into_iter()
        .filter_map(move |(number, counts)| (flies && counts).then_some(number))
    }
}
