//! A read against one version of a list: which entries it matches, the nearest first.

use std::{cell::LazyCell, sync::OnceLock};

use jiff::Timestamp;
use milepost_wire::{
    Alert, AlertEntry, AlertList, Comparison, Freshness, ListVersion, MAX_SUBSTITUTIONS, Read,
    TimeSource,
};
use uuid::Uuid;

use super::{
    blind,
    compare::{compare, is_within, states},
    entry::{Entry, Wanted},
    fingerprint::Fingerprints,
    index::Index,
    pattern::Glob,
};
use crate::look_alikes;

/// Most alerts by one list for one read, the nearest ones; more are counted.
pub const MAX_MATCHES: usize = 8;

/// Most entries of a list with open characters: each is compared with each read.
pub const MAX_PATTERNS: usize = 1000;

/// One version of a list as it is searched.
#[derive(Debug)]
pub struct List {
    /// What is said of it.
    pub version: ListVersion,
    /// Which entries a number may belong to.
    pub index: Index,
    /// What makes the numbers; empty while a blind list waits for its key.
    pub fingerprints: OnceLock<Fingerprints>,
    /// The entries with open characters.
    pub patterns: Vec<(Glob, Entry)>,
}

/// What a search found.
#[derive(Debug)]
pub struct Found<E> {
    /// Matches within the list's tolerance, the nearest first, [`MAX_MATCHES`] at most.
    pub matches: Vec<Match>,
    /// More of them.
    pub more: usize,
    /// Others whose entries are muted.
    pub muted: u64,
    /// Candidates that could not be looked at.
    pub failed: Vec<E>,
}

/// An entry that a read matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The entry.
    pub entry: Entry,
    /// Side by side with the read.
    pub comparison: Comparison,
}

impl List {
    /// A version with its index, what its numbers are made with, and its open entries.
    #[must_use]
    pub fn new(
        version: ListVersion,
        index: Index,
        fingerprints: OnceLock<Fingerprints>,
        open: Vec<Entry>,
    ) -> Self {
        let glob = |entry: Entry| match &entry.wanted {
            Wanted::Pattern(pattern) => Some((Glob::of(pattern), entry)),
            _ => None,
        };
        let patterns = open.into_iter().filter_map(glob).collect();
        Self { version, index, fingerprints, patterns }
    }

    /// The entries that a read matches. `entry` gives the one at a place of the list; `is_muted` says by its
    /// id whether one gives no alert.
    pub fn search<E>(
        &self,
        read: &Read,
        mut entry: impl FnMut(u32) -> Result<Entry, E>,
        is_muted: impl Fn(&str) -> bool,
    ) -> Found<E> {
        let mut found = Found { matches: Vec::new(), more: 0, muted: 0, failed: Vec::new() };
        let Some(fingerprints) = self.fingerprints.get() else { return found };
        let mut take = |entry: Entry| {
            let comparison = compare(read, &entry.wanted);
            if let Some(comparison) = comparison.filter(|c| is_within(c, &self.version.tolerance)) {
                if is_muted(&entry.id) {
                    found.muted += 1;
                } else {
                    found.matches.push(Match { entry, comparison });
                }
            }
        };
        let mut texts =
            [&read.plate_text, &read.raw_text].map(|text| look_alikes::fold(text)).to_vec();
        // Mostly one: only look-alikes were weighed.
        texts.dedup();
        let numbers = texts.iter().map(|text| fingerprints.of_folded(text));
        let most = self.version.tolerance.substitutions.min(MAX_SUBSTITUTIONS);
        let within = LazyCell::new(|| blind::within(read, most, fingerprints));
        let show = |entry: Entry| match &entry.wanted {
            Wanted::Hidden(hidden) => {
                let wanted = Wanted::Plate(within.get(&hidden.tag)?.clone());
                Some(Entry { wanted, ..entry })
            }
            _ => Some(entry),
        };
        for place in numbers.flat_map(|number| self.index.find(number)) {
            match entry(place) {
                Ok(entry) => show(entry).into_iter().for_each(&mut take),
                Err(error) => found.failed.push(error),
            }
        }
        for (glob, pattern) in &self.patterns {
            if texts.iter().any(|text| glob.fits(text)) {
                take(pattern.clone());
            }
        }
        found.matches.sort_by(|a, b| {
            let (a, b) = (&a.comparison, &b.comparison);
            let fewer = a.substitutions.cmp(&b.substitutions);
            fewer.then(b.probability.total_cmp(&a.probability))
        });
        found.more = found.matches.len().saturating_sub(MAX_MATCHES);
        found.matches.truncate(MAX_MATCHES);
        found
    }

    /// Whether nothing is matched by it any more, at the time of a read. A clock that nothing keeps ends no
    /// list: better an alert marked stale than none.
    #[must_use]
    pub fn has_expired(&self, read: &Read) -> bool {
        read.time_source != TimeSource::Unsynchronised
            && read.captured_at >= self.version.expires_at
    }

    /// The verification packet of a match.
    #[must_use]
    pub fn alert(&self, alert_id: Uuid, read: &Read, found: Match) -> Alert {
        let Match { entry, comparison } = found;
        let (age_s, freshness) = freshness(&self.version, read.captured_at, read.time_source);
        let version = self.version.clone();
        Alert {
            alert_id,
            read_id: read.read_id,
            preview: false,
            advisory: true,
            checks: Alert::CHECKS,
            list: AlertList {
                name: version.list,
                version: version.version,
                agency: version.agency,
                purpose: version.purpose,
                source_at: version.source_at,
                age_s,
                freshness,
            },
            state: states(read.state.as_ref(), entry.state.as_deref()),
            entry: AlertEntry {
                id: entry.id,
                kind: entry.kind,
                entered_on: entry.date,
                vehicle: entry.vehicle,
            },
            comparison,
            plate_text: read.plate_text.clone(),
            raw_text: read.raw_text.clone(),
            confidence: read.confidence,
            alternatives: read.alternatives.clone(),
            captured_at: read.captured_at,
            time_source: read.time_source,
            time_uncertainty_s: read.time_uncertainty_s,
            boot_time: read.boot_time,
            direction: read.direction,
            position: read.position,
            evidence: read.evidence.clone(),
        }
    }
}

/// A list's age at a moment, and what its own limits call that.
#[must_use]
pub fn freshness(
    version: &ListVersion,
    at: Timestamp,
    source: TimeSource,
) -> (Option<f64>, Freshness) {
    let age_s = at.duration_since(version.source_at).as_secs_f64();
    if source == TimeSource::Unsynchronised || age_s < 0.0 {
        return (None, Freshness::Stale);
    }
    let freshness = if age_s >= version.stale_after_s as f64 {
        Freshness::Stale
    } else if age_s >= version.aging_after_s as f64 {
        Freshness::Aging
    } else {
        Freshness::Fresh
    };
    (Some(age_s), freshness)
}

/// Makes what is searched from entries as they come.
pub struct Builder {
    fingerprints: Fingerprints,
    index: super::index::Builder,
    patterns: Vec<Entry>,
    /// Entries so far that are at a place.
    places: u32,
}

/// A list has more entries than a pole takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Whole plates.
    #[error("more than {max} entries: split the list", max = super::index::MAX_ENTRIES)]
    Entries,
    /// Open ones.
    #[error("more than {MAX_PATTERNS} entries with ? or *: split the list")]
    Patterns,
}

impl Builder {
    /// With the version's key.
    #[must_use]
    pub fn new(fingerprints: Fingerprints) -> Self {
        Self { fingerprints, index: Default::default(), patterns: Vec::new(), places: 0 }
    }

    /// One entry. One with a whole plate comes back: its place is the number of those before it.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn push(&mut self, entry: Entry) -> Result<Option<Entry>, TooMany> {
        let number = match &entry.wanted {
            Wanted::Pattern(_) if self.patterns.len() >= MAX_PATTERNS => {
                return Err(TooMany::Patterns);
            }
            Wanted::Pattern(_) => {
                self.patterns.push(entry);
                return Ok(None);
            }
            Wanted::Plate(plate) => self.fingerprints.of(plate.as_str()),
            Wanted::Hidden(hidden) => hidden.number,
        };
        if self.places as usize >= super::index::MAX_ENTRIES {
            return Err(TooMany::Entries);
        }
        self.index.push(number, self.places);
        self.places += 1;
        Ok(Some(entry))
    }

    /// The list.
    #[must_use]
    pub fn build(self, version: ListVersion) -> List {
        let Self { fingerprints, index, patterns, .. } = self;
        List::new(version, index.build(), fingerprints.into(), patterns)
    }
}

#[cfg(test)]
mod tests;
