//! Which part of which record goes next. Pure: time comes in as a parameter.
//!
//! A record is sent in parts: its event, the ONVIF view where configured, its photos. Events go
//! before photos, older before newer; at most [`MAX_IN_FLIGHT`] parts and
//! [`MAX_PHOTOS_IN_FLIGHT`] photos wait for the broker's acknowledgement, so that a photo on a slow
//! line holds back no read for long.
//!
//! Invariants (a property test holds them against a broker that loses, repeats and refuses): a
//! record is done only by a receipt, or with delivery `puback` by the acknowledgement of each of its
//! parts; what was not acknowledged when a connection ended is sent again on the next; a record
//! without a receipt is sent again after `resend_after`, then twice that, and so on to
//! [`MAX_RESEND_FACTOR`] times.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use milepost_wire::{PhotoKind, SequenceRange};
use uuid::Uuid;

use crate::{config::Delivery, outbox::Record};

/// Parts waiting for the broker's acknowledgement. mosquitto takes 20 at once by default.
pub const MAX_IN_FLIGHT: usize = 16;
/// Photos among them.
pub const MAX_PHOTOS_IN_FLIGHT: usize = 2;
/// Records waiting for the server's receipt; more are not begun before some are done.
pub const MAX_AWAITING: usize = 1024;
/// Longest pause between resends, as a multiple of `resend_after`.
pub const MAX_RESEND_FACTOR: u32 = 64;

/// One message of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The event itself.
    Event,
    /// The ONVIF view of a read.
    Onvif,
    /// A photo.
    Photo(PhotoKind),
}

/// A part of a record.
pub type Piece = (u64, Part);

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    InFlight,
    Done,
}

#[derive(Debug)]
struct Tracked {
    record: Record,
    parts: Vec<(Part, State)>,
    /// Times that it was begun.
    attempt: u32,
    /// Not before.
    begin_at: Option<Instant>,
    /// All parts are with the broker; again at this time unless a receipt comes.
    resend_at: Option<Instant>,
}

/// The records under way.
#[derive(Debug)]
pub struct Window {
    delivery: Delivery,
    resend_after: Duration,
    tracked: BTreeMap<u64, Tracked>,
    ids: HashMap<Uuid, u64>,
    loaded_to: u64,
    in_flight: usize,
    photos_in_flight: usize,
    in_flight_limit: usize,
    done: Vec<u64>,
    resent: u64,
}

impl Window {
    /// An empty one.
    #[must_use]
    pub fn new(delivery: Delivery, resend_after: Duration) -> Self {
        Self {
            delivery,
            resend_after,
            tracked: BTreeMap::new(),
            ids: HashMap::new(),
            loaded_to: 0,
            in_flight: 0,
            photos_in_flight: 0,
            in_flight_limit: MAX_IN_FLIGHT,
            done: Vec::new(),
            resent: 0,
        }
    }

    /// The broker takes at most so many at once; kept below, so that its client never collides.
    pub fn limit_in_flight(&mut self, broker_max: Option<u16>) {
        let room = usize::from(broker_max.unwrap_or(u16::MAX)).saturating_sub(2).max(1);
        self.in_flight_limit = MAX_IN_FLIGHT.min(room);
    }

    /// The first sequence that it has not been given, and how many records it takes now.
    #[must_use]
    pub fn wants(&self) -> (u64, usize) {
        (self.loaded_to + 1, MAX_AWAITING.saturating_sub(self.tracked.len()))
    }

    /// Takes records as `wants` asked for.
    pub fn load(&mut self, records: Vec<Record>, onvif: bool) {
        for record in records {
            let photos = record.photos.iter().map(|p| Part::Photo(p.kind));
            let is_read = record.kind == crate::outbox::Kind::Read;
            let view = (onvif && is_read).then_some(Part::Onvif);
            let parts = std::iter::once(Part::Event).chain(view).chain(photos);
            self.loaded_to = self.loaded_to.max(record.sequence);
            self.ids.insert(record.id, record.sequence);
            let parts = parts.map(|p| (p, State::Waiting)).collect();
            let tracked = Tracked { record, parts, attempt: 0, begin_at: None, resend_at: None };
            self.tracked.insert(tracked.record.sequence, tracked);
        }
    }

    /// There is nothing that it has not been given up to `sequence`.
    pub fn loaded_to(&mut self, sequence: u64) {
        self.loaded_to = self.loaded_to.max(sequence);
    }

    /// The next part to publish now, if there is one; it counts as in flight from here on.
    pub fn next(&mut self, now: Instant) -> Option<Piece> {
        self.begin_resends(now);
        if self.in_flight >= self.in_flight_limit {
            return None;
        }
        let photos_allowed = self.photos_in_flight < MAX_PHOTOS_IN_FLIGHT;
        let ready = |t: &Tracked| t.begin_at.is_none_or(|at| at <= now);
        let find = |photos: bool| {
            self.tracked.iter().filter(|(_, t)| ready(t)).find_map(|(&sequence, t)| {
                // A photo only after its event is with the broker or on its way.
                let begun = t.parts.first().is_some_and(|(_, s)| *s != State::Waiting);
                let fits = |p: Part| matches!(p, Part::Photo(_)) == photos && (!photos || begun);
                let (part, _) = t.parts.iter().find(|(p, s)| *s == State::Waiting && fits(*p))?;
                Some((sequence, *part))
            })
        };
        let piece = find(false).or_else(|| photos_allowed.then(|| find(true)).flatten())?;
        self.set(piece, State::InFlight);
        Some(piece)
    }

    fn begin_resends(&mut self, now: Instant) {
        for tracked in self.tracked.values_mut() {
            if tracked.resend_at.is_some_and(|at| at <= now) {
                tracked.resend_at = None;
                tracked.parts.iter_mut().for_each(|(_, s)| *s = State::Waiting);
                self.resent += 1;
            }
        }
    }

    /// The record of a part under way.
    #[must_use]
    pub fn record(&self, sequence: u64) -> Option<&Record> {
        self.tracked.get(&sequence).map(|t| &t.record)
    }

    /// The broker answered; a part that is not under way is ignored.
    pub fn answered(&mut self, piece: Piece, answer: Answer, now: Instant) {
        if self.state(piece) != Some(State::InFlight) {
            return;
        }
        let taken = match answer {
            Answer::Accepted => true,
            Answer::NoSubscribers => self.delivery == Delivery::Receipt || piece.1 == Part::Onvif,
            Answer::Refused => false,
        };
        if taken {
            self.finish(piece, now);
        } else {
            self.set(piece, State::Waiting);
            if let Some(tracked) = self.tracked.get_mut(&piece.0) {
                tracked.begin_at = Some(now + delay(self.resend_after, tracked.attempt));
                tracked.attempt += 1;
                self.resent += 1;
            }
        }
    }

    /// A part that can't be sent and is gone without: a photo that was evicted or is too large.
    pub fn skip(&mut self, piece: Piece, now: Instant) {
        if self.state(piece) == Some(State::InFlight) {
            self.finish(piece, now);
        }
    }

    /// A record whose event can't be sent: it stays in the outbox and is tried at the next start.
    pub fn park(&mut self, sequence: u64) {
        self.forget(sequence);
    }

    fn finish(&mut self, piece: Piece, now: Instant) {
        self.set(piece, State::Done);
        let Some(tracked) = self.tracked.get_mut(&piece.0) else { return };
        if tracked.parts.iter().any(|(_, s)| *s != State::Done) {
            return;
        }
        match self.delivery {
            Delivery::Puback => self.complete(piece.0),
            Delivery::Receipt => {
                tracked.resend_at = Some(now + delay(self.resend_after, tracked.attempt));
                tracked.attempt += 1;
            }
        }
    }

    /// The server has the record; says whether it was under way.
    pub fn receipt(&mut self, id: Uuid) -> bool {
        let Some(&sequence) = self.ids.get(&id) else { return false };
        self.complete(sequence);
        true
    }

    /// The server has the records of a range. Only those count that were sent at least once: a range
    /// is no proof that the server has seen them.
    pub fn receipt_range(&mut self, range: SequenceRange) -> usize {
        let sent: Vec<u64> = self
            .tracked
            .range(range.from..=range.to)
            .filter(|(_, t)| t.attempt > 0 || t.parts.iter().any(|(_, s)| *s != State::Waiting))
            .map(|(sequence, _)| *sequence)
            .collect();
        sent.iter().for_each(|s| self.complete(*s));
        sent.len()
    }

    fn complete(&mut self, sequence: u64) {
        if self.forget(sequence) {
            self.done.push(sequence);
        }
    }

    fn forget(&mut self, sequence: u64) -> bool {
        let Some(tracked) = self.tracked.remove(&sequence) else { return false };
        self.ids.remove(&tracked.record.id);
        for (part, state) in tracked.parts {
            self.count(part, state, State::Done);
        }
        true
    }

    /// Records to delete from the outbox, each named once.
    pub fn take_done(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.done)
    }

    /// Puts back what [`Self::take_done`] gave when deleting it failed.
    pub fn put_back_done(&mut self, sequences: Vec<u64>) {
        self.done.extend(sequences);
    }

    /// Resends begun since the last call.
    pub fn take_resent(&mut self) -> u64 {
        std::mem::take(&mut self.resent)
    }

    /// The connection is gone: what is in flight will be sent again on the next one.
    pub fn disconnected(&mut self) {
        for tracked in self.tracked.values_mut() {
            // What the broker refused on the last connection it may take on the next.
            tracked.begin_at = None;
            for (_, state) in &mut tracked.parts {
                if *state == State::InFlight {
                    *state = State::Waiting;
                    self.resent += 1;
                }
            }
        }
        (self.in_flight, self.photos_in_flight) = (0, 0);
    }

    /// When [`Self::next`] may have something that it has not now, apart from answers.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        self.tracked.values().flat_map(|t| [t.begin_at, t.resend_at]).flatten().min()
    }

    /// Parts waiting for the broker.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Records that were sent more than once without a receipt.
    #[must_use]
    pub fn overdue(&self) -> usize {
        self.tracked.values().filter(|t| t.attempt > 1).count()
    }

    fn state(&self, (sequence, part): Piece) -> Option<State> {
        let parts = &self.tracked.get(&sequence)?.parts;
        parts.iter().find(|(p, _)| *p == part).map(|(_, s)| *s)
    }

    fn set(&mut self, (sequence, part): Piece, state: State) {
        let Some(tracked) = self.tracked.get_mut(&sequence) else { return };
        if state == State::InFlight {
            tracked.begin_at = None;
        }
        let Some((_, slot)) = tracked.parts.iter_mut().find(|(p, _)| *p == part) else { return };
        let before = std::mem::replace(slot, state);
        self.count(part, before, state);
    }

    fn count(&mut self, part: Part, before: State, after: State) {
        let photo = usize::from(matches!(part, Part::Photo(_)));
        if before == State::InFlight {
            self.in_flight -= 1;
            self.photos_in_flight -= photo;
        }
        if after == State::InFlight {
            self.in_flight += 1;
            self.photos_in_flight += photo;
        }
    }
}

fn delay(resend_after: Duration, attempt: u32) -> Duration {
    resend_after * MAX_RESEND_FACTOR.min(1 << attempt.min(31))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::outbox::{Kind, PhotoRef};

    const RESEND: Duration = Duration::from_secs(30);

    fn record(sequence: u64) -> Record {
        let photos = PhotoKind::ALL.map(|kind| PhotoRef { kind, bytes: 1 });
        Record {
            sequence,
            id: Uuid::from_u128(sequence.into()),
            kind: Kind::Read,
            captured_at: Timestamp::UNIX_EPOCH,
            photos: photos.into_iter().take(sequence as usize % 3).collect(),
            held: false,
            body: Vec::new(),
        }
    }

    fn window(delivery: Delivery, records: u64) -> Window {
        let mut window = Window::new(delivery, RESEND);
        window.load((1..=records).map(record).collect(), false);
        window
    }

    fn drain(window: &mut Window, now: Instant) -> Vec<Piece> {
        std::iter::from_fn(|| window.next(now)).collect()
    }

    #[test]
    fn events_go_before_photos_and_photos_leave_room_for_reads() {
        let now = Instant::now();
        let mut w = window(Delivery::Receipt, 4);
        let sent = drain(&mut w, now);
        let events: Vec<_> = (1..=4).map(|s| (s, Part::Event)).collect();
        assert_eq!(sent[..4], events);
        assert_eq!(
            sent[4..],
            [(1, Part::Photo(PhotoKind::Plate)), (2, Part::Photo(PhotoKind::Plate))]
        );
        w.load(vec![record(6)], false);
        assert_eq!(w.next(now), Some((6, Part::Event)), "a new read does not wait for photos");
        w.answered(sent[4], Answer::Accepted, now);
        assert_eq!(w.next(now), Some((2, Part::Photo(PhotoKind::Context))));
    }

    #[test]
    fn a_receipt_ends_a_record_and_silence_sends_it_again_later_and_later() {
        let now = Instant::now();
        let mut w = window(Delivery::Receipt, 3);
        w.load(Vec::new(), false);
        let mut at = now;
        for factor in [1, 2, 4] {
            loop {
                let pieces = drain(&mut w, at);
                if pieces.is_empty() {
                    break;
                }
                pieces.into_iter().for_each(|p| w.answered(p, Answer::Accepted, at));
            }
            assert!(w.take_done().is_empty(), "an acknowledgement is no receipt");
            assert_eq!(w.wake_at(), Some(at + RESEND * factor));
            at += RESEND * factor;
        }
        assert!(w.receipt(Uuid::from_u128(2)) && !w.receipt(Uuid::from_u128(2)));
        assert_eq!(w.receipt_range(SequenceRange { from: 1, to: u64::MAX }), 2);
        assert_eq!(w.take_done(), [2, 1, 3]);
        assert_eq!((w.in_flight(), w.wake_at()), (0, None));
    }

    #[test]
    fn a_range_does_not_end_what_was_never_sent() {
        let mut w = window(Delivery::Receipt, 30);
        let sent = drain(&mut w, Instant::now()).len() as u64;
        assert_eq!(sent, MAX_IN_FLIGHT as u64);
        assert_eq!(w.receipt_range(SequenceRange { from: 1, to: u64::MAX }) as u64, sent);
    }

    #[test]
    fn with_puback_a_message_that_nobody_took_is_not_delivered() {
        let now = Instant::now();
        let mut w = window(Delivery::Puback, 1);
        let event = w.next(now).unwrap();
        let photo = w.next(now).unwrap();
        w.answered(event, Answer::NoSubscribers, now);
        w.answered(photo, Answer::Accepted, now);
        assert!(w.take_done().is_empty());
        assert_eq!(w.next(now), None);
        let again = w.next(now + RESEND).unwrap();
        assert_eq!(again, event);
        w.answered(again, Answer::Accepted, now + RESEND);
        assert_eq!(w.take_done(), [1]);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Publish,
        Answer(usize, Answer),
        Receipt(u64),
        Range(u64, u64),
        Disconnect,
        Wait(u64),
        Skip(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        let answer = prop_oneof![
            6 => Just(Answer::Accepted), 1 => Just(Answer::NoSubscribers), 1 => Just(Answer::Refused)
        ];
        prop_oneof![
            8 => Just(Event::Publish),
            8 => (any::<usize>(), answer).prop_map(|(i, a)| Event::Answer(i, a)),
            2 => (0u64..60).prop_map(Event::Receipt),
            1 => (0u64..60, 0u64..60).prop_map(|(a, b)| Event::Range(a.min(b), a.max(b))),
            1 => Just(Event::Disconnect),
            1 => (0u64..100).prop_map(Event::Wait),
            1 => any::<usize>().prop_map(Event::Skip),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_done_without_its_word_and_everything_is_done_in_the_end(
            events in proptest::collection::vec(event(), 0..300), receipts in any::<bool>(),
        ) {
            let delivery = if receipts { Delivery::Receipt } else { Delivery::Puback };
            let mut w = window(delivery, 50);
            let mut now = Instant::now();
            let mut flying: Vec<Piece> = Vec::new();
            let (mut words, mut done) = (BTreeSet::new(), BTreeSet::new());
            let mut sent = BTreeSet::new();
            for event in events {
                match event {
                    Event::Publish => if let Some(piece) = w.next(now) {
                        prop_assert!(!flying.contains(&piece), "in flight twice");
                        sent.insert(piece.0);
                        flying.push(piece);
                    },
                    Event::Answer(i, answer) if !flying.is_empty() => {
                        let piece = flying.swap_remove(i % flying.len());
                        w.answered(piece, answer, now);
                    }
                    Event::Skip(i) if !flying.is_empty() => {
                        let piece = flying.swap_remove(i % flying.len());
                        w.skip(piece, now);
                    }
                    Event::Receipt(s) => { w.receipt(Uuid::from_u128(s.into())); words.insert(s); }
                    Event::Range(from, to) => {
                        w.receipt_range(SequenceRange { from, to });
                        words.extend((from..=to).filter(|s| sent.contains(s)));
                    }
                    Event::Disconnect => { flying.clear(); w.disconnected(); }
                    Event::Wait(s) => now += Duration::from_secs(s),
                    _ => {}
                }
                flying.retain(|(s, _)| w.record(*s).is_some());
                prop_assert_eq!(w.in_flight(), flying.len());
                prop_assert!(w.in_flight() <= MAX_IN_FLIGHT);
                for sequence in w.take_done() {
                    prop_assert!(done.insert(sequence), "done twice");
                    prop_assert!(!receipts || words.contains(&sequence), "done without a receipt");
                }
            }
            // A broker and a server that work: everything is done within the longest resend.
            w.disconnected();
            for _ in 0..10_000 {
                match w.next(now) {
                    Some(piece) => {
                        w.answered(piece, Answer::Accepted, now);
                        if receipts {
                            w.receipt(Uuid::from_u128(piece.0.into()));
                        }
                    }
                    None => match w.wake_at() {
                        Some(at) => now = now.max(at),
                        None => break,
                    },
                }
            }
            done.extend(w.take_done());
            prop_assert_eq!(done, (1..=50).collect::<BTreeSet<u64>>());
        }
    }
}
