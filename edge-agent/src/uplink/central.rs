//! What a central server does with what comes in, in small and without I/O: check, de-duplicate,
//! wait for the photos, find gaps, and say what a receipt may be given for.

use std::collections::{BTreeMap, HashMap, VecDeque};

use milepost_wire::{
    Event, EventError, Header, Heartbeat, Leaf, LedgerEvent, PhotoKind, Read, Response, Root,
    Source, Status, Topic, UnreadPass, event::Ledger,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Records remembered for de-duplication; the oldest is forgotten first.
pub const MAX_REMEMBERED: usize = 100_000;
/// Photos remembered that came before their read.
pub const MAX_EARLY_PHOTOS: usize = 1000;

/// One thing that came in.
#[derive(Debug)]
pub enum Seen {
    /// A read; its photos may be under way.
    Read {
        /// It.
        event: Box<Event<Read>>,
        /// Came before, with the same source and id.
        duplicate: bool,
    },
    /// An unread pass.
    UnreadPass {
        /// It.
        event: Box<Event<UnreadPass>>,
        /// Came before.
        duplicate: bool,
    },
    /// What a pole says of itself in its ledger; one of an unknown type, too.
    Ledger {
        /// It.
        event: Box<LedgerEvent>,
        /// Came before.
        duplicate: bool,
    },
    /// A photo whose read is there.
    Photo {
        /// Its read.
        read_id: Uuid,
        /// Which.
        kind: PhotoKind,
        /// Its hash is the one in the read.
        verified: bool,
    },
    /// A record is there with all its photos: a receipt may be given once it is stored. Comes again
    /// for a duplicate, whose receipt was lost.
    Complete {
        /// Which camera.
        root: Root,
        /// Which record.
        id: Uuid,
        /// A read, and not seen before.
        new_read: bool,
    },
    /// A pole's answer to a command.
    Response(Box<Event<Response>>),
    /// A pole's birth or end.
    Status(Box<Event<Status>>),
    /// How a pole is.
    Heartbeat(Box<Event<Heartbeat>>),
    /// Not of this contract, or broken.
    Bad {
        /// Where it came.
        topic: String,
        /// What is wrong; without its content.
        why: String,
    },
}

/// What came in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Messages with a read.
    pub reads: u64,
    /// Different reads.
    pub distinct: u64,
    /// Different reads that are there with all their photos.
    pub complete: u64,
    /// Messages with a record that was there.
    pub duplicates: u64,
    /// Different unread passes.
    pub unread_passes: u64,
    /// Sequences missing between the first and the last seen of each ledger, evictions aside.
    pub gaps: u64,
    /// Photos whose hash was not the read's.
    pub bad_photos: u64,
    /// Messages that were not of the contract.
    pub bad: u64,
}

#[derive(Debug, Default)]
struct Remembered {
    /// Photos that have not come: kind and hash.
    missing: Vec<(PhotoKind, String)>,
    /// Photos that came right.
    present: Vec<PhotoKind>,
}

/// Numbers seen, as ranges.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn insert(&mut self, from: u64, to: u64) {
        let (mut from, mut to) = (from, to);
        let touching: Vec<u64> = self
            .0
            .range(..=to.saturating_add(1))
            .rev()
            .take_while(|(_, end)| end.saturating_add(1) >= from)
            .map(|(start, _)| *start)
            .collect();
        for start in touching {
            from = from.min(start);
            to = to.max(self.0.remove(&start).unwrap_or(to));
        }
        self.0.insert(from, to);
    }

    fn missing(&self) -> u64 {
        let ends = self.0.values().zip(self.0.keys().skip(1));
        ends.map(|(end, start)| start - end - 1).sum()
    }
}

/// The state of a small central server.
#[derive(Debug, Default)]
pub struct Central {
    records: HashMap<(Root, Uuid), Remembered>,
    order: VecDeque<(Root, Uuid)>,
    early: HashMap<(Root, Uuid, PhotoKind), String>,
    early_order: VecDeque<(Root, Uuid, PhotoKind)>,
    sequences: HashMap<(Source, Uuid), Ranges>,
    summary: Summary,
}

/// SHA-256 in lower-case hexadecimal, as in a read.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl Central {
    /// What came in until now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let gaps = self.sequences.values().map(Ranges::missing).sum();
        Summary { gaps, ..self.summary }
    }

    /// Takes one message; what follows from it, in order.
    pub fn take(&mut self, topic: &str, payload: &[u8]) -> Vec<Seen> {
        let result = match topic.parse::<Topic>() {
            Ok(Topic { root, leaf }) => {
                self.take_leaf(root, leaf, payload).map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        result.unwrap_or_else(|why| {
            self.summary.bad += 1;
            vec![Seen::Bad { topic: topic.into(), why }]
        })
    }

    fn take_leaf(&mut self, root: Root, leaf: Leaf, payload: &[u8]) -> Result<Vec<Seen>, String> {
        let text = |e: EventError| e.to_string();
        match leaf {
            Leaf::Reads => {
                let event = Box::new(Event::<Read>::from_json(payload).map_err(text)?);
                let photos = PhotoKind::ALL.into_iter().filter_map(|kind| {
                    event.data.evidence.photo(kind).map(|p| (kind, p.sha256.clone()))
                });
                let photos = photos.collect();
                let duplicate = !self.record(&root, payload, photos)?;
                self.summary.reads += 1;
                self.summary.distinct += u64::from(!duplicate);
                let id = event.id;
                let mut seen = vec![Seen::Read { event, duplicate }];
                seen.extend(self.early_photos(&root, id));
                if self.is_complete(&root, id) {
                    self.summary.complete += u64::from(!duplicate);
                    seen.push(Seen::Complete { root, id, new_read: !duplicate });
                }
                Ok(seen)
            }
            Leaf::UnreadPasses => {
                let event = Box::new(Event::<UnreadPass>::from_json(payload).map_err(text)?);
                let duplicate = !self.record(&root, payload, Vec::new())?;
                self.summary.unread_passes += u64::from(!duplicate);
                let complete = Seen::Complete { root, id: event.id, new_read: false };
                Ok(vec![Seen::UnreadPass { event, duplicate }, complete])
            }
            Leaf::Ledger => {
                let event = Box::new(LedgerEvent::from_json(payload).map_err(text)?);
                let Header { id, .. } = Header::from_json(payload).map_err(text)?;
                let duplicate = !self.record(&root, payload, Vec::new())?;
                // What was given up does not come: its numbers are no gap.
                if let LedgerEvent::Eviction(event) = &*event {
                    let ledger = (root.source(), event.data.epoch);
                    let ranges = self.sequences.entry(ledger).or_default();
                    event.data.sequences.iter().for_each(|r| ranges.insert(r.from, r.to));
                }
                let complete = Seen::Complete { root, id, new_read: false };
                Ok(vec![Seen::Ledger { event, duplicate }, complete])
            }
            Leaf::Evidence { read_id, kind } => Ok(self.photo(root, read_id, kind, payload)),
            Leaf::Status => {
                Ok(vec![Seen::Status(Box::new(Event::from_json(payload).map_err(text)?))])
            }
            Leaf::Health => {
                Ok(vec![Seen::Heartbeat(Box::new(Event::from_json(payload).map_err(text)?))])
            }
            Leaf::Responses => {
                Ok(vec![Seen::Response(Box::new(Event::from_json(payload).map_err(text)?))])
            }
            Leaf::Receipts | Leaf::Commands | Leaf::Onvif => Ok(Vec::new()),
        }
    }

    /// Remembers a record; says whether it is new.
    fn record(
        &mut self,
        root: &Root,
        payload: &[u8],
        missing: Vec<(PhotoKind, String)>,
    ) -> Result<bool, String> {
        let header = Header::from_json(payload).map_err(|e| e.to_string())?;
        if header.source.root() != root {
            return Err(format!("source {} on the topic of {root}", header.source));
        }
        let Some(Ledger { epoch, sequence }) = header.ledger() else {
            return Err("no place in the ledger".into());
        };
        let ranges = self.sequences.entry((header.source, epoch)).or_default();
        ranges.insert(sequence, sequence);
        let key = (root.clone(), header.id);
        if self.records.contains_key(&key) {
            self.summary.duplicates += 1;
            return Ok(false);
        }
        self.order.push_back(key.clone());
        self.records.insert(key, Remembered { missing, present: Vec::new() });
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
        Ok(true)
    }

    fn is_complete(&self, root: &Root, id: Uuid) -> bool {
        self.records.get(&(root.clone(), id)).is_some_and(|r| r.missing.is_empty())
    }

    fn early_photos(&mut self, root: &Root, id: Uuid) -> Vec<Seen> {
        let kinds = PhotoKind::ALL.into_iter();
        kinds
            .filter_map(|kind| {
                let hash = self.early.remove(&(root.clone(), id, kind))?;
                self.match_photo(root, id, kind, &hash)
            })
            .collect()
    }

    fn photo(&mut self, root: Root, id: Uuid, kind: PhotoKind, jpeg: &[u8]) -> Vec<Seen> {
        let hash = sha256_hex(jpeg);
        if !self.records.contains_key(&(root.clone(), id)) {
            let key = (root, id, kind);
            if self.early.insert(key.clone(), hash).is_none() {
                self.early_order.push_back(key);
            }
            if self.early_order.len() > MAX_EARLY_PHOTOS
                && let Some(oldest) = self.early_order.pop_front()
            {
                self.early.remove(&oldest);
            }
            return Vec::new();
        }
        let was_complete = self.is_complete(&root, id);
        let mut seen: Vec<_> = self.match_photo(&root, id, kind, &hash).into_iter().collect();
        if !was_complete && self.is_complete(&root, id) {
            self.summary.complete += 1;
            seen.push(Seen::Complete { root, id, new_read: true });
        }
        seen
    }

    /// `None` for a photo that has come right before, or that the read does not name.
    fn match_photo(&mut self, root: &Root, id: Uuid, kind: PhotoKind, hash: &str) -> Option<Seen> {
        let record = self.records.get_mut(&(root.clone(), id))?;
        if record.present.contains(&kind) {
            return None;
        }
        let place = record.missing.iter().position(|(k, _)| *k == kind)?;
        let verified = record.missing[place].1 == hash;
        if verified {
            record.missing.swap_remove(place);
            record.present.push(kind);
        } else {
            self.summary.bad_photos += 1;
        }
        Some(Seen::Photo { read_id: id, kind, verified })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use milepost_wire::{event::with_historical, examples};
    use proptest::prelude::*;

    use super::*;

    const PLATE: &[u8] = b"plate";
    const CONTEXT: &[u8] = b"context";

    fn read() -> (Root, Event<Read>) {
        let mut event = examples::read();
        for (photo, jpeg) in
            [(&mut event.data.evidence.plate, PLATE), (&mut event.data.evidence.context, CONTEXT)]
        {
            photo.as_mut().unwrap().sha256 = sha256_hex(jpeg);
        }
        (event.source.root().clone(), event)
    }

    fn completes(seen: &[Seen]) -> usize {
        seen.iter().filter(|s| matches!(s, Seen::Complete { .. })).count()
    }

    #[test]
    fn a_read_is_complete_when_the_last_right_photo_is_there_in_any_order() {
        let (root, event) = read();
        let body = with_historical(&event.to_json().unwrap(), false);
        let topic = |leaf| root.topic(leaf);
        let photo = |kind| topic(Leaf::Evidence { read_id: event.id, kind });
        let mut messages = [
            (topic(Leaf::Reads), body.as_slice()),
            (photo(PhotoKind::Plate), PLATE),
            (photo(PhotoKind::Context), CONTEXT),
        ];
        for _ in 0..3 {
            messages.rotate_left(1);
            let mut central = Central::default();
            let counts: Vec<_> =
                messages.iter().map(|(t, p)| completes(&central.take(t, p))).collect();
            assert_eq!(counts, [0, 0, 1]);
            assert_eq!(central.summary().complete, 1);
            let again = central.take(&topic(Leaf::Reads), &body);
            assert!(matches!(again[0], Seen::Read { duplicate: true, .. }));
            assert_eq!(completes(&again), 1, "its receipt may have been lost");
            let summary = central.summary();
            assert_eq!((summary.distinct, summary.duplicates, summary.complete), (1, 1, 1));
        }
    }

    #[test]
    fn a_wrong_photo_completes_nothing_and_a_foreign_source_is_bad() {
        let (root, event) = read();
        let body = event.to_json().unwrap();
        let mut central = Central::default();
        central.take(&root.topic(Leaf::Reads), &body);
        let leaf = Leaf::Evidence { read_id: event.id, kind: PhotoKind::Plate };
        let seen = central.take(&root.topic(leaf), b"forged");
        assert!(matches!(seen[..], [Seen::Photo { verified: false, .. }]), "{seen:?}");
        let other = Root::new("demo-pd", "other", "north").unwrap();
        let seen = central.take(&other.topic(Leaf::Reads), &body);
        assert!(matches!(seen[..], [Seen::Bad { .. }]), "{seen:?}");
        assert!(matches!(central.take("x/y", b"")[..], [Seen::Bad { .. }]));
        assert_eq!(central.summary().bad, 2);
    }

    #[test]
    fn what_was_given_up_is_no_gap() {
        let mut central = Central::default();
        let event = examples::eviction();
        let root = event.source.root().clone();
        central.take(&root.topic(Leaf::Ledger), &event.to_json().unwrap());
        // 3–11 and 14 given up, 43 itself: 12, 13 and 15–42 are missing.
        assert_eq!(central.summary().gaps, 30);
    }

    #[test]
    fn every_type_in_the_ledger_counts_and_gets_its_receipt_an_unknown_one_too() {
        let step = examples::clock_step();
        let root = step.source.root().clone();
        let known = step.to_json().unwrap();
        let text = String::from_utf8(known.clone()).unwrap();
        let newer = text
            .replace("org.milepost.alpr.clock_step.v1", "org.milepost.alpr.of_tomorrow.v1")
            .replace(&step.id.to_string(), &Uuid::from_u128(7).to_string())
            .replace("00000000000000000044", "00000000000000000045");
        let mut central = Central::default();
        for (json, name) in [(known, "clock_step"), (newer.into_bytes(), "other")] {
            let seen = central.take(&root.topic(Leaf::Ledger), &json);
            let [Seen::Ledger { event, duplicate: false }, Seen::Complete { .. }] = &seen[..]
            else {
                panic!("{seen:?}");
            };
            assert_eq!(event.name(), name);
        }
        assert_eq!((central.summary().gaps, central.summary().bad), (0, 0));
    }

    proptest! {
        #[test]
        fn gaps_are_the_numbers_between_that_were_not_seen(
            inserts in proptest::collection::vec((1u64..60, 0u64..5), 1..30),
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (from, n) in inserts {
                ranges.insert(from, from + n);
                set.extend(from..=from + n);
            }
            let span = set.last().unwrap() - set.first().unwrap() + 1;
            prop_assert_eq!(ranges.missing(), span - set.len() as u64);
        }
    }
}
