//! What a central server does with what comes in, in small and without I/O: check, de-duplicate,
//! wait for the photos, find gaps, follow the ledger's chain, check manifests, and say what a receipt
//! may be given for.
//!
//! - [`Central`]: one message after the other, in any order;
//! - `records`: each record once by its id, and its photos;
//! - [`ledger`]: one ledger's sequence and chain; [`verdict`]: what is said of it;
//! - [`lists`]: alert lists, announced and handed out;
//! - `manifest`: the signature and the signer; `seen`: what is told.
//!
//! Everything remembered has a limit with a name. A server with a database keeps it all instead.

pub mod ledger;
#[cfg(test)]
mod ledger_tests;
pub mod lists;
mod manifest;
mod records;
mod seen;
#[cfg(test)]
mod tests;
pub mod verdict;

use std::collections::HashMap;

use jiff::Timestamp;
use milepost_wire::{
    Alert, Event, EventError, Evicted, Eviction, EvictionCause, Header, Heartbeat, Leaf,
    LedgerEvent, ListRequest, Manifest, PhotoKind, Read, Root, Source, Topic, UnreadPass,
    event::{Ledger as Place, kept},
    ledger::MAX_EVICTED_RANGES,
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use ledger::{Came, Ledger, MAX_SEQUENCE};
use records::{Known, Records};
use verdict::{LedgerState, Stretch, Verdict, Waits};

pub use records::{MAX_EARLY_BYTES, MAX_EARLY_PHOTOS, MAX_REMEMBERED};
pub use seen::{Seen, Summary};

/// Ledgers followed at a time; of more, the one that was longest without a message is forgotten.
pub const MAX_LEDGERS: usize = 1000;

/// The state of a small central server.
#[derive(Debug, Default)]
pub struct Central {
    records: Records,
    ledgers: HashMap<(Source, Uuid), Ledger>,
    /// Counts messages, to know the ledger that was longest without one.
    clock: u64,
    /// Whom manifests are checked by; `None` where they can't be.
    roots: Option<Vec<CertificateDer<'static>>>,
    /// The name that signed for a camera first.
    signers: HashMap<Source, Vec<u8>>,
    /// Without what is counted in `ledgers`.
    summary: Summary,
}

/// Why a message was not taken.
enum Refused {
    Bad(String),
    Conflict(Box<Seen>),
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Bad(why)
    }
}

impl From<EventError> for Refused {
    fn from(error: EventError) -> Self {
        Self::Bad(error.to_string())
    }
}

/// A record that was taken.
struct Taken {
    place: Place,
    duplicate: bool,
    /// Its place is new: what it says of the ledger is to be taken.
    new_place: bool,
}

impl Central {
    /// Manifests are checked by these authorities from now on.
    pub fn trust(&mut self, roots: Vec<CertificateDer<'static>>) {
        self.roots = Some(roots);
    }

    /// What came in until now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut all = self.summary;
        self.ledgers.values().for_each(|ledger| all.add(ledger));
        all
    }

    /// Where each ledger stands.
    #[must_use]
    pub fn ledgers(&self) -> Vec<LedgerState> {
        let state = |((source, epoch), ledger): (&(Source, Uuid), &Ledger)| {
            ledger.state(source.clone(), *epoch)
        };
        let mut states: Vec<_> = self.ledgers.iter().map(state).collect();
        states.sort_by(|a, b| (&a.source, a.epoch).cmp(&(&b.source, b.epoch)));
        states
    }

    /// Takes one message; what follows from it, in order.
    pub fn take(&mut self, topic: &str, payload: &[u8]) -> Vec<Seen> {
        self.take_at(topic, payload, Timestamp::now())
    }

    /// As [`Self::take`], at a time of the server's clock.
    pub fn take_at(&mut self, topic: &str, payload: &[u8], now: Timestamp) -> Vec<Seen> {
        self.clock += 1;
        let result = match topic.parse::<Topic>() {
            Ok(Topic { root, leaf }) => self.take_leaf(root, leaf, payload, now),
            Err(error) => Err(Refused::Bad(error.to_string())),
        };
        result.unwrap_or_else(|refused| match refused {
            Refused::Conflict(seen) => vec![*seen],
            Refused::Bad(why) => {
                self.summary.bad += 1;
                vec![Seen::Bad { topic: topic.into(), why }]
            }
        })
    }

    fn take_leaf(
        &mut self,
        root: Root,
        leaf: Leaf,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<Vec<Seen>, Refused> {
        let mut seen = Vec::new();
        match leaf {
            Leaf::Reads => {
                let event = Box::new(Event::<Read>::from_json(payload)?);
                let coming = PhotoKind::ALL.into_iter().filter(|kind| !event.is_gone(*kind));
                let photos = coming.filter_map(|kind| {
                    event.data.evidence.photo(kind).map(|p| (kind, p.sha256.clone()))
                });
                let photos = photos.collect();
                let was_complete = self.records.is_complete(&root, event.id);
                self.summary.reads += 1;
                let Taken { place, duplicate, .. } = self.record(&root, payload, photos)?;
                self.summary.distinct += u64::from(!duplicate);
                let id = event.id;
                let source = event.source.clone();
                seen.push(Seen::Read { event, duplicate });
                seen.extend(self.records.early_photos(&root, id));
                self.count_wrong_photos(&seen);
                if self.records.is_complete(&root, id) {
                    self.summary.complete += u64::from(!was_complete);
                    seen.push(Seen::Complete { root, id, new_read: !was_complete });
                }
                seen.extend(self.news(&source, place.epoch));
            }
            Leaf::Alerts => {
                let event = Box::new(Event::<Alert>::from_json(payload)?);
                let Taken { place, duplicate, .. } = self.record(&root, payload, vec![])?;
                self.summary.alerts += u64::from(!duplicate);
                let (id, source) = (event.id, event.source.clone());
                seen.push(Seen::Alert { event, duplicate });
                seen.push(Seen::Complete { root, id, new_read: false });
                seen.extend(self.news(&source, place.epoch));
            }
            Leaf::UnreadPasses => {
                let event = Box::new(Event::<UnreadPass>::from_json(payload)?);
                let Taken { place, duplicate, .. } = self.record(&root, payload, vec![])?;
                self.summary.unread_passes += u64::from(!duplicate);
                let (id, source) = (event.id, event.source.clone());
                seen.push(Seen::UnreadPass { event, duplicate });
                seen.push(Seen::Complete { root, id, new_read: false });
                seen.extend(self.news(&source, place.epoch));
            }
            Leaf::Ledger => return self.take_ledger(root, payload, now),
            Leaf::Evidence { read_id: id, kind } => {
                let was_complete = self.records.is_complete(&root, id);
                seen.extend(self.records.photo(&root, id, kind, payload));
                self.count_wrong_photos(&seen);
                if !was_complete && self.records.is_complete(&root, id) {
                    self.summary.complete += 1;
                    seen.push(Seen::Complete { root, id, new_read: true });
                }
            }
            Leaf::Status => {
                seen.push(Seen::Status(Box::new(Event::from_json(payload)?)));
            }
            Leaf::Health => {
                let event = Event::<Heartbeat>::from_json(payload)?;
                let at = event.data.ledger;
                if event.source.root() == &root {
                    self.ledger(root.source(), at.epoch).announce(at.last_sequence);
                }
                seen.push(Seen::Heartbeat(Box::new(event)));
            }
            Leaf::Responses => {
                seen.push(Seen::Response(Box::new(Event::from_json(payload)?)));
            }
            Leaf::ListRequests => {
                let event = Box::new(Event::<ListRequest>::from_json(payload)?);
                seen.push(Seen::ListRequest { root, event });
            }
            Leaf::Receipts
            | Leaf::Commands
            | Leaf::Onvif
            | Leaf::Lists
            | Leaf::Dispositions
            | Leaf::ListParts { .. } => {}
        }
        Ok(seen)
    }

    fn take_ledger(
        &mut self,
        root: Root,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<Vec<Seen>, Refused> {
        let event = LedgerEvent::from_json(payload)?;
        let Header { id, source, .. } = Header::from_json(payload)?;
        if let LedgerEvent::Eviction(event) = &event {
            check_eviction(event)?;
        }
        let Taken { place, duplicate, new_place } = self.record(&root, payload, vec![])?;
        let mut completed = Vec::new();
        let mut follows = Vec::new();
        if new_place {
            match &event {
                LedgerEvent::Eviction(event) => completed = self.evict(&root, &event.data, place),
                LedgerEvent::Manifest(event) => follows = self.manifest(event, &root, now),
                LedgerEvent::Epoch(Event { data, .. }) => {
                    if let Some(before) = data.previous {
                        let key = (source.clone(), before.epoch);
                        let ledger = self.ledgers.get_mut(&key);
                        ledger.into_iter().for_each(|l| l.announce(before.last_sequence));
                    }
                }
                _ => {}
            }
        }
        let mut seen = vec![Seen::Ledger { event: Box::new(event), duplicate }];
        seen.push(Seen::Complete { root: root.clone(), id, new_read: false });
        self.summary.complete += completed.len() as u64;
        let complete = |id| Seen::Complete { root: root.clone(), id, new_read: true };
        seen.extend(completed.into_iter().map(complete));
        follows.extend(self.news(&source, place.epoch));
        seen.extend(follows);
        Ok(seen)
    }

    /// What was given up does not come: its numbers are no gap, and nobody waits for its photos. The
    /// reads that are complete by that.
    fn evict(&mut self, root: &Root, data: &Eviction, place: Place) -> Vec<Uuid> {
        let by = (place.epoch == data.epoch).then_some(place.sequence);
        // What can't be read or sent is given up photo by photo: the next sending of its read says which
        // (`photosgone`), the other one may still come.
        let one = matches!(
            data.cause,
            EvictionCause::Damaged | EvictionCause::Missing | EvictionCause::TooLarge
        );
        if data.evicted == Evicted::Photos && one {
            return Vec::new();
        }
        let ledger = self.ledger(root.source(), data.epoch);
        for (n, range) in data.sequences.iter().enumerate() {
            match data.evicted {
                Evicted::Records => ledger.give_up(*range, data.chain_sha256.get(n).copied(), by),
                Evicted::Photos => ledger.give_up_photos(*range),
            }
        }
        // A record that had been sent and was given up: what has come of it is all.
        let ranges = data.sequences.iter();
        ranges.flat_map(|r| self.records.photos_given_up(root, data.epoch, *r)).collect()
    }

    fn manifest(&mut self, event: &Event<Manifest>, root: &Root, now: Timestamp) -> Vec<Seen> {
        let Manifest { from, to, .. } = event.data;
        let source = root.source();
        let epoch = event.epoch.unwrap_or_default();
        let worth = |verdict| {
            let (source, ask_for) = (source.clone(), Vec::new());
            vec![Seen::Manifest { source, epoch, from, to, verdict, ask_for }]
        };
        let Some(roots) = &self.roots else {
            self.summary.open_manifests += 1;
            return worth(Verdict::Open(Waits::Authority));
        };
        let checked = manifest::check(event, root, roots, now).and_then(|signed| {
            let first = self.signers.entry(source.clone()).or_insert(signed.subject.clone());
            if *first == signed.subject {
                return Ok(signed);
            }
            Err("another name than before signed for this camera".into())
        });
        match checked {
            Ok(signed) => {
                self.ledger(source.clone(), signed.epoch).sign(signed.stretch);
                self.news(&source, signed.epoch)
            }
            Err(why) => {
                self.summary.wrong_manifests += 1;
                worth(Verdict::Wrong(why))
            }
        }
    }

    fn news(&mut self, source: &Source, epoch: Uuid) -> Vec<Seen> {
        let news = self.ledgers.get_mut(&(source.clone(), epoch)).map(Ledger::news);
        let seen = news.unwrap_or_default().into_iter().map(|(stretch, verdict, ask_for)| {
            let Stretch { from, to, .. } = stretch;
            Seen::Manifest { source: source.clone(), epoch, from, to, verdict, ask_for }
        });
        seen.collect()
    }

    fn ledger(&mut self, source: Source, epoch: Uuid) -> &mut Ledger {
        let key = (source, epoch);
        if self.ledgers.len() >= MAX_LEDGERS && !self.ledgers.contains_key(&key) {
            let longest = self.ledgers.iter().min_by_key(|(_, ledger)| ledger.touched);
            let longest = longest.map(|(key, _)| key.clone());
            if let Some(ledger) = longest.and_then(|key| self.ledgers.remove(&key)) {
                self.summary.add(&ledger);
                self.summary.unchecked += 1;
            }
        }
        let ledger = self.ledgers.entry(key).or_insert_with(|| Ledger::new(epoch));
        ledger.touched = self.clock;
        ledger
    }

    /// Remembers a record, by its place and by its id.
    fn record(
        &mut self,
        root: &Root,
        payload: &[u8],
        photos: Vec<(PhotoKind, String)>,
    ) -> Result<Taken, Refused> {
        let header = Header::from_json(payload)?;
        let place = header.ledger().filter(|at| (1..=MAX_SEQUENCE).contains(&at.sequence));
        let Header { id, source, .. } = header;
        if source.root() != root {
            return Err(format!("source {source} on the topic of {root}").into());
        }
        let place = place.ok_or_else(|| "no place in the ledger".to_owned())?;
        let Place { epoch, sequence } = place;
        // A sending ends as one does; anything else will not fit the chain.
        let body = kept(payload).unwrap_or_else(|| payload.into());
        let ledger = self.ledger(source.clone(), epoch);
        let given_up = ledger.are_photos_given_up(sequence);
        let came = ledger.body(sequence, Sha256::digest(&body).into());
        let known = match came {
            Came::Conflict => Known::Conflict,
            _ => self.records.record(root, id, place, payload, photos, given_up)?,
        };
        if known == Known::Conflict {
            self.summary.conflicts += 1;
            let why = match came {
                Came::Conflict => "another body has come under this sequence",
                _ => "another body has come under this id",
            };
            let conflict = Seen::Conflict { source, id, sequence, why };
            return Err(Refused::Conflict(Box::new(conflict)));
        }
        let duplicate = known == Known::Again;
        self.summary.duplicates += u64::from(duplicate);
        Ok(Taken { place, duplicate, new_place: came == Came::New })
    }

    fn count_wrong_photos(&mut self, seen: &[Seen]) {
        let wrong = seen.iter().filter(|s| matches!(s, Seen::Photo { verified: false, .. }));
        self.summary.bad_photos += wrong.count() as u64;
    }
}

/// An eviction names what was before it, and a chain for each range or none.
fn check_eviction(event: &Event<Eviction>) -> Result<(), String> {
    let Eviction { epoch, ref sequences, ref chain_sha256, .. } = event.data;
    let last = match event.ledger() {
        Some(own) if own.epoch == epoch => own.sequence.saturating_sub(1),
        _ => MAX_SEQUENCE,
    };
    if sequences.len() > MAX_EVICTED_RANGES
        || sequences.iter().any(|r| r.from == 0 || r.from > r.to || r.to > last)
    {
        return Err("an eviction of what can't have been given up".into());
    }
    if !chain_sha256.is_empty() && chain_sha256.len() != sequences.len() {
        return Err("an eviction without a chain value for each range".into());
    }
    Ok(())
}
