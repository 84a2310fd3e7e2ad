//! What waits to be sent, by lane, and whose turn it is. Pure.
//!
//! Live alerts go first, then other live events, then live close-ups, then live context photos; the
//! backlog goes beside them on slots of its own, in the same order. Of live alerts and of live events the oldest goes first as long as
//! all that wait can go at once, else the newest; of live photos the newest, of the backlog the oldest.
//!
//! Invariants: a live event waits behind nothing but live events, [`LIVE_EVENTS_A_TURN`] of them at
//! most to one other message, and an alert behind nothing but alerts; nothing else that may go is passed over
//! for ever: after so many live events something else has its turn, after [`LIVE_PHOTOS_A_TURN`] live photos the backlog has.

use std::collections::BTreeSet;

use milepost_wire::PhotoKind;

/// Live events in a row before another message has its turn, where one waits.
pub const LIVE_EVENTS_A_TURN: u32 = 15;
/// Live photos in a row before the backlog has its turn, where it waits.
pub const LIVE_PHOTOS_A_TURN: u32 = 7;

/// What goes before or after others and, but for alerts, shares a cap of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Alerts; never capped.
    Alerts,
    /// Other events and their ONVIF views.
    Events,
    /// Plate close-ups.
    CloseUps,
    /// Context photos.
    Contexts,
}

impl Lane {
    /// Every lane, the first to go first.
    pub const ALL: [Self; 4] = [Self::Alerts, Self::Events, Self::CloseUps, Self::Contexts];
    /// Those of photos.
    pub const PHOTOS: [Self; 2] = [Self::CloseUps, Self::Contexts];
}

/// One message of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The event itself, of anything but an alert.
    Event,
    /// The event of an alert.
    Alert,
    /// The ONVIF view of a read.
    Onvif,
    /// A photo.
    Photo(PhotoKind),
}

impl Part {
    /// Which lane it goes in.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Alert => Lane::Alerts,
            Self::Event | Self::Onvif => Lane::Events,
            Self::Photo(PhotoKind::Plate) => Lane::CloseUps,
            Self::Photo(PhotoKind::Context) => Lane::Contexts,
        }
    }

    /// Whether it is the record's own event: what its other parts wait for.
    #[must_use]
    pub const fn is_event(self) -> bool {
        matches!(self, Self::Event | Self::Alert)
    }

    /// Whether it is a photo.
    #[must_use]
    pub const fn is_photo(self) -> bool {
        matches!(self, Self::Photo(_))
    }
}

/// A part of a record.
pub type Piece = (u64, Part);

/// Whether a record goes before others or beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// New: what somebody waits for.
    Live,
    /// Old, or sent before.
    Backlog,
}

/// How many more messages may be under way now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In all.
    pub all: usize,
    /// Of all but live events.
    pub others: usize,
    /// Of photos among the others.
    pub photos: usize,
    /// Of the backlog among the others.
    pub backlog: usize,
}

/// Which lanes may send now, in the order of [`Lane::ALL`].
pub type Open = [bool; Lane::ALL.len()];

#[derive(Debug, Default)]
struct Queue {
    pieces: BTreeSet<Piece>,
    bytes: u64,
}

/// All that waits.
#[derive(Debug, Default)]
pub struct Lanes {
    queues: [[Queue; Lane::ALL.len()]; 2],
    /// Live events since another message had its turn.
    events_in_a_row: u32,
    /// Live photos since the backlog had its turn.
    photos_in_a_row: u32,
}

impl Lanes {
    /// It waits from now on.
    pub fn insert(&mut self, class: Class, piece: Piece, bytes: u64) {
        let queue = &mut self.queues[class as usize][piece.1.lane() as usize];
        if queue.pieces.insert(piece) {
            queue.bytes += bytes;
        }
    }

    /// It waits no longer.
    pub fn remove(&mut self, class: Class, piece: Piece, bytes: u64) {
        let queue = &mut self.queues[class as usize][piece.1.lane() as usize];
        if queue.pieces.remove(&piece) {
            queue.bytes -= bytes;
        }
    }

    /// What waits in a lane, oldest first.
    pub fn waiting(&self, class: Class, lane: Lane) -> impl DoubleEndedIterator<Item = Piece> {
        self.queues[class as usize][lane as usize].pieces.iter().copied()
    }

    /// How many messages wait in a lane.
    #[must_use]
    pub fn count(&self, class: Class, lane: Lane) -> usize {
        self.queues[class as usize][lane as usize].pieces.len()
    }

    /// Bytes that wait in a lane.
    #[must_use]
    pub fn bytes(&self, lane: Lane) -> u64 {
        self.queues.iter().map(|class| class[lane as usize].bytes).sum()
    }

    /// Which goes now, if one may. It waits still: [`Self::remove`] it.
    pub fn pick(&mut self, room: Room, open: Open) -> Option<Piece> {
        let event = self.live_event(room, open);
        let photo = self.live_photo(room, open);
        let backlog = self.backlog(room, open);
        let backlogs_turn = self.photos_in_a_row >= LIVE_PHOTOS_A_TURN;
        let other = if backlogs_turn { backlog.or(photo) } else { photo.or(backlog) };
        let others_turn = self.events_in_a_row >= LIVE_EVENTS_A_TURN;
        let alert = event.filter(|(_, part)| *part == Part::Alert);
        let pick = if others_turn { alert.or(other).or(event) } else { event.or(other) };
        // Only those count that were passed over while they could have gone.
        if pick.is_some() && pick == event {
            self.events_in_a_row += u32::from(other.is_some());
        } else if pick.is_some() && pick == photo {
            self.events_in_a_row = 0;
            self.photos_in_a_row += u32::from(backlog.is_some());
        } else if pick.is_some() {
            (self.events_in_a_row, self.photos_in_a_row) = (0, 0);
        }
        pick
    }

    fn live_event(&self, room: Room, open: Open) -> Option<Piece> {
        if room.all == 0 {
            return None;
        }
        let mut lanes = [Lane::Alerts, Lane::Events].into_iter().filter(|l| open[*l as usize]);
        lanes.find_map(|lane| {
            let mut waiting = self.waiting(Class::Live, lane);
            let behind = self.count(Class::Live, lane) > room.all;
            if behind { waiting.next_back() } else { waiting.next() }
        })
    }

    fn live_photo(&self, room: Room, open: Open) -> Option<Piece> {
        if room.all.min(room.others).min(room.photos) == 0 {
            return None;
        }
        let mut lanes = Lane::PHOTOS.into_iter().filter(|l| open[*l as usize]);
        lanes.find_map(|l| self.waiting(Class::Live, l).next_back())
    }

    fn backlog(&self, room: Room, open: Open) -> Option<Piece> {
        if room.all.min(room.others).min(room.backlog) == 0 {
            return None;
        }
        let may = |l: &Lane| open[*l as usize] && (!Lane::PHOTOS.contains(l) || room.photos > 0);
        let mut lanes = Lane::ALL.into_iter().filter(may);
        lanes.find_map(|l| self.waiting(Class::Backlog, l).next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_OPEN: Open = [true; 4];
    const CLOSE_UP: Part = Part::Photo(PhotoKind::Plate);
    const CONTEXT: Part = Part::Photo(PhotoKind::Context);

    fn room(all: usize) -> Room {
        Room { all, others: all, photos: all, backlog: all }
    }

    fn lanes(live: &[Piece], backlog: &[Piece]) -> Lanes {
        let mut lanes = Lanes::default();
        live.iter().for_each(|p| lanes.insert(Class::Live, *p, 10));
        backlog.iter().for_each(|p| lanes.insert(Class::Backlog, *p, 10));
        lanes
    }

    fn drain(mut lanes: Lanes, room: Room, open: Open) -> Vec<Piece> {
        let mut picked = Vec::new();
        while let Some(piece) = lanes.pick(room, open) {
            lanes.remove(Class::Live, piece, 10);
            lanes.remove(Class::Backlog, piece, 10);
            picked.push(piece);
        }
        assert!(lanes.queues.iter().flatten().all(|q| (q.bytes == 0) == q.pieces.is_empty()));
        picked
    }

    #[test]
    fn events_then_close_ups_then_contexts_and_the_backlog_after_them() {
        let live = [(9, CONTEXT), (8, CLOSE_UP), (9, CLOSE_UP), (8, Part::Event), (9, Part::Event)];
        let backlog = [(2, CONTEXT), (1, CLOSE_UP), (1, Part::Event), (2, Part::Event)];
        let order = [
            (8, Part::Event),
            (9, Part::Event),
            (9, CLOSE_UP),
            (8, CLOSE_UP),
            (9, CONTEXT),
            (1, Part::Event),
            (2, Part::Event),
            (1, CLOSE_UP),
            (2, CONTEXT),
        ];
        assert_eq!(drain(lanes(&live, &backlog), room(20), ALL_OPEN), order);
    }

    #[test]
    fn an_alert_waits_for_nothing_but_other_alerts() {
        let live =
            [(7, Part::Event), (8, Part::Alert), (8, CLOSE_UP), (9, Part::Event), (9, Part::Alert)];
        let backlog = [(1, Part::Event), (2, Part::Alert)];
        let order = [
            (8, Part::Alert),
            (9, Part::Alert),
            (7, Part::Event),
            (9, Part::Event),
            (8, CLOSE_UP),
            (2, Part::Alert),
            (1, Part::Event),
        ];
        assert_eq!(drain(lanes(&live, &backlog), room(20), ALL_OPEN), order);
        // Not even for the cap of the other events.
        assert_eq!(
            drain_some(&live, [true, false, false, false]),
            [(8, Part::Alert), (9, Part::Alert)]
        );
    }

    #[test]
    fn the_newest_live_event_goes_first_only_while_more_wait_than_can_go_at_once() {
        let live: Vec<_> = (1..=5).map(|s| (s, Part::Event)).collect();
        let order = |all| -> Vec<u64> {
            drain(lanes(&live, &[]), room(all), ALL_OPEN).iter().map(|p| p.0).collect()
        };
        assert_eq!(order(5), [1, 2, 3, 4, 5]);
        assert_eq!(order(2), [5, 4, 3, 1, 2]);
    }

    #[test]
    fn a_lane_whose_cap_is_used_up_holds_back_no_other() {
        let pieces = [(9, Part::Event), (9, CLOSE_UP), (9, CONTEXT)];
        let picked = drain_some(&pieces, [true, true, false, true]);
        assert_eq!(picked, [(9, Part::Event), (9, CONTEXT)]);
        assert_eq!(drain_some(&pieces, [true, false, true, false]), [(9, CLOSE_UP)]);
    }

    fn drain_some(pieces: &[Piece], open: Open) -> Vec<Piece> {
        let mut lanes = lanes(pieces, &[]);
        let mut picked = Vec::new();
        while let Some(piece) = lanes.pick(room(9), open) {
            lanes.remove(Class::Live, piece, 10);
            picked.push(piece);
        }
        picked
    }

    #[test]
    fn others_have_one_turn_in_sixteen_and_the_backlog_one_in_eight_of_the_photos() {
        let live: Vec<_> = (1000..1400).flat_map(|s| [(s, Part::Event), (s, CLOSE_UP)]).collect();
        let backlog: Vec<_> = (1..=100).map(|s| (s, Part::Event)).collect();
        let picked = drain(lanes(&live, &backlog), room(1), ALL_OPEN);
        let others: Vec<_> =
            picked[..384].iter().filter(|p| p.1 != Part::Event || p.0 < 1000).collect();
        assert_eq!(others.len(), 24);
        assert_eq!(others.iter().filter(|p| p.0 < 1000).count(), 3);
        assert_eq!(picked.len(), 900);
    }
}
