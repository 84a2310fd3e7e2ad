//! One ledger as the server sees it: what came, what was given up, and what of it the pole has
//! signed for. Pure.
//!
//! Invariants: a body is `bound` only where the chain over it and everything up to the next signed
//! value is that value; nothing of a stretch is left out silently, so a manifest is verified only
//! where each of its sequences is bound, or was given up by an eviction that is itself bound. The
//! first body of a sequence stays; another one is a conflict.
//!
//! How it fails: over [`MAX_DIGESTS`] the digest of the lowest sequence is forgotten. Where it was not
//! bound yet it never will be, and says so ([`Waits::Memory`], [`LedgerState::unchecked`]).

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
};

use milepost_wire::{Chain, SequenceRange, Source};
use rangemap::RangeInclusiveSet;
use uuid::Uuid;

use super::verdict::{LedgerState, MAX_NAMED, Stretch, Verdict, Waits};

/// Digests of bodies (32 bytes each) remembered of one ledger. An hour of two vehicles a second is
/// 7200.
pub const MAX_DIGESTS: usize = 100_000;
/// Manifests of one ledger that are remembered; of more the oldest verified ones are only counted.
pub const MAX_MANIFESTS: usize = 2000;
/// Given-up ranges remembered of one ledger; more explain gaps, but are not gone over.
pub const MAX_GIVEN_UP: usize = 10_000;
/// No pole counts so far; a number above is not of the contract.
pub const MAX_SEQUENCE: u64 = 1 << 62;

/// SHA-256 of a body.
pub type Digest = [u8; 32];

/// What a body's sequence knew of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It was not there.
    New,
    /// It was there, byte for byte, as far as can be told.
    Again,
    /// Another body has this sequence.
    Conflict,
}

#[derive(Debug)]
struct Signed {
    stretch: Stretch,
    verdict: Verdict,
    /// The verdict was not asked for yet.
    news: bool,
}

impl Signed {
    fn set(&mut self, verdict: Verdict) {
        self.news |= self.verdict != verdict;
        self.verdict = verdict;
    }
}

/// One ledger: a source and an epoch.
#[derive(Debug)]
pub struct Ledger {
    digests: BTreeMap<u64, Digest>,
    came: RangeInclusiveSet<u64>,
    bound: RangeInclusiveSet<u64>,
    forgotten: RangeInclusiveSet<u64>,
    /// What evictions name: first, last, the eviction's own sequence; the chain after the last. A pole
    /// folds evictions that wait into one, so that ranges come again, longer.
    given_up: BTreeMap<(u64, u64, Option<u64>), Option<Chain>>,
    /// Came or given up.
    accounted: RangeInclusiveSet<u64>,
    /// Chain values that the pole has signed, by the sequence that they are after.
    signed: BTreeMap<u64, Chain>,
    manifests: VecDeque<Signed>,
    /// Verified ones that are only counted.
    folded: u64,
    wrong: u64,
    announced: u64,
    /// Records whose photos were given up.
    photos_given_up: RangeInclusiveSet<u64>,
    pub(super) touched: u64,
}

impl Ledger {
    /// One of which nothing has come.
    #[must_use]
    pub fn new(epoch: Uuid) -> Self {
        Self {
            digests: BTreeMap::new(),
            came: RangeInclusiveSet::new(),
            bound: RangeInclusiveSet::new(),
            forgotten: RangeInclusiveSet::new(),
            given_up: BTreeMap::new(),
            accounted: RangeInclusiveSet::new(),
            signed: [(0, Chain::start(epoch))].into(),
            manifests: VecDeque::new(),
            folded: 0,
            wrong: 0,
            announced: 0,
            photos_given_up: RangeInclusiveSet::new(),
            touched: 0,
        }
    }

    /// A body came.
    pub fn body(&mut self, sequence: u64, digest: Digest) -> Came {
        if self.came.contains(&sequence) {
            return match self.digests.get(&sequence) {
                Some(known) if *known != digest => Came::Conflict,
                _ => Came::Again,
            };
        }
        self.came.insert(sequence..=sequence);
        self.accounted.insert(sequence..=sequence);
        self.digests.insert(sequence, digest);
        if self.digests.len() > MAX_DIGESTS
            && let Some((oldest, _)) = self.digests.pop_first()
            && !self.bound.contains(&oldest)
        {
            self.forgotten.insert(oldest..=oldest);
        }
        self.follow(&(sequence..=sequence));
        Came::New
    }

    /// These will not come; `chain` is the one after the last of them, `by` the eviction's own
    /// sequence where it is in this ledger.
    pub fn give_up(&mut self, range: SequenceRange, chain: Option<Chain>, by: Option<u64>) {
        let SequenceRange { from, to } = range;
        self.accounted.insert(from..=to);
        if self.given_up.len() < MAX_GIVEN_UP {
            self.given_up.entry((from, to, by)).or_insert(chain);
        }
        self.follow(&(from..=to));
    }

    /// The photos of these that have not come will not.
    pub fn give_up_photos(&mut self, range: SequenceRange) {
        if self.photos_given_up.len() < MAX_GIVEN_UP {
            self.photos_given_up.insert(range.from..=range.to);
        }
    }

    /// Whether the photos of this record that have not come were given up.
    #[must_use]
    pub fn are_photos_given_up(&self, sequence: u64) -> bool {
        self.photos_given_up.contains(&sequence) || self.given_up_at(sequence).next().is_some()
    }

    /// The pole says how far its ledger goes.
    pub fn announce(&mut self, last_sequence: u64) {
        self.announced = self.announced.max(last_sequence);
    }

    /// The pole has signed for a stretch; the signature is right.
    pub fn sign(&mut self, stretch: Stretch) {
        if self.manifests.iter().any(|m| m.stretch == stretch) {
            return;
        }
        let joins = self.join(&stretch);
        let range = stretch.range();
        let verdict = joins.err().map_or(Verdict::Open(Waits::Bodies), Verdict::Wrong);
        self.wrong += u64::from(matches!(verdict, Verdict::Wrong(_)));
        self.manifests.push_back(Signed { stretch, verdict, news: true });
        // Its ends are signed values within other stretches, too.
        self.follow(&(range.start().saturating_sub(1)..=*range.end()));
        self.fold();
    }

    /// Verdicts that are new since this was last asked; for [`Waits::Between`] with the ranges that
    /// a manifest is to be asked of.
    pub fn news(&mut self) -> Vec<(Stretch, Verdict, Vec<SequenceRange>)> {
        let new = self.manifests.iter_mut().filter_map(|m| {
            std::mem::take(&mut m.news).then(|| (m.stretch.clone(), m.verdict.clone()))
        });
        let new: Vec<_> = new.collect();
        let news = new.into_iter().map(|(stretch, verdict)| {
            let ask_for = match verdict {
                Verdict::Open(Waits::Between) => self.unbound(&stretch.range()),
                _ => Vec::new(),
            };
            (stretch, verdict, ask_for)
        });
        news.collect()
    }

    /// Takes the signed values at both ends; an error where they are not those signed before.
    fn join(&mut self, stretch: &Stretch) -> Result<(), String> {
        let Stretch { from, to, before, after, hourly } = *stretch;
        for (at, chain) in [(from - 1, before), (to, after)] {
            if self.signed.get(&at).is_some_and(|known| *known != chain) {
                return Err(format!("its chain after {at} is not the one signed before"));
            }
        }
        let overlap = |m: &&Signed| {
            let other = &m.stretch;
            hourly && other.hourly && other.from <= to && from <= other.to
        };
        if let Some(Signed { stretch: other, .. }) = self.manifests.iter().find(overlap) {
            let (from, to) = (other.from, other.to);
            return Err(format!("it overlaps the manifest of {from} to {to}"));
        }
        self.signed.extend([(from - 1, before), (to, after)]);
        Ok(())
    }

    fn fold(&mut self) {
        while self.manifests.len() > MAX_MANIFESTS {
            let verified = |m: &Signed| m.verdict == Verdict::Verified;
            let at = self.manifests.iter().position(verified).unwrap_or_default();
            let Some(old) = self.manifests.remove(at) else { return };
            self.folded += u64::from(old.verdict == Verdict::Verified);
        }
        while self.signed.len() > 2 * MAX_MANIFESTS + 1 {
            self.signed.pop_first();
        }
    }

    /// Goes along the stretches in which something has changed, and judges anew.
    fn follow(&mut self, changed: &RangeInclusive<u64>) {
        let touches = |s: &Stretch| s.from <= *changed.end() && *changed.start() <= s.to;
        let mut walked = false;
        for place in 0..self.manifests.len() {
            let Signed { stretch, verdict, .. } = &self.manifests[place];
            let range = stretch.range();
            if matches!(verdict, Verdict::Wrong(_))
                || !touches(stretch)
                || self.accounted.gaps(&range).next().is_some()
            {
                continue;
            }
            walked = true;
            if let Err(why) = self.walk(&range) {
                self.manifests[place].set(Verdict::Wrong(why));
                self.wrong += 1;
            }
        }
        if walked {
            for place in 0..self.manifests.len() {
                let Signed { stretch, verdict, .. } = &self.manifests[place];
                if !matches!(verdict, Verdict::Wrong(_)) {
                    let verdict = self.judge(&stretch.range());
                    self.manifests[place].set(verdict);
                }
            }
        }
    }

    /// Computes the chain from signed value to signed value and binds the bodies between; over what
    /// was given up it goes on from the chain that the eviction names.
    fn walk(&mut self, range: &RangeInclusive<u64>) -> Result<(), String> {
        let (from, to) = (*range.start(), *range.end());
        let Some(mut chain) = self.signed.get(&(from - 1)).copied() else { return Ok(()) };
        // `run` is the first body since the last value that the chain was taken from.
        let (mut n, mut run) = (from, from);
        while n <= to {
            if let Some(digest) = self.digests.get(&n) {
                chain = chain.then_digest(*digest);
                if let Some(signed) = self.signed.get(&n) {
                    if *signed != chain {
                        return Err(format!(
                            "the chain over {run} to {n} is not what was signed: a record among them \
                             was changed or put in another's place"
                        ));
                    }
                    self.bound.insert(run..=n);
                    run = n + 1;
                }
                n += 1;
                continue;
            }
            let next_signed =
                |to: u64| self.signed.range(n..=to).next().map(|(at, chain)| (*at, *chain));
            let named = self.given_up_at(n).filter_map(|(to, _, chain)| Some((to, chain?)));
            let named = named.min_by_key(|(to, _)| *to);
            let next = next_signed(named.map_or(to, |(at, _)| at)).or(named);
            let Some((at, value)) = next else { return Ok(()) };
            (chain, n, run) = (value, at + 1, at + 1);
        }
        Ok(())
    }

    /// The evictions that name a sequence: last of the range, own sequence, chain.
    fn given_up_at(&self, n: u64) -> impl Iterator<Item = (u64, Option<u64>, Option<Chain>)> {
        let begun = self.given_up.range(..=(n, u64::MAX, Some(u64::MAX)));
        begun.filter(move |((_, to, _), _)| *to >= n).map(|((_, to, by), chain)| (*to, *by, *chain))
    }

    /// What a stretch is worth after the walk.
    fn judge(&self, range: &RangeInclusive<u64>) -> Verdict {
        if self.accounted.gaps(range).next().is_some() {
            return Verdict::Open(Waits::Bodies);
        }
        if self.forgotten.overlaps(range) {
            return Verdict::Open(Waits::Memory);
        }
        if !self.unbound(range).is_empty() {
            return Verdict::Open(Waits::Between);
        }
        for gap in self.came.gaps(range) {
            let mut n = *gap.start();
            while n <= *gap.end() {
                let vouched = self
                    .given_up_at(n)
                    .filter(|(_, by, _)| by.is_some_and(|by| self.bound.contains(&by)));
                let Some(to) = vouched.map(|(to, ..)| to).max() else {
                    return Verdict::Open(Waits::Eviction);
                };
                n = to + 1;
            }
        }
        Verdict::Verified
    }

    /// Bodies that came and are not bound.
    fn unbound(&self, range: &RangeInclusive<u64>) -> Vec<SequenceRange> {
        let parts = self
            .came
            .overlapping(range)
            .map(|part| *part.start().max(range.start())..=*part.end().min(range.end()));
        parts.flat_map(|part| self.bound.gaps(&part).map(sequences).collect::<Vec<_>>()).collect()
    }

    /// How many are missing between the first and the last.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing_ranges().map(count).sum()
    }

    fn missing_ranges(&self) -> impl Iterator<Item = SequenceRange> {
        let ranges = self.accounted.iter();
        let next = self.accounted.iter().skip(1);
        ranges.zip(next).map(|(a, b)| SequenceRange { from: a.end() + 1, to: b.start() - 1 })
    }

    /// Verified, wrong and open manifests.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let verified = self.manifests.iter().filter(|m| m.verdict == Verdict::Verified).count();
        let wrong =
            self.manifests.iter().filter(|m| matches!(m.verdict, Verdict::Wrong(_))).count();
        let open = self.manifests.len() - verified - wrong;
        (self.folded + verified as u64, self.wrong, open as u64)
    }

    /// Bodies that a signature vouches for.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.bound.iter().cloned().map(sequences).map(count).sum()
    }

    /// Bodies forgotten before they could be checked.
    #[must_use]
    pub fn unchecked(&self) -> u64 {
        self.forgotten.iter().cloned().map(sequences).map(count).sum()
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self, source: Source, epoch: Uuid) -> LedgerState {
        let (verified_manifests, wrong_manifests, open_manifests) = self.counts();
        let mut verified_ranges: Vec<_> =
            self.bound.iter().rev().take(MAX_NAMED).cloned().map(sequences).collect();
        verified_ranges.reverse();
        let between = |m: &&Signed| m.verdict == Verdict::Open(Waits::Between);
        let ask_for = self.manifests.iter().filter(between);
        let ask_for = ask_for.flat_map(|m| self.unbound(&m.stretch.range())).take(MAX_NAMED);
        LedgerState {
            source,
            epoch,
            first: self.accounted.first().map_or(0, |r| *r.start()),
            last: self.accounted.last().map_or(0, |r| *r.end()),
            announced: self.announced,
            missing: self.missing(),
            missing_ranges: self.missing_ranges().take(MAX_NAMED).collect(),
            verified: self.verified(),
            verified_chain: self.bound.last().and_then(|r| self.signed.get(r.end())).copied(),
            verified_ranges,
            ask_for: ask_for.collect(),
            unchecked: self.unchecked(),
            verified_manifests,
            wrong_manifests,
            open_manifests,
        }
    }
}

fn sequences(range: RangeInclusive<u64>) -> SequenceRange {
    SequenceRange { from: *range.start(), to: *range.end() }
}

const fn count(range: SequenceRange) -> u64 {
    range.to - range.from + 1
}
