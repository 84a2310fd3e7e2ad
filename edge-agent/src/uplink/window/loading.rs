//! What of the outbox the window holds, and where the rest is: loading from both ends in bounded
//! memory.
//!
//! Live alerts are loaded first, when a connection begins. The newest records are loaded as long as they are
//! live, [`LIVE_AHEAD`] ahead of what goes, and whatever is newer still at once; the backlog is loaded from the oldest on, [`BACKLOG_AHEAD`]
//! ahead. (Live records that wait longer than that are met by the backlog from below.) What is not
//! held lies on [`Shelves`]: sets of ranges, which stay few because records come and go in order.
//!
//! Room for a live record is made by putting back what can wait: older live events, records of which
//! only photos are left, and those that were sent again and again without a receipt.

use milepost_wire::LedgerPosition;

use super::*;
use crate::outbox::{Kind, Record};

/// Records held in all.
pub const MAX_TRACKED: usize = 1024;
/// Live ones among them.
pub const MAX_LIVE: usize = 512;
/// Records of the backlog among them.
pub const MAX_BACKLOG: usize = 512;
/// Live events that wait, before older ones are loaded.
pub const LIVE_AHEAD: usize = 64;
/// Messages of a lane of the backlog that wait, before more is loaded.
pub const BACKLOG_AHEAD: usize = 16;
/// Records loaded at once; with their bodies at most 400 kB, until the window has taken them.
pub const BATCH: usize = 64;
/// What can't be read is asked for again after this.
pub const OUT_OF_REACH: Duration = Duration::from_secs(600);
/// A record sent so often without a receipt makes room in the backlog for others.
pub const MAX_TRIES: u32 = 3;
/// Ranges on one shelf. More are not kept: what was published is then forgotten from the oldest on,
/// photos set aside are sent with their event once more.
const MAX_RANGES: usize = 8192;

/// Photos that are left of a record, as an index: close-up, context, both.
const ASIDE: [&[Lane]; 3] = [&[Lane::CloseUps], &[Lane::Contexts], &Lane::PHOTOS];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Newest,
    Oldest,
    Aside(usize),
}

/// Records that the window takes now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Which.
    pub sequences: RangeInclusive<u64>,
    /// The newest of them, newest first; else the oldest, oldest first.
    pub newest_first: bool,
    /// How many.
    pub limit: usize,
    from: Source,
}

/// Where the sequences are that are not tracked and not done.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    /// Whose sequences these are.
    epoch: Option<Uuid>,
    /// The highest sequence that it has heard of.
    top: u64,
    /// Not loaded yet.
    unloaded: Sequences,
    /// Up to here nothing that is not loaded is live.
    old_up_to: u64,
    /// The event is with the broker, photos wait, by [`ASIDE`].
    aside: [Sequences; 3],
    /// Sent often without a receipt: again at `put_off_until`.
    put_off: Sequences,
    put_off_until: Option<Instant>,
    /// Can't be read now: again at `out_of_reach_until`.
    out_of_reach: Sequences,
    out_of_reach_until: Option<Instant>,
    /// The event is too large for this connection.
    parked: Sequences,
    /// Published at least once, wherever else it is.
    published: Sequences,
}

fn len(sequences: &Sequences) -> u64 {
    sequences.iter().map(|r| r.end() - r.start() + 1).sum()
}

impl Shelves {
    pub(super) fn published(&mut self, sequence: u64) {
        self.published.insert(sequence..=sequence);
        if self.published.len() > MAX_RANGES
            && let Some(oldest) = self.published.first().cloned()
        {
            self.published.remove(oldest);
        }
    }

    pub(super) fn published_within(&self, r: RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
        let (from, to) = (*r.start(), (*r.end()).min(self.top));
        if from > to {
            return Vec::new();
        }
        let clip = |r: &RangeInclusive<u64>| from.max(*r.start())..=to.min(*r.end());
        self.published.overlapping(from..=to).map(clip).collect()
    }

    pub(super) fn set_aside_for(&self, lane: Lane) -> u64 {
        let shelves = ASIDE.iter().zip(&self.aside).filter(|(lanes, _)| lanes.contains(&lane));
        shelves.map(|(_, sequences)| len(sequences)).sum()
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        [self.put_off_until, self.out_of_reach_until].into_iter().flatten().min()
    }

    pub(super) fn put_off(&self) -> u64 {
        len(&self.put_off)
    }

    pub(super) fn parked(&self) -> u64 {
        len(&self.parked)
    }

    fn unload(&mut self, sequence: u64) {
        self.unloaded.insert(sequence..=sequence);
    }

    fn set_aside(&mut self, shelf: usize, sequence: u64) {
        self.aside[shelf].insert(sequence..=sequence);
        if self.aside[shelf].len() > MAX_RANGES
            && let Some(oldest) = self.aside[shelf].first().cloned()
        {
            self.aside[shelf].remove(oldest.clone());
            self.unloaded.insert(oldest);
        }
    }

    fn take_back(&mut self, which: impl Fn(&mut Self) -> &mut Sequences) {
        for range in std::mem::take(which(self)).into_iter() {
            self.unloaded.insert(range);
        }
    }

    fn strike(&mut self, sequences: &RangeInclusive<u64>) {
        let [a, b, c] = &mut self.aside;
        let others = [
            &mut self.unloaded,
            &mut self.put_off,
            &mut self.out_of_reach,
            &mut self.parked,
            &mut self.published,
        ];
        for shelf in [a, b, c].into_iter().chain(others) {
            shelf.remove(sequences.clone());
        }
    }
}

impl Window {
    /// The outbox has given sequences up to the position's last. Those of another epoch mean other
    /// records: what it had of a store that was replaced is forgotten.
    pub fn grew(&mut self, position: LedgerPosition) {
        let LedgerPosition { epoch, last_sequence: last } = position;
        if self.shelves.epoch.replace(epoch).is_some_and(|before| before != epoch) {
            self.drop_all(0..=u64::MAX);
            self.shelves = Shelves { epoch: Some(epoch), ..Shelves::default() };
            self.done.clear();
        }
        if last > self.shelves.top {
            self.shelves.unloaded.insert(self.shelves.top + 1..=last);
            self.shelves.top = last;
        }
    }

    /// Which records it takes now, if any.
    pub fn wants(&mut self, now: Instant) -> Option<Want> {
        if self.shelves.put_off_until.is_some_and(|at| at <= now) {
            self.shelves.put_off_until = None;
            self.shelves.take_back(|s| &mut s.put_off);
        }
        if self.shelves.out_of_reach_until.is_some_and(|at| at <= now) {
            self.shelves.out_of_reach_until = None;
            self.shelves.take_back(|s| &mut s.out_of_reach);
        }
        self.wants_newest(now).or_else(|| self.wants_oldest(now))
    }

    /// Takes live alerts ahead of whatever is newer than they.
    pub fn load_alerts(&mut self, alerts: &[Record], now: Instant) {
        for alert in alerts {
            if self.live_room(1, now) == 0 {
                return;
            }
            self.shelves.unloaded.remove(alert.sequence..=alert.sequence);
            self.track(alert, Source::Newest, false, now);
        }
    }

    fn wants_newest(&mut self, now: Instant) -> Option<Want> {
        let range = self.shelves.unloaded.last()?.clone();
        if *range.end() <= self.shelves.old_up_to {
            return None;
        }
        let ahead = LIVE_AHEAD.saturating_sub(self.lanes.count(Class::Live, Lane::Events));
        let newest = self.lanes.waiting(Class::Live, Lane::Events).next_back();
        // What is newer than all that waits goes before it, so it does not wait outside.
        let newer = newest.map_or(0, |(s, _)| range.end().saturating_sub(s));
        let newer = usize::try_from(newer).unwrap_or(BATCH);
        let limit = self.live_room(ahead.max(newer).min(BATCH), now);
        (limit > 0).then_some(Want {
            sequences: range,
            newest_first: true,
            limit,
            from: Source::Newest,
        })
    }

    fn wants_oldest(&mut self, now: Instant) -> Option<Want> {
        let open = self.open(now);
        let short = |lane| self.lanes.count(Class::Backlog, lane) < BACKLOG_AHEAD;
        let events = short(Lane::Events).then(|| self.shelves.unloaded.first()).flatten();
        let photos = (0..ASIDE.len()).filter_map(|shelf| {
            let may = ASIDE[shelf].iter().any(|l| open[*l as usize] && short(*l));
            Some((may.then(|| self.shelves.aside[shelf].first()).flatten()?, Source::Aside(shelf)))
        });
        let all = events.map(|r| (r, Source::Oldest)).into_iter().chain(photos);
        let (range, from) = all.min_by_key(|(r, _)| *r.start())?;
        let range = range.clone();
        let limit = self.backlog_room(BATCH, now);
        (limit > 0).then_some(Want { sequences: range, newest_first: false, limit, from })
    }

    /// Records that can't be read now: asked for again after [`OUT_OF_REACH`], or on the next connection.
    pub fn keep_for_later(&mut self, sequences: &[u64], now: Instant) {
        sequences.iter().for_each(|s| self.shelves.out_of_reach.insert(*s..=*s));
        self.shelves.out_of_reach_until.get_or_insert(now + OUT_OF_REACH);
    }

    /// As [`Self::keep_for_later`], for a record of which a part can't be read now.
    pub fn defer(&mut self, sequence: u64, now: Instant) {
        if self.untrack(sequence).is_some() {
            self.keep_for_later(&[sequence], now);
        }
    }

    /// How many these are.
    pub fn out_of_reach(&self) -> u64 {
        len(&self.shelves.out_of_reach)
    }

    /// Takes records as `want` asked for; `onvif`: their reads have a view as well.
    pub fn load(
        &mut self,
        want: &Want,
        records: &[Record],
        is_live: impl Fn(&Record) -> bool,
        onvif: bool,
        now: Instant,
    ) {
        let (first, last) = (*want.sequences.start(), *want.sequences.end());
        let all = records.len() < want.limit;
        let mut rest = want.sequences.clone();
        for record in records.iter().filter(|r| want.sequences.contains(&r.sequence)) {
            let sequence = record.sequence;
            match want.from {
                Source::Newest if !is_live(record) => {
                    self.shelves.old_up_to = self.shelves.old_up_to.max(*rest.end());
                    return;
                }
                Source::Newest => {
                    self.shelves.unloaded.remove(sequence..=*rest.end());
                    rest = first..=sequence.saturating_sub(1);
                }
                Source::Oldest => self.shelves.unloaded.remove(*rest.start()..=sequence),
                Source::Aside(shelf) => self.shelves.aside[shelf].remove(*rest.start()..=sequence),
            }
            if want.from != Source::Newest {
                rest = sequence + 1..=last;
            }
            self.track(record, want.from, onvif, now);
        }
        let beyond = records.last().is_some_and(|r| !want.sequences.contains(&r.sequence));
        if (all || beyond) && !rest.is_empty() {
            match want.from {
                Source::Newest | Source::Oldest => self.shelves.unloaded.remove(rest),
                Source::Aside(shelf) => self.shelves.aside[shelf].remove(rest),
            }
        }
    }

    fn track(&mut self, record: &Record, from: Source, onvif: bool, now: Instant) {
        let sequence = record.sequence;
        let known = self.tracked.contains_key(&sequence) || self.done.contains(&sequence);
        if known || record.delivered {
            return;
        }
        let left = |lane| !matches!(from, Source::Aside(shelf) if !ASIDE[shelf].contains(&lane));
        let view = (onvif && record.kind == Kind::Read).then_some(Part::Onvif);
        let event = if record.kind == Kind::Alert { Part::Alert } else { Part::Event };
        let events = [Some(event), view].into_iter().flatten();
        let events = events.map(|part| (part, record.body.len() as u64));
        let photos = record.photos.iter().map(|p| (Part::Photo(p.kind), p.bytes));
        let messages = events.chain(photos).map(|(part, bytes)| {
            let state = if left(part.lane()) { State::Waiting } else { State::Done };
            Message { part, bytes, state }
        });
        let class = if from == Source::Newest { Class::Live } else { Class::Backlog };
        let messages = messages.collect();
        self.live += usize::from(class == Class::Live);
        self.ids.insert(record.id, sequence);
        let tracked = Tracked { id: record.id, class, messages, attempt: 0, due: None };
        self.tracked.insert(sequence, tracked);
        self.enqueue(sequence);
        // Photos that were evicted while they were set aside.
        self.settle(sequence, now);
    }

    fn untrack(&mut self, sequence: u64) -> Option<Tracked> {
        self.dequeue(sequence);
        let tracked = self.tracked.remove(&sequence)?;
        self.ids.remove(&tracked.id);
        self.overdue.remove(&(tracked.attempt, sequence));
        if let Some(due) = tracked.due {
            self.timers.remove(&(due, sequence));
        }
        for message in &tracked.messages {
            self.in_flight.ends(tracked.class, message.part, message.state);
        }
        self.live -= usize::from(tracked.class == Class::Live);
        Some(tracked)
    }

    /// Forgets records wherever they are.
    pub(super) fn drop_all(&mut self, sequences: RangeInclusive<u64>) {
        self.shelves.strike(&sequences);
        let few = sequences.end() - sequences.start() < MAX_TRACKED as u64;
        let tracked: Vec<u64> = if few {
            sequences.collect()
        } else {
            self.tracked.keys().copied().filter(|s| sequences.contains(s)).collect()
        };
        tracked.into_iter().for_each(|s| drop(self.untrack(s)));
    }

    /// A record whose event can't be sent on this connection: it stays in the outbox, and is tried
    /// again on the next, whose broker may take more.
    pub fn park(&mut self, sequence: u64) {
        if self.untrack(sequence).is_some() {
            self.shelves.parked.insert(sequence..=sequence);
        }
    }

    /// The connection is gone: what is in flight will be sent again on the next one, and what is
    /// live is decided anew. Records whose every part the broker has go on waiting for receipts.
    pub fn disconnected(&mut self) {
        let unsent = |(sequence, t): (&u64, &Tracked)| (!t.is_sent()).then_some(*sequence);
        let sequences: Vec<u64> = self.tracked.iter().filter_map(unsent).collect();
        for sequence in sequences {
            let Some(tracked) = self.untrack(sequence) else { continue };
            let flying = tracked.messages.iter().filter(|m| matches!(m.state, State::InFlight(_)));
            self.resent += flying.count() as u64;
            self.shelve(sequence, &tracked);
        }
        self.shelves.take_back(|s| &mut s.put_off);
        self.shelves.take_back(|s| &mut s.out_of_reach);
        self.shelves.take_back(|s| &mut s.parked);
        (self.shelves.put_off_until, self.shelves.old_up_to) = (None, 0);
        self.shelves.out_of_reach_until = None;
    }

    /// Puts what was untracked where it can be loaded again, without its event if the broker has it.
    fn shelve(&mut self, sequence: u64, tracked: &Tracked) {
        let left = |part: Part| !matches!(tracked.state(part), None | Some(State::Done));
        let photos = milepost_wire::PhotoKind::ALL.map(|kind| left(Part::Photo(kind)));
        match (left(Part::Event) || left(Part::Alert) || left(Part::Onvif), photos) {
            (false, [true, false]) => self.shelves.set_aside(0, sequence),
            (false, [false, true]) => self.shelves.set_aside(1, sequence),
            (false, [true, true]) => self.shelves.set_aside(2, sequence),
            _ => self.shelves.unload(sequence),
        }
    }

    fn put_back(&mut self, sequence: u64) {
        if let Some(tracked) = self.untrack(sequence) {
            self.shelve(sequence, &tracked);
        }
    }

    /// Room for so many live records or fewer; makes it where it can.
    fn live_room(&mut self, wanted: usize, now: Instant) -> usize {
        loop {
            let room = MAX_LIVE.saturating_sub(self.live);
            let room = room.min(MAX_TRACKED.saturating_sub(self.tracked.len()));
            if room >= wanted || !self.make_live_room(wanted, now) {
                return room.min(wanted);
            }
        }
    }

    fn make_live_room(&mut self, wanted: usize, now: Instant) -> bool {
        if MAX_LIVE.saturating_sub(self.live) < wanted {
            if self.lanes.count(Class::Live, Lane::Events) > LIVE_AHEAD {
                let oldest = self.lanes.waiting(Class::Live, Lane::Events).next();
                oldest.into_iter().for_each(|(s, _)| self.put_back(s));
                return true;
            }
            return self.set_photos_aside(Class::Live, |_| true);
        }
        if self.put_off(2, now) {
            return true;
        }
        let newest = self.lanes.waiting(Class::Backlog, Lane::Events).next_back();
        if let Some((sequence, Part::Event)) = newest {
            self.put_back(sequence);
            return true;
        }
        self.set_photos_aside(Class::Backlog, |_| true)
    }

    fn backlog_room(&mut self, wanted: usize, now: Instant) -> usize {
        let open = self.open(now);
        loop {
            let room = MAX_BACKLOG.saturating_sub(self.tracked.len() - self.live);
            let room = room.min(MAX_TRACKED.saturating_sub(self.tracked.len()));
            // Only what can't go anyway, so that it is not loaded again at once.
            let held = |lane: Lane| !open[lane as usize];
            let made = room < wanted
                && (self.set_photos_aside(Class::Backlog, held) || self.put_off(MAX_TRIES, now));
            if !made {
                return room.min(wanted);
            }
        }
    }

    /// Sets the oldest record aside of which only photos of such lanes are left.
    fn set_photos_aside(&mut self, class: Class, such: impl Fn(Lane) -> bool) -> bool {
        let lanes = [Lane::Contexts, Lane::CloseUps].into_iter().filter(|l| such(*l));
        // Of more than can be in flight, one is not.
        let waiting = lanes.flat_map(|l| self.lanes.waiting(class, l).take(MAX_IN_FLIGHT + 2));
        let mut sequences = waiting.map(|(sequence, _)| sequence);
        let found = sequences.find(|s| {
            self.tracked.get(s).is_some_and(|t| {
                t.messages.iter().all(|m| match m.state {
                    State::Done => true,
                    State::InFlight(_) => false,
                    State::Waiting => m.part.is_photo() && such(m.part.lane()),
                })
            })
        });
        let Some(sequence) = found else { return false };
        drop(sequences);
        self.put_back(sequence);
        true
    }

    /// Puts off the record that was sent most often without a receipt, if that is `tries` at least.
    fn put_off(&mut self, tries: u32, now: Instant) -> bool {
        let mut most = self.overdue.iter().rev().take(MAX_IN_FLIGHT + 1);
        let found = most
            .find(|(n, s)| *n >= tries && self.tracked.get(s).is_some_and(|t| !t.is_in_flight()));
        let Some(&(_, sequence)) = found else { return false };
        self.untrack(sequence);
        self.shelves.put_off.insert(sequence..=sequence);
        self.shelves.put_off_until.get_or_insert(now + self.resend_after * MAX_RESEND_FACTOR);
        true
    }
}
