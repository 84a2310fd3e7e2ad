//! What must be in an outbox, from what was heard of it: pure, so that its own tests show what it
//! catches.
//!
//! It takes every line of every child that worked on one outbox. At each `Ready` it holds what the
//! child found against what it knows, counts what does not fit in its [`Tally`], and goes on from
//! what is there, so that one loss is counted once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use milepost_wire::PhotoKind;
use uuid::Uuid;

use crate::line::{Line, Photo};

/// Texts kept of one outbox.
const MAX_TEXTS: usize = 10;

/// What did not fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Acknowledged records that are not there.
    pub lost: u64,
    /// Numbers up to the last that nothing accounts for.
    pub gaps: u64,
    /// One id under two numbers, or one number for two ids.
    pub doubled: u64,
    /// Records that nobody meant to keep.
    pub invented: u64,
    /// Photos that are wrong or missing without a word in the ledger.
    pub photos: u64,
    /// Files of photos that no record names, after an open.
    pub orphans: u64,
    /// New epochs.
    pub replaced: u64,
    /// Opens that failed.
    pub unopened: u64,
    /// The first of all these in words.
    pub texts: Vec<String>,
}

impl Tally {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { lost, gaps, doubled, invented, photos, orphans, replaced, unopened, texts: _ } =
            self;
        lost + gaps + doubled + invented + photos + orphans + replaced + unopened
    }

    fn note(&mut self, text: String) {
        if self.texts.len() < MAX_TEXTS {
            self.texts.push(text);
        }
    }
}

/// What many outboxes came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    acknowledged: u64,
    lost: u64,
    checks: u64,
    open_ms: u64,
}

impl Totals {
    /// Counts one outbox in.
    pub fn add(&mut self, model: &Model) {
        self.acknowledged += model.acknowledged;
        self.lost += model.tally.lost;
        self.checks += model.checks;
        self.open_ms = self.open_ms.max(model.worst_open_ms);
    }

    /// What was counted, in words.
    pub fn held(&self) -> Vec<String> {
        let Self { acknowledged, lost, checks, .. } = self;
        vec![
            format!("{acknowledged} acknowledged, {lost} lost"),
            format!("{checks} looks at records, numbers, ids, photos and orphans"),
        ]
    }

    /// The longest time, in words.
    pub fn worst(&self) -> Vec<String> {
        vec![format!("open {} ms", self.open_ms)]
    }
}

/// One record that is there.
#[derive(Debug)]
struct Found {
    sequence: u64,
    id: Uuid,
    read: bool,
    photos: Vec<(PhotoKind, Photo)>,
}

#[derive(Debug, Default)]
struct Inventory {
    epoch: Option<Uuid>,
    last: u64,
    records: Vec<Found>,
    /// Records of which its ledger says that photos were given up.
    photos_given_up: BTreeSet<u64>,
    orphans: u64,
}

/// What is known of one outbox.
#[derive(Debug, Default)]
pub struct Model {
    epoch: Option<Uuid>,
    /// Number and id of every record heard of.
    ids: BTreeMap<u64, Uuid>,
    tried: HashSet<Uuid>,
    kept: BTreeSet<u64>,
    /// Records that may have gone: delivered, given up, or counted as lost.
    accounted: BTreeSet<u64>,
    photos_given_up: BTreeSet<u64>,
    coming: Inventory,
    /// The child's disk is broken just now: what it keeps counts, what it finds says nothing.
    pub disturbed: bool,
    /// The file system under it had failed, and health said so: a new store may take its place, whose
    /// ledger says that it is another one.
    may_be_replaced: bool,
    /// Records that the one before took along.
    pub told_lost: u64,
    /// What did not fit.
    pub tally: Tally,
    /// Records acknowledged, of all time.
    pub acknowledged: u64,
    /// Inventories taken.
    pub checks: u64,
    /// The slowest open.
    pub worst_open_ms: u64,
}

impl Model {
    /// Whether a record of this id was heard of.
    pub fn knows(&self, id: Uuid) -> bool {
        self.ids.values().any(|known| *known == id)
    }

    /// A model that knows the same and has counted nothing.
    pub fn known(&self) -> Self {
        Self {
            epoch: self.epoch,
            ids: self.ids.clone(),
            tried: self.tried.clone(),
            kept: self.kept.clone(),
            accounted: self.accounted.clone(),
            photos_given_up: self.photos_given_up.clone(),
            ..Self::default()
        }
    }

    /// The highest number acknowledged.
    pub fn last_kept(&self) -> u64 {
        self.kept.last().copied().unwrap_or(0)
    }

    /// What was acknowledged after this number may be there or not: the file system under it had failed.
    pub fn unsure_after(&mut self, sequence: u64) {
        self.kept.split_off(&(sequence + 1));
        self.ids.split_off(&(sequence + 1));
        self.may_be_replaced = true;
    }

    /// Takes a line.
    pub fn take(&mut self, line: &Line) {
        match line {
            Line::Opened { .. }
            | Line::NotOpened(_)
            | Line::Have { .. }
            | Line::Orphans(_)
            | Line::Ready
                if self.disturbed => {}
            Line::Opened { ms, epoch, last } => {
                self.worst_open_ms = self.worst_open_ms.max(*ms);
                self.coming =
                    Inventory { epoch: Some(*epoch), last: *last, ..Inventory::default() };
            }
            Line::NotOpened(why) => {
                self.tally.unopened += 1;
                self.tally.note(format!("not opened: {why}"));
            }
            Line::Have { sequence, id, read, photos } => {
                let (sequence, id, read) = (*sequence, *id, *read);
                self.coming.records.push(Found { sequence, id, read, photos: photos.clone() });
            }
            Line::Gone { photos_only, ranges } => {
                let gone = ranges.iter().flat_map(|r| r.from..=r.to);
                if *photos_only {
                    self.coming.photos_given_up.extend(gone.clone());
                    self.photos_given_up.extend(gone);
                } else {
                    self.accounted.extend(gone);
                }
            }
            Line::Orphans(n) => self.coming.orphans = *n,
            Line::Ready => self.check(),
            Line::Try(id) => drop(self.tried.insert(*id)),
            Line::Kept { sequence, id } => {
                self.acknowledged += 1;
                self.kept.insert(*sequence);
                self.learn(*sequence, *id);
            }
            Line::Drop(sequences) => self.accounted.extend(sequences),
            Line::Entry { .. }
            | Line::Refused { .. }
            | Line::Health { .. }
            | Line::Clock(_)
            | Line::Done => {}
        }
    }

    /// Records that a number for an id.
    fn learn(&mut self, sequence: u64, id: Uuid) {
        match self.ids.insert(sequence, id) {
            Some(before) if before != id => {
                self.tally.doubled += 1;
                self.tally.note(format!("number {sequence} was for {before} and is now for {id}"));
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        self.checks += 1;
        let found = std::mem::take(&mut self.coming);
        if self.epoch.is_some() && self.epoch != found.epoch {
            self.replaced(&found);
        }
        self.epoch = found.epoch;
        // An acknowledged number that another record now has.
        for Found { sequence, id, .. } in &found.records {
            let before = self.ids.get(sequence).filter(|before| *before != id);
            if let Some(before) = before.filter(|_| self.kept.contains(sequence)) {
                self.tally.lost += 1;
                self.tally.note(format!("{sequence} was acknowledged to {before} and is lost"));
            }
        }
        let mut present = HashMap::new();
        for Found { sequence, id, read, photos } in &found.records {
            if let Some(other) = present.insert(*id, *sequence) {
                self.tally.doubled += 1;
                self.tally.note(format!("{id} is there as {other} and as {sequence}"));
            }
            if *read && !self.tried.contains(id) {
                self.tally.invented += 1;
                self.tally.note(format!("{sequence} is {id}, which nobody kept"));
            }
            self.learn(*sequence, *id);
            self.photos(*sequence, photos);
        }
        let there: BTreeSet<u64> = found.records.iter().map(|r| r.sequence).collect();
        let lost: Vec<u64> = self
            .kept
            .iter()
            .filter(|s| !there.contains(s) && !self.accounted.contains(s))
            .copied()
            .collect();
        for sequence in lost {
            self.tally.lost += 1;
            self.tally
                .note(format!("{sequence} was acknowledged and is lost (last is {})", found.last));
            self.accounted.insert(sequence);
        }
        let highest = self.ids.keys().next_back().copied().unwrap_or(0);
        for sequence in 1..=found.last.max(highest) {
            // A number that was never acknowledged and never seen.
            if !there.contains(&sequence) && !self.accounted.contains(&sequence) {
                self.tally.gaps += 1;
                self.tally
                    .note(format!("nothing accounts for number {sequence} of {}", found.last));
                self.accounted.insert(sequence);
            }
        }
        if found.last < highest {
            self.tally.doubled += 1;
            self.tally.note(format!("the last number went back from {highest} to {}", found.last));
        }
        if found.orphans > 0 {
            self.tally.orphans += found.orphans;
            self.tally.note(format!("{} photos without a record after an open", found.orphans));
        }
    }

    fn photos(&mut self, sequence: u64, photos: &[(PhotoKind, Photo)]) {
        for (kind, photo) in photos {
            let fits = match photo {
                Photo::Right => true,
                Photo::GivenUp => self.photos_given_up.contains(&sequence),
                Photo::Missing | Photo::Wrong | Photo::Error => false,
            };
            if !fits {
                self.tally.photos += 1;
                self.tally.note(format!("{} photo of {sequence}: {photo:?}", kind.name()));
            }
        }
    }

    /// A new store: what was acknowledged is lost where its id is not in it.
    fn replaced(&mut self, found: &Inventory) {
        let saved: HashSet<Uuid> = found.records.iter().map(|r| r.id).collect();
        let due = self.kept.iter().filter(|s| !self.accounted.contains(s));
        let lost = due.filter(|s| self.ids.get(s).is_none_or(|id| !saved.contains(id))).count();
        if self.may_be_replaced {
            self.told_lost += lost as u64;
        } else {
            self.tally.lost += lost as u64;
            self.tally.replaced += 1;
            self.tally.note(format!("the store was replaced: {lost} acknowledged records lost"));
        }
        // What was given up of a photo in the earlier ledger was said there, by its number there.
        let given_up = std::mem::take(&mut self.photos_given_up);
        let given_up: HashSet<_> = given_up.iter().filter_map(|s| self.ids.get(s)).collect();
        let again = found.records.iter().filter(|r| given_up.contains(&r.id));
        self.photos_given_up = again.map(|r| r.sequence).collect();
        self.photos_given_up.extend(&found.photos_given_up);
        self.ids.clear();
        self.kept.clear();
        self.accounted.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> Uuid {
        Uuid::from_u128(n.into())
    }

    fn have(n: u64, photo: Photo) -> Line {
        let photos = vec![(PhotoKind::Plate, photo)];
        Line::Have { sequence: n, id: id(n), read: true, photos }
    }

    /// A model that knows of 1 to 4, all acknowledged.
    fn of_four() -> Model {
        let mut model = Model::default();
        model.take(&Line::Opened { ms: 1, epoch: id(99), last: 0 });
        model.take(&Line::Ready);
        for n in 1..=4 {
            model.take(&Line::Try(id(n)));
            model.take(&Line::Kept { sequence: n, id: id(n) });
        }
        model
    }

    /// The same once it has met `lines`.
    fn after(lines: Vec<Line>) -> Tally {
        let mut model = of_four();
        lines.iter().for_each(|l| model.take(l));
        model.tally
    }

    fn found(last: u64, records: impl IntoIterator<Item = u64>) -> Vec<Line> {
        let mut lines = vec![Line::Opened { ms: 1, epoch: id(99), last }];
        lines.extend(records.into_iter().map(|n| have(n, Photo::Right)));
        lines.push(Line::Ready);
        lines
    }

    #[test]
    fn what_is_all_there_fits() {
        assert_eq!(after(found(4, 1..=4)), Tally::default());
    }

    #[test]
    fn what_was_delivered_or_given_up_may_be_gone_and_may_be_back() {
        let gone = vec![milepost_wire::SequenceRange { from: 2, to: 2 }];
        let mut lines = vec![Line::Drop(vec![1]), Line::Gone { photos_only: false, ranges: gone }];
        lines.extend(found(4, 3..=4));
        lines.extend(found(4, 1..=4));
        assert_eq!(after(lines), Tally::default());
    }

    #[test]
    fn a_lost_record_is_caught_once() {
        let mut lines = found(4, [1, 2, 4]);
        lines.extend(found(4, [1, 2, 4]));
        let tally = after(lines);
        assert_eq!((tally.lost, tally.total()), (1, 1), "{tally:?}");
    }

    #[test]
    fn a_lost_tail_is_caught_though_the_store_looks_whole() {
        let tally = after(found(2, 1..=2));
        assert_eq!((tally.lost, tally.doubled), (2, 1), "{tally:?}");
    }

    #[test]
    fn a_number_that_nothing_accounts_for_is_caught() {
        let tally = after(found(6, 1..=4));
        assert_eq!((tally.gaps, tally.total()), (2, 2), "{tally:?}");
    }

    #[test]
    fn one_id_twice_and_one_number_for_two_are_caught() {
        let mut twice = found(5, 1..=4);
        twice.insert(1, Line::Have { sequence: 5, id: id(4), read: true, photos: Vec::new() });
        assert_eq!(after(twice).doubled, 1);
        let mut other = found(4, 1..=3);
        other.insert(1, Line::Try(id(7)));
        other.insert(2, Line::Have { sequence: 4, id: id(7), read: true, photos: Vec::new() });
        assert_eq!(after(other).doubled, 1);
    }

    #[test]
    fn a_record_that_nobody_kept_is_caught() {
        assert_eq!(after(found(5, 1..=5)).invented, 1);
    }

    #[test]
    fn photos_must_be_right_or_given_up_in_the_ledger() {
        for (photo, bad) in
            [(Photo::Wrong, 1), (Photo::Missing, 1), (Photo::Error, 1), (Photo::GivenUp, 1)]
        {
            let mut lines = found(4, 1..=3);
            lines.insert(1, have(4, photo));
            assert_eq!(after(lines).photos, bad, "{photo:?}");
        }
        let ranges = vec![milepost_wire::SequenceRange { from: 4, to: 4 }];
        let mut lines = found(4, 1..=3);
        lines.insert(1, have(4, Photo::GivenUp));
        lines.insert(2, Line::Gone { photos_only: true, ranges });
        assert_eq!(after(lines), Tally::default());
    }

    #[test]
    fn an_orphan_is_caught() {
        let mut lines = found(4, 1..=4);
        lines.insert(1, Line::Orphans(2));
        assert_eq!(after(lines).orphans, 2);
    }

    #[test]
    fn a_replaced_store_loses_what_was_not_saved_from_it() {
        let lines = vec![
            Line::Opened { ms: 1, epoch: id(98), last: 1 },
            Line::Have { sequence: 1, id: id(3), read: true, photos: Vec::new() },
            Line::Ready,
        ];
        let tally = after(lines);
        assert_eq!((tally.replaced, tally.lost, tally.total()), (1, 3, 4), "{tally:?}");
    }

    #[test]
    fn on_a_broken_disk_only_what_is_kept_counts() {
        let mut model = Model { disturbed: true, ..Model::default() };
        found(0, []).iter().for_each(|l| model.take(l));
        model.take(&Line::Kept { sequence: 1, id: id(1) });
        model.disturbed = false;
        found(0, []).iter().for_each(|l| model.take(l));
        assert_eq!((model.tally.lost, model.checks), (1, 1));
    }

    #[test]
    fn what_is_unsure_may_be_gone_and_nothing_else_may() {
        let after_unsure = |there: &[u64]| {
            let mut model = of_four();
            let last = model.last_kept();
            model.unsure_after(3);
            found(*there.last().unwrap_or(&0), there.iter().copied())
                .iter()
                .for_each(|l| model.take(l));
            (last, model.tally.lost)
        };
        assert_eq!(after_unsure(&[1, 2, 3]), (4, 0));
        assert_eq!(after_unsure(&[1, 2]), (4, 1));
    }

    #[test]
    fn half_an_inventory_says_nothing() {
        let mut lines = found(4, [1]);
        lines.pop();
        lines.extend(found(4, 1..=4));
        assert_eq!(after(lines), Tally::default());
    }
}
