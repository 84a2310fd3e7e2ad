//! What one commit will do, and what is to be done after it.

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc::SyncSender,
};

use milepost_wire::{Chain, Ledger, PhotoKind};
use uuid::Uuid;

use super::{
    OutboxError,
    photos::Photos,
    store::{Change, Record, StoreError},
};

pub(super) type Reply<T> = SyncSender<Result<T, OutboxError>>;

type Answer = Box<dyn FnOnce(Result<(), OutboxError>) + Send>;

pub(super) struct Group {
    pub(super) change: Change,
    /// Place of the next record.
    pub(super) next: Ledger,
    /// The chain before it.
    pub(super) chain: Chain,
    /// Ids put in this group, which the store does not know yet.
    pub(super) ids: HashMap<Uuid, u64>,
    answers: Vec<Answer>,
    pub(super) remove_photos: Vec<(Uuid, PhotoKind)>,
    pub(super) photos_written: bool,
    pub(super) freed_photo_bytes: u64,
    pub(super) evictions: u64,
    /// Of these, given up because nobody can read them.
    pub(super) damaged: u64,
    deleted: HashSet<u64>,
    /// Records that are written again: a group changes each of them once.
    touched: HashSet<u64>,
    /// The eviction of records in this group.
    pub(super) eviction: Option<u64>,
    /// Records given up for room in this group.
    pub(super) room: u64,
    /// What was found wrong with the store on the way.
    pub(super) met: Option<StoreError>,
    /// After this group, no read before this one has photos that could be given up.
    pub(super) photos_from: Option<u64>,
}

impl Group {
    pub(super) fn new(next: Ledger, chain: Chain) -> Self {
        Self {
            change: Change::default(),
            next,
            chain,
            ids: HashMap::new(),
            answers: Vec::new(),
            remove_photos: Vec::new(),
            photos_written: false,
            freed_photo_bytes: 0,
            evictions: 0,
            damaged: 0,
            deleted: HashSet::new(),
            touched: HashSet::new(),
            eviction: None,
            room: 0,
            met: None,
            photos_from: None,
        }
    }

    /// Passes on what came of a look into the store, and notes what was wrong with it.
    pub(super) fn noting<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.inspect_err(|error| {
            if error.is_of_the_store() {
                self.met = Some(error.clone());
            }
        })
    }

    /// Gives the next place to a record.
    pub(super) fn put(&mut self, record: Record) {
        self.chain = self.chain.then(&record.body);
        self.change.links.push((record.sequence, self.chain));
        self.ids.insert(record.id, record.sequence);
        self.next.sequence = record.sequence + 1;
        self.change.put.push(record);
    }

    pub(super) fn added(&self) -> u64 {
        self.ids.len() as u64
    }

    pub(super) fn removed(&self) -> u64 {
        self.deleted.len() as u64
    }

    /// Whether it deletes a record, or writes it again, already.
    pub(super) fn changes(&self, sequence: u64) -> bool {
        self.deleted.contains(&sequence) || self.touched.contains(&sequence)
    }

    /// Writes a record of the store again; of several times the last one counts.
    pub(super) fn put_again(&mut self, record: Record) {
        if let Some(put) = self.written_again(record.sequence) {
            *put = record;
        } else if self.touched.insert(record.sequence) {
            self.change.put.push(record);
        }
    }

    /// A record of the store as this group will write it.
    pub(super) fn written_again(&mut self, sequence: u64) -> Option<&mut Record> {
        let touched = self.touched.contains(&sequence);
        self.change.put.iter_mut().find(|put| touched && put.sequence == sequence)
    }

    /// Deletes a record with its photos, once.
    pub(super) fn drop_record(&mut self, record: &Record) {
        if self.deleted.insert(record.sequence) {
            // The last word counts: what was to be written again of it is not.
            self.change.put.retain(|put| put.sequence != record.sequence);
            self.drop_photos(record);
            self.change.delete.push((record.sequence, record.id));
        }
    }

    /// Deletes a record's photos.
    pub(super) fn drop_photos(&mut self, record: &Record) {
        self.freed_photo_bytes += record.photo_bytes();
        self.remove_photos.extend(record.photos.iter().map(|p| (record.id, p.kind)));
    }

    /// Deletes a record that nobody can read, and whatever photos it has; their size.
    pub(super) fn drop_unreadable(&mut self, photos: &Photos, sequence: u64, id: Uuid) -> u64 {
        if !self.deleted.insert(sequence) {
            return 0;
        }
        self.change.delete.push((sequence, id));
        self.remove_photos.extend(PhotoKind::ALL.map(|kind| (id, kind)));
        let bytes = PhotoKind::ALL.map(|kind| photos.size(id, kind)).iter().sum();
        self.freed_photo_bytes += bytes;
        bytes
    }

    /// Whether there is anything to commit.
    pub(super) fn is_empty(&self) -> bool {
        self.change == Change::default()
    }

    /// Answers a caller: at once where there is an error, else when the group is done.
    pub(super) fn answer<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        result: Result<T, OutboxError>,
    ) {
        // A caller that has gone does not want the answer.
        match result {
            Ok(value) => {
                self.answers.push(Box::new(move |done| drop(reply.send(done.map(|()| value)))))
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Tells every caller what became of the group.
    pub(super) fn end(self, result: &Result<(), OutboxError>) {
        self.answers.into_iter().for_each(|answer| answer(result.clone()));
    }
}
