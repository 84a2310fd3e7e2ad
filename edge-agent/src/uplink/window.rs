//! The records under way: which message goes next, and what is done. Pure: time comes in as a
//! parameter, records by [`Window::wants`] and [`Window::load`] ([`loading`]).
//!
//! A record is sent in parts: its event, the ONVIF view where configured, its photos, each in its
//! lane ([`super::lanes`]), the event first. At most [`MAX_IN_FLIGHT`] parts wait for the broker's
//! acknowledgement; all but live events leave [`LIVE_RESERVE`] of these free, photos have
//! [`MAX_PHOTOS_IN_FLIGHT`], the backlog [`BACKLOG_SLOTS`] while there is live traffic, and all of
//! them fewer on a slow line ([`super::pace`]). So a live event never waits for a slot behind
//! anything but live events.
//!
//! Invariants (a property test holds them against a broker that loses, repeats and refuses): a
//! record is done only by a receipt, or with delivery `puback` by the acknowledgement of each of its
//! parts; what was not acknowledged when a connection ended is sent again on the next, and what was
//! is not; a record without a receipt is sent again after `resend_after`, then twice that, and so on
//! to [`MAX_RESEND_FACTOR`] times; at most [`MAX_TRACKED`] records are held, without their bodies.

mod loading;
mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use milepost_wire::SequenceRange;
use rangemap::RangeInclusiveSet;
use uuid::Uuid;

use super::{
    allowance::Allowance,
    lanes::{Class, Lane, Lanes, Open, Room},
    pace::Pace,
};
use crate::config::{Caps, Delivery};

pub use super::lanes::{Part, Piece};
pub use loading::{BATCH, MAX_BACKLOG, MAX_LIVE, MAX_TRACKED, Want};
use record::{InFlight, Message, State, Tracked};

/// Parts waiting for the broker's acknowledgement. mosquitto takes 20 at once by default.
pub const MAX_IN_FLIGHT: usize = 16;
/// Photos among them; one on a slow line.
pub const MAX_PHOTOS_IN_FLIGHT: usize = 2;
/// Slots that only live events take, where there is more than one.
pub const LIVE_RESERVE: usize = 2;
/// Slots of the backlog while there is live traffic; without it, all but the reserve.
pub const BACKLOG_SLOTS: usize = 4;
/// There is live traffic for so long after a live event went.
pub const LIVE_QUIET: Duration = Duration::from_secs(5);
/// Longest pause between resends, as a multiple of `resend_after`.
pub const MAX_RESEND_FACTOR: u32 = 64;
/// Records named in one [`Window::take_done`].
pub const MAX_DONE: usize = 1024;

/// What the broker said to a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Accepted,
    /// It has it, and nobody to give it to.
    NoSubscribers,
    /// It does not take it (access list, quota).
    Refused,
}

/// What the caps hold back now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Events among it.
    pub events: usize,
    /// Messages, events and photos.
    pub messages: u64,
    /// Bytes of those that the window holds.
    pub bytes: u64,
}

type Sequences = RangeInclusiveSet<u64>;

/// The records under way.
#[derive(Debug)]
pub struct Window {
    delivery: Delivery,
    resend_after: Duration,
    tracked: HashMap<u64, Tracked>,
    ids: HashMap<Uuid, u64>,
    live: usize,
    lanes: Lanes,
    timers: BTreeSet<(Instant, u64)>,
    /// Begun more than once: times, which.
    overdue: BTreeSet<(u32, u64)>,
    in_flight: InFlight,
    in_flight_limit: usize,
    live_until: Option<Instant>,
    pace: Pace,
    allowances: [Allowance; Lane::ALL.len()],
    /// Where everything is that is not tracked.
    shelves: loading::Shelves,
    done: Sequences,
    resent: u64,
}

impl Window {
    /// An empty one.
    #[must_use]
    pub fn new(delivery: Delivery, resend_after: Duration, caps: Caps) -> Self {
        let Caps { events, close_ups, contexts } = caps;
        Self {
            delivery,
            resend_after,
            tracked: HashMap::new(),
            ids: HashMap::new(),
            live: 0,
            lanes: Lanes::default(),
            timers: BTreeSet::new(),
            overdue: BTreeSet::new(),
            in_flight: InFlight::default(),
            in_flight_limit: MAX_IN_FLIGHT,
            live_until: None,
            pace: Pace::new(MAX_IN_FLIGHT),
            allowances: [None, events, close_ups, contexts].map(Allowance::per_hour),
            shelves: loading::Shelves::default(),
            done: Sequences::new(),
            resent: 0,
        }
    }

    /// A new connection, whose broker takes at most so many at once; kept below, so that its client
    /// never collides.
    pub fn connected(&mut self, broker_max: Option<u16>) {
        let room = usize::from(broker_max.unwrap_or(u16::MAX)).saturating_sub(2).max(1);
        self.in_flight_limit = MAX_IN_FLIGHT.min(room);
        self.pace = Pace::new(self.in_flight_limit);
    }

    /// The next part to publish now, if there is one; it counts as in flight from here on.
    pub fn next(&mut self, now: Instant) -> Option<Piece> {
        self.begin_due(now);
        let piece = self.lanes.pick(self.room(now), self.open(now))?;
        self.set(piece, State::InFlight(now));
        let (sequence, part) = piece;
        if part.is_event() {
            self.shelves.published(sequence);
            // The rest of it may follow.
            self.enqueue(sequence);
            if self.tracked.get(&sequence).is_some_and(|t| t.class == Class::Live) {
                self.live_until = Some(now + LIVE_QUIET);
            }
        }
        Some(piece)
    }

    fn room(&self, now: Instant) -> Room {
        let (limit, flying) = (self.in_flight_limit, self.in_flight);
        let most = (limit - LIVE_RESERVE.min(limit - 1)).min(self.pace.slots());
        let is_live = flying.live > 0 || self.live_until.is_some_and(|until| until > now);
        let backlog = if is_live { BACKLOG_SLOTS } else { limit };
        let photos = if self.pace.has_slow_photos() { 1 } else { MAX_PHOTOS_IN_FLIGHT };
        Room {
            all: limit.saturating_sub(flying.all),
            others: most.saturating_sub(flying.all - flying.live_events),
            photos: photos.saturating_sub(flying.photos),
            backlog: backlog.saturating_sub(flying.backlog),
        }
    }

    fn open(&self, now: Instant) -> Open {
        Lane::ALL.map(|lane| self.allowances[lane as usize].is_open(now))
    }

    fn begin_due(&mut self, now: Instant) {
        while let Some(&(at, sequence)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(tracked) = self.tracked.get_mut(&sequence) else { continue };
            tracked.due = None;
            if tracked.is_sent() {
                tracked.messages.iter_mut().for_each(|m| m.state = State::Waiting);
                self.resent += 1;
                // The server has it, most likely: its copy does not go before what is new.
                if std::mem::replace(&mut tracked.class, Class::Backlog) == Class::Live {
                    self.live -= 1;
                }
            }
            self.enqueue(sequence);
        }
    }

    /// Not before `at`; nothing of it waits in a lane until then.
    fn postpone(&mut self, sequence: u64, now: Instant) {
        self.dequeue(sequence);
        let resend_after = self.resend_after;
        let Some(tracked) = self.tracked.get_mut(&sequence) else { return };
        let at = now + delay(resend_after, tracked.attempt);
        if let Some(before) = tracked.due.replace(at) {
            self.timers.remove(&(before, sequence));
        }
        self.timers.insert((at, sequence));
        self.overdue.remove(&(tracked.attempt, sequence));
        tracked.attempt += 1;
        if tracked.attempt > 1 {
            self.overdue.insert((tracked.attempt, sequence));
        }
    }

    /// Its parts that wait go into their lanes; all but the event only once that has begun.
    fn enqueue(&mut self, sequence: u64) {
        let Some(tracked) = self.tracked.get(&sequence) else { return };
        let begun = tracked.event() != Some(State::Waiting);
        for message in &tracked.messages {
            if message.state == State::Waiting && (begun || message.part.is_event()) {
                self.lanes.insert(tracked.class, (sequence, message.part), message.bytes);
            }
        }
    }

    fn dequeue(&mut self, sequence: u64) {
        let Some(tracked) = self.tracked.get(&sequence) else { return };
        for message in &tracked.messages {
            self.lanes.remove(tracked.class, (sequence, message.part), message.bytes);
        }
    }

    /// The id of a record under way.
    #[must_use]
    pub fn id(&self, sequence: u64) -> Option<Uuid> {
        self.tracked.get(&sequence).map(|t| t.id)
    }

    /// A message of so many bytes went.
    pub fn charge(&mut self, part: Part, bytes: usize, now: Instant) {
        self.allowances[part.lane() as usize].charge(bytes, now);
    }

    /// The broker answered; a part that is not under way is ignored.
    pub fn answered(&mut self, piece: Piece, answer: Answer, now: Instant) {
        let Some(State::InFlight(since)) = self.state(piece) else { return };
        self.pace.acknowledged(now.saturating_duration_since(since), piece.1.is_photo());
        let taken = match answer {
            Answer::Accepted => true,
            Answer::NoSubscribers => self.delivery == Delivery::Receipt || piece.1 == Part::Onvif,
            Answer::Refused => false,
        };
        if taken {
            self.finish(piece, now);
        } else {
            self.set(piece, State::Waiting);
            self.postpone(piece.0, now);
            self.resent += 1;
        }
    }

    /// A part that can't be sent and is gone without: a photo that was evicted or is too large.
    pub fn skip(&mut self, piece: Piece, now: Instant) {
        if matches!(self.state(piece), Some(State::InFlight(_))) {
            self.finish(piece, now);
        }
    }

    fn finish(&mut self, piece: Piece, now: Instant) {
        self.set(piece, State::Done);
        self.settle(piece.0, now);
    }

    /// Ends a record whose parts are all with the broker, or waits for its receipt.
    fn settle(&mut self, sequence: u64, now: Instant) {
        if self.tracked.get(&sequence).is_some_and(Tracked::is_sent) {
            match self.delivery {
                Delivery::Puback => self.complete(sequence..=sequence),
                Delivery::Receipt => self.postpone(sequence, now),
            }
        }
    }

    /// The server has the record; says whether it was under way.
    pub fn receipt(&mut self, id: Uuid) -> bool {
        let Some(&sequence) = self.ids.get(&id) else { return false };
        self.receipt_of(sequence);
        true
    }

    /// The server has the record of an id that was looked up in the outbox.
    pub fn receipt_of(&mut self, sequence: u64) {
        self.complete(sequence..=sequence);
    }

    /// The server has the records of a range. Only those count that were published at least once, on
    /// whatever connection: a range is no proof that the server has seen them.
    pub fn receipt_range(&mut self, range: SequenceRange) -> u64 {
        let ranges = self.shelves.published_within(range.from..=range.to);
        ranges.iter().for_each(|r| self.complete(r.clone()));
        ranges.iter().map(|r| r.end() - r.start() + 1).sum()
    }

    fn complete(&mut self, sequences: RangeInclusive<u64>) {
        self.drop_all(sequences.clone());
        self.done.insert(sequences);
    }

    /// A record that is not in the outbox any more.
    pub fn gone(&mut self, sequence: u64) {
        self.drop_all(sequence..=sequence);
    }

    /// Records to delete from the outbox, at most [`MAX_DONE`], each named once.
    pub fn take_done(&mut self) -> Vec<u64> {
        let mut taken = Vec::new();
        while let Some(range) = self.done.first().cloned()
            && taken.len() < MAX_DONE
        {
            let room = (MAX_DONE - taken.len()) as u64;
            let end = (*range.end()).min(range.start() + (room - 1));
            taken.extend(*range.start()..=end);
            self.done.remove(*range.start()..=end);
        }
        taken
    }

    /// Puts back what [`Self::take_done`] gave when deleting it failed.
    pub fn put_back_done(&mut self, sequences: &[u64]) {
        sequences.iter().for_each(|s| self.done.insert(*s..=*s));
    }

    /// Resends begun since the last call.
    pub fn take_resent(&mut self) -> u64 {
        std::mem::take(&mut self.resent)
    }

    /// When [`Self::next`] or [`Self::wants`] may have something that it has not now, apart from
    /// answers and new records.
    #[must_use]
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let held = Lane::ALL.into_iter().filter(|l| self.waits_for(*l) > 0);
        let opens = held.filter_map(|l| self.allowances[l as usize].opens_at());
        let opens = opens.filter(|at| *at > now);
        opens.chain(timer).chain(self.shelves.wake_at()).min()
    }

    fn waits_for(&self, lane: Lane) -> u64 {
        let here = [Class::Live, Class::Backlog].map(|c| self.lanes.count(c, lane) as u64);
        here.into_iter().sum::<u64>() + self.shelves.set_aside_for(lane)
    }

    /// What waits in lanes whose cap is used up.
    #[must_use]
    pub fn held(&self, now: Instant) -> Held {
        let mut held = Held::default();
        let closed = Lane::ALL.into_iter().filter(|l| !self.allowances[*l as usize].is_open(now));
        for lane in closed {
            held.messages += self.waits_for(lane);
            held.bytes += self.lanes.bytes(lane);
            if lane == Lane::Events {
                held.events = self.waits_for(lane) as usize;
            }
        }
        held
    }

    /// Parts waiting for the broker.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.all
    }

    /// Live records under way.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// Whether a record under way is of the backlog.
    #[must_use]
    pub fn is_backlog(&self, sequence: u64) -> bool {
        self.tracked.get(&sequence).is_some_and(|t| t.class == Class::Backlog)
    }

    /// Records that were sent more than once without a receipt.
    #[must_use]
    pub fn overdue(&self) -> u64 {
        self.overdue.len() as u64 + self.shelves.put_off()
    }

    /// Records whose event is too large for this connection.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.shelves.parked()
    }

    fn state(&self, (sequence, part): Piece) -> Option<State> {
        self.tracked.get(&sequence)?.state(part)
    }

    fn set(&mut self, piece: Piece, state: State) {
        let Some(tracked) = self.tracked.get_mut(&piece.0) else { return };
        let class = tracked.class;
        let Some(message) = tracked.messages.iter_mut().find(|m| m.part == piece.1) else { return };
        let before = std::mem::replace(&mut message.state, state);
        self.lanes.remove(class, piece, message.bytes);
        self.in_flight.ends(class, piece.1, before);
        self.in_flight.begins(class, piece.1, state);
    }
}

fn delay(resend_after: Duration, attempt: u32) -> Duration {
    resend_after * MAX_RESEND_FACTOR.min(1 << attempt.min(31))
}
