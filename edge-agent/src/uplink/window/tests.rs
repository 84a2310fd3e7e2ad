//! The window against a model of outbox, broker and server; and its promises one by one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use milepost_wire::{LedgerPosition, PhotoKind};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::outbox::{Kind, PhotoRef, Record};

const RESEND: Duration = Duration::from_secs(30);
const CLOSE_UP: Part = Part::Photo(PhotoKind::Plate);
const CONTEXT: Part = Part::Photo(PhotoKind::Context);
const NO_CAPS: Caps = Caps { events: None, close_ups: None, contexts: None };

fn record(sequence: u64, photos: usize) -> Record {
    let all = PhotoKind::ALL.map(|kind| PhotoRef { kind, bytes: 1000 });
    Record {
        sequence,
        id: Uuid::from_u128(sequence.into()),
        kind: Kind::Read,
        captured_at: Timestamp::UNIX_EPOCH,
        photos: all.into_iter().take(photos).collect(),
        held: false,
        delivered: false,
        key: None,
        body: Vec::new(),
    }
}

/// Gives a window whatever it wants of these, all of them live.
fn load_all(window: &mut Window, records: &[Record], now: Instant) {
    while let Some(want) = window.wants(now) {
        let mut asked: Vec<_> =
            records.iter().filter(|r| want.sequences.contains(&r.sequence)).cloned().collect();
        if want.newest_first {
            asked.reverse();
        }
        asked.truncate(want.limit);
        window.load(&want, &asked, |_| true, false, now);
    }
}

#[test]
fn what_the_server_has_and_holds_is_not_sent_again() {
    let mut window = Window::new(Delivery::Receipt, RESEND, NO_CAPS);
    let now = Instant::now();
    window.connected(None);
    window.grew(LedgerPosition { epoch: Uuid::nil(), last_sequence: 3 });
    let mut records: Vec<_> = (1..=3).map(|n| record(n, 1)).collect();
    (records[1].held, records[1].delivered) = (true, true);
    load_all(&mut window, &records, now);
    let sent: BTreeSet<u64> = std::iter::from_fn(|| window.next(now)).map(|(s, _)| s).collect();
    assert_eq!(sent, BTreeSet::from([1, 3]));
}

#[test]
fn a_live_alert_goes_before_every_read_that_is_newer_than_it() {
    let mut window = Window::new(Delivery::Receipt, RESEND, NO_CAPS);
    let now = Instant::now();
    window.connected(None);
    window.grew(LedgerPosition { epoch: Uuid::nil(), last_sequence: 500 });
    let alert = Record { kind: Kind::Alert, ..record(20, 0) };
    window.load_alerts(std::slice::from_ref(&alert), now);
    let records: Vec<_> = (1..=500).filter(|n| *n != 20).map(|n| record(n, 1)).collect();
    load_all(&mut window, &records, now);
    assert_eq!(window.next(now), Some((20, Part::Alert)));
    assert_eq!(window.next(now), Some((500, Part::Event)));
    window.answered((20, Part::Alert), Answer::Accepted, now);
    let rest: Vec<u64> = std::iter::from_fn(|| window.next(now)).map(|(s, _)| s).collect();
    assert!(!rest.contains(&20), "once");
}

/// A pole: an outbox, a window, a clock. Records above `old` are live.
struct Pole {
    window: Window,
    /// Photos of each record that is there.
    outbox: BTreeMap<u64, usize>,
    last: u64,
    epoch: Uuid,
    old: u64,
    now: Instant,
    onvif: bool,
    /// Times that each was loaded for its event.
    loaded: BTreeMap<u64, u32>,
}

impl Pole {
    fn new(delivery: Delivery, caps: Caps) -> Self {
        Self {
            window: Window::new(delivery, RESEND, caps),
            outbox: BTreeMap::new(),
            last: 0,
            epoch: Uuid::nil(),
            old: 0,
            now: Instant::now(),
            onvif: false,
            loaded: BTreeMap::new(),
        }
    }

    fn with(delivery: Delivery, records: u64, photos: impl Fn(u64) -> usize) -> Self {
        let mut pole = Self::new(delivery, NO_CAPS);
        (1..=records).for_each(|s| _ = pole.keep(photos(s)));
        pole
    }

    fn keep(&mut self, photos: usize) -> u64 {
        self.last += 1;
        self.outbox.insert(self.last, photos);
        self.last
    }

    fn next(&mut self) -> Option<Piece> {
        self.window.grew(LedgerPosition { epoch: self.epoch, last_sequence: self.last });
        while let Some(want) = self.window.wants(self.now) {
            assert!(want.limit > 0);
            let record = |(s, photos): (&u64, &usize)| record(*s, *photos);
            let records: Vec<_> = if want.newest_first {
                let range = self.outbox.range(want.sequences.clone());
                range.rev().take(want.limit).map(record).collect()
            } else {
                self.outbox.range(want.sequences.start()..).take(want.limit).map(record).collect()
            };
            let held = |w: &Window, r: &Record| w.tracked.contains_key(&r.sequence);
            let before: Vec<bool> = records.iter().map(|r| held(&self.window, r)).collect();
            let old = self.old;
            self.window.load(&want, &records, |r| r.sequence > old, self.onvif, self.now);
            for (record, before) in records.iter().zip(before) {
                let tracked = self.window.tracked.get(&record.sequence);
                let event = tracked.and_then(|t| t.state(Part::Event));
                if !before && event == Some(State::Waiting) {
                    *self.loaded.entry(record.sequence).or_default() += 1;
                }
            }
        }
        assert!(self.window.tracked.len() <= MAX_TRACKED);
        assert!(self.window.live <= MAX_LIVE);
        self.window.next(self.now)
    }

    fn drain(&mut self) -> Vec<Piece> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn accept(&mut self, piece: Piece) {
        self.window.answered(piece, Answer::Accepted, self.now);
    }

    /// Publishes and accepts until nothing more goes now.
    fn settle(&mut self) -> Vec<Piece> {
        let mut sent = Vec::new();
        while let Some(piece) = self.next() {
            self.accept(piece);
            sent.push(piece);
        }
        sent
    }

    fn receipt(&mut self, sequence: u64) {
        // As the session does: what the window does not know is looked up in the outbox.
        if !self.window.receipt(Uuid::from_u128(sequence.into()))
            && self.outbox.contains_key(&sequence)
        {
            self.window.receipt_of(sequence);
        }
    }

    /// Deletes what is done.
    fn delete(&mut self) -> Vec<u64> {
        let done = self.window.take_done();
        done.iter().for_each(|s| _ = self.outbox.remove(s));
        done
    }
}

fn events(pieces: &[Piece]) -> Vec<u64> {
    pieces.iter().filter(|p| p.1 == Part::Event).map(|p| p.0).collect()
}

#[test]
fn events_go_before_photos_and_photos_leave_room_for_reads() {
    let mut pole = Pole::with(Delivery::Receipt, 4, |_| 2);
    let sent = pole.drain();
    assert_eq!(events(&sent[..4]), [1, 2, 3, 4]);
    assert_eq!(sent[4..], [(4, CLOSE_UP), (3, CLOSE_UP)]);
    let new = pole.keep(2);
    assert_eq!(pole.next(), Some((new, Part::Event)), "a new read does not wait for photos");
    pole.accept(sent[4]);
    assert_eq!(pole.next(), Some((new, CLOSE_UP)));
}

#[test]
fn a_receipt_ends_a_record_and_silence_sends_it_again_later_and_later() {
    let mut pole = Pole::with(Delivery::Receipt, 3, |s| s as usize - 1);
    for factor in [1, 2, 4] {
        assert_eq!(pole.settle().len(), 6);
        assert!(pole.delete().is_empty(), "an acknowledgement is no receipt");
        let again = pole.now + RESEND * factor;
        assert_eq!(pole.window.wake_at(pole.now), Some(again));
        pole.now = again;
    }
    assert!(pole.window.receipt(Uuid::from_u128(2)) && !pole.window.receipt(Uuid::from_u128(2)));
    assert_eq!(pole.window.receipt_range(SequenceRange { from: 1, to: u64::MAX }), 2);
    assert_eq!(pole.delete(), [1, 2, 3]);
    assert_eq!((pole.window.in_flight(), pole.window.wake_at(pole.now)), (0, None));
}

#[test]
fn a_range_does_not_end_what_was_never_sent_and_ends_what_an_earlier_connection_sent() {
    let mut pole = Pole::with(Delivery::Receipt, 30, |_| 0);
    pole.old = 30;
    let sent = events(&pole.drain());
    assert_eq!(sent, (1..=14).collect::<Vec<u64>>(), "two slots are left for live events");
    pole.accept((1, Part::Event));
    pole.window.disconnected();
    pole.window.connected(None);
    let everything = SequenceRange { from: 1, to: u64::MAX };
    assert_eq!(pole.window.receipt_range(everything), 14);
    assert_eq!(pole.delete(), sent);
    assert_eq!(pole.window.receipt_range(everything), 0, "once");
    assert_eq!(events(&pole.settle()), (15..=30).collect::<Vec<u64>>());
}

#[test]
fn with_puback_a_message_that_nobody_took_is_not_delivered() {
    let mut pole = Pole::with(Delivery::Puback, 1, |_| 1);
    let (event, photo) = (pole.next().unwrap(), pole.next().unwrap());
    pole.window.answered(event, Answer::NoSubscribers, pole.now);
    pole.accept(photo);
    assert!(pole.delete().is_empty());
    assert_eq!(pole.next(), None);
    pole.now += RESEND;
    let again = pole.next().unwrap();
    assert_eq!(again, event);
    pole.accept(again);
    assert_eq!(pole.delete(), [1]);
}

#[test]
fn after_days_without_a_line_a_new_read_goes_at_once_and_the_backlog_in_order() {
    const WAITING: u64 = 51_840;
    const LIVE: u64 = 600;
    let mut pole = Pole::with(Delivery::Receipt, WAITING, |s| usize::from(s % 64 == 0));
    pole.old = WAITING - LIVE;
    let first = pole.next().unwrap();
    assert_eq!(first, (WAITING, Part::Event), "the newest of those that are live");
    pole.accept(first);
    let (mut backlog, mut live, mut sent) = (Vec::new(), Vec::new(), 0_u64);
    let mut newest = None;
    while let Some(piece) = pole.next() {
        sent += 1;
        if let Some(new) = newest.take() {
            assert_eq!(piece, (new, Part::Event), "a live read waits for nothing");
        }
        match piece {
            (s, Part::Event) if s > pole.old => live.push(s),
            (s, Part::Event) => backlog.push(s),
            _ => {}
        }
        pole.accept(piece);
        let left = pole.outbox[&piece.0] == 0 || piece.1 != Part::Event;
        if left {
            pole.receipt(piece.0);
            pole.delete();
        }
        // Two vehicles a second while a thousand records a second drain. The queue of live events
        // is empty by then, and the outage's own are gone.
        if sent.is_multiple_of(500) && sent > 2 * LIVE && pole.last < WAITING + 50 {
            newest = Some(pole.keep(0));
        }
        pole.now += Duration::from_millis(1);
    }
    assert!(pole.outbox.is_empty(), "all of it");
    assert_eq!(backlog, (1..=WAITING - LIVE).collect::<Vec<u64>>(), "in order, each once");
    live.push(first.0);
    live.sort_unstable();
    assert_eq!(live, (WAITING - LIVE + 1..=WAITING + 50).collect::<Vec<u64>>(), "each once");
    assert!(pole.loaded.values().all(|n| *n == 1), "loaded once");
}

#[test]
fn a_used_up_cap_of_photos_holds_back_no_event_and_resends_none() {
    let caps = Caps { contexts: Some(100_000), ..NO_CAPS };
    let mut pole = Pole::new(Delivery::Receipt, caps);
    (0..3000).for_each(|_| _ = pole.keep(2));
    pole.old = 1500;
    let mut sent = BTreeMap::<Piece, u32>::new();
    let mut send = |pole: &mut Pole| {
        while let Some(piece) = pole.next() {
            *sent.entry(piece).or_default() += 1;
            pole.window.charge(piece.1, 1000, pole.now);
            pole.accept(piece);
            if piece.1 == CONTEXT {
                pole.receipt(piece.0);
                pole.delete();
            }
        }
        let count = |part| sent.keys().filter(|p| p.1 == part).count();
        assert!(sent.values().all(|n| *n == 1), "each once");
        (count(Part::Event), count(CLOSE_UP), count(CONTEXT))
    };
    let (all, close_ups, contexts) = send(&mut pole);
    assert_eq!((all, close_ups), (3000, 3000));
    assert!((5..20).contains(&contexts), "the burst: {contexts}");
    let held = pole.window.held(pole.now);
    assert_eq!((held.events, held.messages), (0, 3000 - contexts as u64));
    for _ in 0..3 {
        let new = pole.keep(2);
        assert_eq!(events(&[pole.next().unwrap()]), [new]);
        pole.window.disconnected();
        pole.window.connected(None);
        pole.receipt(new);
        pole.delete();
    }
    for _ in 0..100 {
        pole.now = pole.window.wake_at(pole.now).expect("it opens again");
        send(&mut pole);
    }
    let (all, _, later) = send(&mut pole);
    assert_eq!(all, 3000);
    assert!(later > contexts + 90, "{later}");
}

#[test]
fn an_event_over_the_limit_waits_for_the_next_connection() {
    let mut pole = Pole::with(Delivery::Receipt, 2, |_| 1);
    let event = pole.next().unwrap();
    pole.window.park(event.0);
    assert_eq!(pole.window.parked(), 1);
    assert_eq!(events(&pole.settle()), [2], "not again on this one");
    pole.window.disconnected();
    pole.window.connected(None);
    assert_eq!(pole.settle(), [(1, Part::Event), (1, CLOSE_UP)]);
    assert_eq!(pole.window.parked(), 0);
}

#[test]
fn records_that_never_get_a_receipt_stop_neither_live_reads_nor_the_backlog() {
    let mut pole = Pole::with(Delivery::Receipt, 4000, |_| 0);
    pole.old = 4000;
    let (mut given, mut live_sent) = (BTreeSet::new(), 0);
    for _ in 0..400 {
        let new = pole.keep(0);
        pole.old = new - 1;
        let sent = events(&pole.settle());
        assert_eq!(sent.first(), Some(&new), "a live read goes at once");
        live_sent += 1;
        for sequence in sent.into_iter().filter(|s| s % 2 == 0) {
            pole.receipt(sequence);
            given.insert(sequence);
        }
        pole.delete();
        pole.now += RESEND / 2;
    }
    assert_eq!(live_sent, 400);
    assert_eq!(given.len(), 2200, "all that the server takes");
    assert!(pole.outbox.keys().all(|s| s % 2 == 1));
    assert!(pole.window.overdue() > 500, "and it says so");
}

#[test]
fn what_was_acknowledged_is_not_sent_again_on_the_next_connection() {
    let mut pole = Pole::with(Delivery::Receipt, 1, |_| 2);
    pole.onvif = true;
    let sent = pole.drain();
    assert_eq!(sent.len(), 4);
    sent[..3].iter().for_each(|p| pole.accept(*p));
    pole.window.disconnected();
    pole.window.connected(None);
    assert_eq!(pole.settle(), [(1, CONTEXT)]);
}

#[test]
fn on_a_slow_line_a_live_event_waits_for_one_photo_at_most() {
    let mut pole = Pole::with(Delivery::Receipt, 400, |_| 2);
    pole.old = 390;
    let takes_ms = |p: &Piece| if p.1.is_photo() { 2000 } else { 50 };
    let mut line: Vec<Piece> = Vec::new();
    for round in 1..400 {
        line.extend(pole.drain());
        if round > 100 && round % 10 == 0 {
            let before: u64 = line.iter().map(takes_ms).sum();
            assert!(before <= 3000, "{before} ms of {line:?}");
            let new = pole.keep(2);
            line.push(pole.next().unwrap());
            assert_eq!(line.last(), Some(&(new, Part::Event)), "a live event goes at once");
        }
        // First in, first out: a photo takes two seconds of the line, an event little.
        let piece = line.remove(0);
        pole.now += Duration::from_millis(takes_ms(&piece));
        pole.accept(piece);
    }
}

#[test]
fn records_of_a_store_that_was_replaced_are_not_taken_for_the_new_ones() {
    let mut pole = Pole::with(Delivery::Receipt, 20, |_| 0);
    pole.drain();
    pole.receipt(3);
    (pole.epoch, pole.last) = (Uuid::max(), 2);
    pole.outbox.retain(|s, _| *s <= 2);
    assert_eq!(events(&pole.settle()), [1, 2]);
    assert!(pole.delete().is_empty(), "the receipt was for another record");
    assert_eq!(pole.window.in_flight(), 0);
}

#[test]
fn a_record_that_was_evicted_is_forgotten() {
    let mut pole = Pole::with(Delivery::Receipt, 2, |_| 1);
    let event = pole.next().unwrap();
    pole.outbox.remove(&1);
    pole.window.gone(event.0);
    assert_eq!(events(&pole.settle()), [2]);
    assert_eq!(pole.window.in_flight(), 0);
    assert!(pole.delete().is_empty());
}

#[derive(Debug, Clone)]
enum Event {
    Keep(usize),
    Age(u64),
    Publish,
    Answer(usize, Answer),
    Receipt(u64),
    Range(u64, u64),
    Disconnect,
    Wait(u64),
    Skip(usize),
    Park(usize),
    Evict(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let answer = prop_oneof![
        6 => Just(Answer::Accepted), 1 => Just(Answer::NoSubscribers), 1 => Just(Answer::Refused)
    ];
    prop_oneof![
        3 => (0usize..3).prop_map(Event::Keep),
        1 => (0u64..20).prop_map(Event::Age),
        12 => Just(Event::Publish),
        10 => (any::<usize>(), answer).prop_map(|(i, a)| Event::Answer(i, a)),
        2 => (0u64..100).prop_map(Event::Receipt),
        1 => (0u64..100, 0u64..100).prop_map(|(a, b)| Event::Range(a.min(b), a.max(b))),
        1 => Just(Event::Disconnect),
        1 => (0u64..100).prop_map(Event::Wait),
        1 => any::<usize>().prop_map(Event::Skip),
        1 => any::<usize>().prop_map(Event::Park),
        1 => (0u64..100).prop_map(Event::Evict),
    ]
}

/// Holds what must hold of every piece that goes.
#[derive(Default)]
struct Judge {
    flying: Vec<Piece>,
    live: BTreeSet<u64>,
    passed_over: u32,
}

impl Judge {
    fn sees(&mut self, pole: &Pole, piece: Piece, waiting: usize) {
        let w = &pole.window;
        assert!(!self.flying.contains(&piece), "in flight twice");
        self.flying.push(piece);
        if !w.is_backlog(piece.0) {
            self.live.insert(piece.0);
        }
        let live_event = |p: &Piece| !p.1.is_photo() && !w.is_backlog(p.0);
        let others = self.flying.iter().filter(|p| !live_event(p)).count();
        assert!(others <= MAX_IN_FLIGHT - LIVE_RESERVE, "no slot is left for live events");
        let photos = self.flying.iter().filter(|p| p.1.is_photo()).count();
        assert!(photos <= MAX_PHOTOS_IN_FLIGHT);
        if live_event(&piece) {
            self.passed_over = 0;
        } else if waiting > 0 {
            self.passed_over += 1;
            assert!(self.passed_over <= 1, "a live event waits behind something else");
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_done_without_its_word_and_everything_is_done_in_the_end(
        script in vec(event(), 0..400), receipts in any::<bool>(), onvif in any::<bool>(),
        waiting in 0u64..60,
    ) {
        let delivery = if receipts { Delivery::Receipt } else { Delivery::Puback };
        let mut pole = Pole::with(delivery, waiting, |s| s as usize % 3);
        (pole.onvif, pole.old) = (onvif, waiting / 2);
        let mut judge = Judge::default();
        let (mut words, mut done) = (BTreeSet::new(), BTreeSet::new());
        let (mut published, mut taken) = (BTreeSet::new(), BTreeSet::new());
        let mut evicted = BTreeSet::new();
        for event in script {
            match event {
                Event::Keep(photos) => _ = pole.keep(photos),
                Event::Age(n) => pole.old = (pole.old + n).min(pole.last),
                Event::Publish => {
                    // As the session finds it: loaded first, then asked.
                    let piece = pole.next();
                    let room = MAX_IN_FLIGHT - judge.flying.len();
                    prop_assert!(piece.is_none() || room > 0);
                    if let Some(piece) = piece {
                        let waiting = pole.window.lanes.count(Class::Live, Lane::Events);
                        if piece.1 == Part::Event { published.insert(piece.0); }
                        judge.sees(&pole, piece, waiting);
                    }
                }
                Event::Answer(i, answer) if !judge.flying.is_empty() => {
                    let piece = judge.flying.swap_remove(i % judge.flying.len());
                    pole.window.answered(piece, answer, pole.now);
                    if answer == Answer::Accepted || piece.1 == Part::Onvif && answer == Answer::NoSubscribers {
                        taken.insert(piece);
                    }
                }
                Event::Skip(i) if !judge.flying.is_empty() => {
                    let piece = judge.flying.swap_remove(i % judge.flying.len());
                    pole.window.skip(piece, pole.now);
                    taken.insert(piece);
                }
                Event::Park(i) if !judge.flying.is_empty() => {
                    let (sequence, part) = judge.flying[i % judge.flying.len()];
                    if part == Part::Event { pole.window.park(sequence); }
                }
                Event::Evict(s) if pole.outbox.remove(&s).is_some() => {
                    pole.window.gone(s);
                    evicted.insert(s);
                }
                Event::Receipt(s) => { pole.receipt(s); words.insert(s); }
                Event::Range(from, to) => {
                    pole.window.receipt_range(SequenceRange { from, to });
                    words.extend((from..=to).filter(|s| published.contains(s)));
                }
                Event::Disconnect => {
                    judge.flying.clear();
                    pole.window.disconnected();
                    pole.window.connected(None);
                }
                Event::Wait(s) => pole.now += Duration::from_secs(s),
                _ => {}
            }
            judge.flying.retain(|(s, _)| pole.window.id(*s).is_some());
            prop_assert_eq!(pole.window.in_flight(), judge.flying.len());
            prop_assert!(pole.window.in_flight() <= MAX_IN_FLIGHT);
            let photos = pole.outbox.clone();
            for sequence in pole.delete() {
                prop_assert!(done.insert(sequence), "done twice");
                let parts = [Some(Part::Event), onvif.then_some(Part::Onvif)].into_iter().flatten()
                    .chain(PhotoKind::ALL.into_iter().take(photos[&sequence]).map(Part::Photo));
                let all = || parts.into_iter().all(|p| taken.contains(&(sequence, p)));
                prop_assert!(words.contains(&sequence) || !receipts && all(), "done without a word");
            }
        }
        // A broker and a server that work: everything is done within the longest resend.
        pole.window.disconnected();
        pole.window.connected(None);
        for _ in 0..10_000 {
            match pole.next() {
                Some(piece) => {
                    pole.accept(piece);
                    if receipts {
                        pole.receipt(piece.0);
                    }
                    done.extend(pole.delete());
                }
                None => match pole.window.wake_at(pole.now) {
                    Some(at) => pole.now = pole.now.max(at),
                    None => break,
                },
            }
        }
        done.extend(pole.delete());
        prop_assert!(pole.outbox.is_empty(), "left: {:?}", pole.outbox);
        prop_assert!(pole.window.tracked.is_empty() && pole.window.timers.is_empty());
        prop_assert_eq!(done.len() + evicted.difference(&done).count(), pole.last as usize);
    }
}

#[test]
fn what_can_not_be_read_now_is_asked_for_again_later() {
    let now = Instant::now();
    let mut window = Window::new(Delivery::Receipt, Duration::from_secs(30), NO_CAPS);
    let position = LedgerPosition { epoch: Uuid::nil(), last_sequence: 1 };
    window.grew(position);
    let want = window.wants(now).unwrap();
    window.load(&want, &[], |_| true, false, now);
    window.keep_for_later(&[1], now);
    assert_eq!((window.wants(now), window.out_of_reach()), (None, 1));
    let later = now + loading::OUT_OF_REACH;
    assert!(window.wants(later).is_some_and(|want| want.sequences == (1..=1)));
    let want = window.wants(later).unwrap();
    window.load(&want, &[record(1, 0)], |_| true, false, later);
    assert_eq!(window.next(later).map(|(sequence, _)| sequence), Some(1));
}
