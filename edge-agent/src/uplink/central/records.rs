//! Records by their id: which came before, whether they came as they were, and their photos.

use std::collections::{BTreeMap, HashMap, VecDeque};

use milepost_wire::{PhotoKind, Root, SequenceRange, event};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Seen, ledger::Digest};
use crate::digest::sha256_hex;

/// Records remembered for de-duplication; the oldest is forgotten first.
pub const MAX_REMEMBERED: usize = 100_000;
/// Photos remembered that came before their read.
pub const MAX_EARLY_PHOTOS: usize = 1000;
/// Bytes of them.
pub const MAX_EARLY_BYTES: usize = 64 << 20;

/// What an id knew of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    New,
    Again,
    /// Other content under the same id.
    Conflict,
}

#[derive(Debug)]
struct Remembered {
    content: Digest,
    place: event::Ledger,
    /// Photos that have not come and may: kind and hash.
    missing: Vec<(PhotoKind, String)>,
    /// The ledger says that those which have not come were given up.
    given_up: bool,
}

impl Remembered {
    fn is_complete(&self) -> bool {
        self.given_up || self.missing.is_empty()
    }
}

/// Everything known by id.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: HashMap<(Root, Uuid), Remembered>,
    order: VecDeque<(Root, Uuid)>,
    /// Reads whose photos have not all come, by place.
    waiting: BTreeMap<(Root, event::Ledger), Uuid>,
    early: HashMap<(Root, Uuid, PhotoKind), Vec<u8>>,
    early_order: VecDeque<(Root, Uuid, PhotoKind)>,
    early_bytes: usize,
}

impl Records {
    /// Remembers a record; `missing` are its photos that may come, where the ledger has not `given_up`
    /// all of them.
    pub(super) fn record(
        &mut self,
        root: &Root,
        id: Uuid,
        place: event::Ledger,
        payload: &[u8],
        missing: Vec<(PhotoKind, String)>,
        given_up: bool,
    ) -> Result<Known, String> {
        let content = content(payload)?;
        let key = (root.clone(), id);
        if let Some(known) = self.records.get_mut(&key) {
            if known.content != content {
                return Ok(Known::Conflict);
            }
            // Given up since it was sent before.
            known.missing.retain(|(kind, _)| missing.iter().any(|(coming, _)| coming == kind));
            if known.is_complete() {
                self.waiting.remove(&(root.clone(), known.place));
            } else if known.place != place {
                // Comes over from a damaged store: what is given up there is named by the new place.
                self.waiting.remove(&(root.clone(), known.place));
                self.waiting.insert((root.clone(), place), id);
                (known.place, known.given_up) = (place, known.given_up || given_up);
            }
            return Ok(Known::Again);
        }
        let record = Remembered { content, place, missing, given_up };
        if !record.is_complete() {
            self.waiting.insert((root.clone(), place), id);
        }
        self.order.push_back(key.clone());
        self.records.insert(key, record);
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
            && let Some(record) = self.records.remove(&oldest)
        {
            self.waiting.remove(&(oldest.0, record.place));
        }
        Ok(Known::New)
    }

    /// Whether it is there, with every photo that comes.
    pub(super) fn is_complete(&self, root: &Root, id: Uuid) -> bool {
        self.records.get(&(root.clone(), id)).is_some_and(Remembered::is_complete)
    }

    /// The photos of these records that have not come will not; the reads that are complete by that.
    pub(super) fn photos_given_up(
        &mut self,
        root: &Root,
        epoch: Uuid,
        range: SequenceRange,
    ) -> Vec<Uuid> {
        let at = |sequence| (root.clone(), event::Ledger { epoch, sequence });
        let records = &mut self.records;
        let completed = |_: &(Root, event::Ledger), id: &mut Uuid| {
            if let Some(record) = records.get_mut(&(root.clone(), *id)) {
                record.given_up = true;
            }
            true
        };
        let completed = self.waiting.extract_if(at(range.from)..=at(range.to), completed);
        completed.map(|(_, id)| id).collect()
    }

    /// Photos that came before this read.
    pub(super) fn early_photos(&mut self, root: &Root, id: Uuid) -> Vec<Seen> {
        let kinds = PhotoKind::ALL.into_iter();
        kinds
            .filter_map(|kind| {
                let jpeg = self.early.remove(&(root.clone(), id, kind))?;
                self.early_bytes -= jpeg.len();
                let verified = self.match_photo(root, id, kind, &jpeg)?;
                Some(Seen::Photo { read_id: id, kind, verified, early: Some(jpeg) })
            })
            .collect()
    }

    /// A photo came; `None` where its read has not, or where it says nothing new.
    pub(super) fn photo(
        &mut self,
        root: &Root,
        id: Uuid,
        kind: PhotoKind,
        jpeg: &[u8],
    ) -> Option<Seen> {
        if self.records.contains_key(&(root.clone(), id)) {
            let verified = self.match_photo(root, id, kind, jpeg)?;
            return Some(Seen::Photo { read_id: id, kind, verified, early: None });
        }
        let key = (root.clone(), id, kind);
        self.early_bytes += jpeg.len();
        match self.early.insert(key.clone(), jpeg.into()) {
            Some(before) => self.early_bytes -= before.len(),
            None => self.early_order.push_back(key),
        }
        while self.early_order.len() > MAX_EARLY_PHOTOS || self.early_bytes > MAX_EARLY_BYTES {
            let Some(oldest) = self.early_order.pop_front() else { break };
            self.early_bytes -= self.early.remove(&oldest).map_or(0, |jpeg| jpeg.len());
        }
        None
    }

    /// `None` for a photo that has come right before, or that the read does not name.
    fn match_photo(&mut self, root: &Root, id: Uuid, kind: PhotoKind, jpeg: &[u8]) -> Option<bool> {
        let record = self.records.get_mut(&(root.clone(), id))?;
        let place = record.missing.iter().position(|(k, _)| *k == kind)?;
        let verified = record.missing[place].1 == sha256_hex(jpeg);
        if verified {
            record.missing.swap_remove(place);
            if record.is_complete() {
                self.waiting.remove(&(root.clone(), record.place));
            }
        }
        Some(verified)
    }
}

/// A hash over what an event says, whatever its place and the order of its members. Numbers with a
/// fraction are left out: in a record that comes over from a damaged store their last digit may be
/// another. The chain is over every byte.
fn content(payload: &[u8]) -> Result<Digest, String> {
    let mut event: serde_json::Map<String, Value> =
        serde_json::from_slice(payload).map_err(|e| e.to_string())?;
    for member in ["sequence", "epoch", "photosgone", "historical"] {
        event.remove(member);
    }
    let mut hash = Sha256::new();
    feed(&Value::Object(event), &mut hash);
    Ok(hash.finalize().into())
}

fn feed(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Array(items) => {
            hash.update(b"[");
            items.iter().for_each(|item| feed(item, hash));
            hash.update(b"]");
        }
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            hash.update(b"{");
            for (name, member) in sorted {
                feed(&Value::String(name.clone()), hash);
                feed(member, hash);
            }
            hash.update(b"}");
        }
        Value::Number(n) if n.is_f64() => hash.update(b"f"),
        // As JSON text they are told apart from each other and end where they end.
        other => hash.update(format!("{other},")),
    }
}
