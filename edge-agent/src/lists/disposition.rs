//! What became of the alerts: how often those of a list are false, and which characters are taken for
//! which. Pure.
//!
//! [`Window`] holds the last [`MAX_A_LIST`] dispositions of each list, each under its alert's id: one that
//! comes twice counts once, a later one replaces the one before, in whatever order they come. What is said
//! is counted from that, so that it follows what the pole does now. No plate is kept, and no entry's name.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
};

use jiff::Timestamp;
use milepost_wire::{Disposition, Verdict};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Lists with dispositions at once; as many as there may be lists.
pub const MAX_LISTS: usize = 64;
/// Dispositions remembered of each list.
pub const MAX_A_LIST: usize = 256;
/// So many of a list's alerts must have been found right or false for a rate to be said.
pub const ENOUGH: u64 = 20;
/// Two plates that differ in more characters are two plates, and no confusion of characters.
pub const MAX_CONFUSED: usize = 3;
/// Confusions that are said, the most frequent ones.
const SAID: usize = 5;

/// A character that was read, and the one that the photo shows.
pub type Confusion = (char, char);

/// More lists are judged than a pole has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_LISTS} other lists have dispositions already: is the name of the list right?")]
pub struct TooManyLists;

/// One disposition as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Of which alert.
    pub alert_id: Uuid,
    /// When it was said.
    pub at: Timestamp,
    /// What was found.
    pub verdict: Verdict,
    /// The characters that were taken for others.
    pub confused: Vec<Confusion>,
}

/// The last dispositions of each list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window(BTreeMap<String, VecDeque<Judged>>);

/// How the alerts of a list turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally([u64; Verdict::ALL.len()]);

impl Window {
    /// Takes one in; `None` where it says nothing new.
    ///
    /// # Errors
    /// [`TooManyLists`].
    pub fn take(&mut self, said: &Disposition) -> Result<Option<&Judged>, TooManyLists> {
        let known = self.0.values().flatten().find(|judged| judged.alert_id == said.alert_id);
        if known.is_some_and(|known| known.at >= said.at) {
            return Ok(None);
        }
        if !self.0.contains_key(&said.list) && self.0.len() >= MAX_LISTS {
            return Err(TooManyLists);
        }
        for list in self.0.values_mut() {
            list.retain(|judged| judged.alert_id != said.alert_id);
        }
        let list = self.0.entry(said.list.clone()).or_default();
        if list.len() >= MAX_A_LIST {
            list.pop_front();
        }
        let Disposition { alert_id, at, verdict, .. } = *said;
        list.push_back(Judged { alert_id, at, verdict, confused: confused(said) });
        Ok(list.back())
    }

    /// How the alerts of each list turned out.
    #[must_use]
    pub fn tallies(&self) -> BTreeMap<&str, Tally> {
        self.0.iter().map(|(list, judged)| (list.as_str(), Tally::of(judged))).collect()
    }

    /// Which character was taken for which and how often, the most frequent first.
    #[must_use]
    pub fn confusions(&self) -> Vec<(Confusion, u64)> {
        let mut counts = BTreeMap::new();
        for pair in self.0.values().flatten().flat_map(|judged| &judged.confused) {
            *counts.entry(*pair).or_insert(0) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(pair, count)| (std::cmp::Reverse(*count), *pair));
        counts
    }

    /// For the health page: how many alerts of each list and of this site are false, and what is mostly
    /// read for what. No plate.
    #[must_use]
    pub fn words(&self) -> String {
        let tallies = self.tallies();
        if tallies.is_empty() {
            return "none yet".into();
        }
        let mut words: Vec<_> =
            tallies.iter().map(|(list, tally)| format!("{list}: {}", tally.words())).collect();
        if tallies.len() > 1 {
            words.push(format!("this site: {}", Tally::of(self.0.values().flatten()).words()));
        }
        let confusions = self.confusions();
        if !confusions.is_empty() {
            let said = confusions.iter().take(SAID);
            let said: Vec<_> =
                said.map(|((read, shown), n)| format!("{read} for {shown} ({n})")).collect();
            words.push(format!("mostly misread: {}", said.join(", ")));
        }
        words.join("; ")
    }
}

impl Tally {
    fn of<'a>(judged: impl IntoIterator<Item = &'a Judged>) -> Self {
        let mut tally = Self::default();
        for judged in judged {
            tally.0[judged.verdict as usize] += 1;
        }
        tally
    }

    /// How many have this verdict.
    #[must_use]
    pub const fn count(&self, verdict: Verdict) -> u64 {
        self.0[verdict as usize]
    }

    /// How many were found false, and how many false or right.
    #[must_use]
    pub fn found(&self) -> (u64, u64) {
        Verdict::ALL.into_iter().fold((0, 0), |(wrong, all), verdict| {
            match (verdict.is_false(), self.count(verdict)) {
                (Some(true), n) => (wrong + n, all + n),
                (Some(false), n) => (wrong, all + n),
                (None, _) => (wrong, all),
            }
        })
    }

    /// The part of the alerts that were false; `None` where too few were looked into.
    #[must_use]
    pub fn false_rate(&self) -> Option<f64> {
        let (wrong, all) = self.found();
        (all >= ENOUGH).then(|| wrong as f64 / all as f64)
    }

    fn words(&self) -> String {
        let (wrong, all) = self.found();
        let mut words = match self.false_rate() {
            Some(rate) => format!("{:.0} % of {all} alerts false", rate * 100.0),
            None => format!("{wrong} of {all} alerts false, too few for a rate"),
        };
        let kinds = Verdict::ALL.into_iter().filter(|v| v.is_false() != Some(false));
        let kinds = kinds.map(|v| (v.name().replace('_', " "), self.count(v)));
        let kinds: Vec<_> =
            kinds.filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
        if !kinds.is_empty() {
            let _ = write!(words, " ({})", kinds.join(", "));
        }
        words
    }
}

/// The characters that a read took for others. Of texts that are not as long as each other nobody can say
/// which character stood for which.
fn confused(said: &Disposition) -> Vec<Confusion> {
    let (Verdict::IncorrectRead, Some(read), Some(shown)) =
        (said.verdict, &said.plate_read, &said.plate_shown)
    else {
        return Vec::new();
    };
    if read.len() != shown.len() {
        return Vec::new();
    }
    let pairs = read.chars().zip(shown.chars()).filter(|(read, shown)| read != shown);
    let pairs: Vec<_> = pairs.collect();
    if pairs.len() > MAX_CONFUSED { Vec::new() } else { pairs }
}

#[cfg(test)]
#[path = "disposition_tests.rs"]
mod tests;
