//! What the writer does by itself: the ledger's own entries, manifests every hour, what is due to be
//! purged, keys, ballast, disk space.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use milepost_wire::{
    Data, Epoch, EpochCause, LedgerPosition, Manifest, ManifestClaims, Restart, RestartCause,
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Entry, OutboxError,
    group::Group,
    limits::Look,
    sled_store::STANDING_ALONE,
    store::{Fact, LINK_STRIDE, StoreError, Stored},
    writer::Writer,
};
use crate::{
    clock,
    identity::Identity,
    sealing::{Keyring, PoleTime, SealingError},
};

/// How often the writer looks after its store.
const EVERY: Duration = Duration::from_secs(10);
/// How often it signs for what was added to the ledger.
const MANIFEST_EVERY: Duration = Duration::from_secs(3600);
/// How often every record is looked at for its age; in between only the oldest.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Records of them looked at in one go, so that nobody waits long to keep, and sled, which frees late what it
/// has read, does not hold much of it: 16,384 cost 30 MB each time. All that fit are gone through in an hour.
const SWEEP_STEP: usize = 2048;
/// Longest that the oldest are purged in one go.
const PURGE_TURN: Duration = Duration::from_secs(2);
/// The first time after a start: a pole that starts often signs all the same.
const FIRST_MANIFEST: Duration = Duration::from_secs(300);
/// Links deleted in one commit, some ten blocks: sled holds a copy of each page that it touches until that is
/// done.
const LINKS_STEP: u64 = 1000;
/// Commits of them in one go: after a long backlog there are many.
const LINKS_STEPS: u64 = 30;
/// Links that may be more before they are deleted together.
const LINKS_SLACK: u64 = 1000;

/// From where on the store is made smaller. The defaults are the product's; tests do it sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// A store smaller than this is not worth copying: 64 MiB.
    pub compact_bytes: u64,
    /// Links of the chain that are kept behind the last sequence, so that a manifest of exactly any stretch of
    /// them can be made: 100,000. Of those before, one in [`LINK_STRIDE`].
    pub exact_links: u64,
    /// Sequences behind the last one of which nothing stands in blocks yet: 512.
    pub standing_alone: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { compact_bytes: 64 << 20, exact_links: 100_000, standing_alone: STANDING_ALONE }
    }
}

/// Records looked at in one step, past those on hold.
const HELD_SCAN: usize = 16;

/// Which stretch of the ledger to sign for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestRequest {
    /// First sequence.
    pub from: u64,
    /// Last one.
    pub to: u64,
    /// The command that asked.
    pub command_id: Option<Uuid>,
}

/// Whose key signs for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// PEM, the pole's certificate and its chain.
    pub certificate_file: PathBuf,
    /// PEM, its key: EC P-256.
    pub key_file: PathBuf,
}

/// When what is due.
pub(super) struct Upkeep {
    next: Instant,
    manifest_at: PoleTime,
    /// When every record is looked at for its age.
    sweep_at: PoleTime,
    /// Where that goes on, while it is under way.
    sweep: Option<u64>,
    /// Below this the links are thinned; `None`: to be found out.
    thinned_to: Option<u64>,
    /// Size of the store after the last compaction.
    compacted_to: u64,
    thresholds: Thresholds,
    /// What signs; `None` where nothing does.
    signer: Option<Signer>,
    /// What is wrong with it.
    pub(super) complaint: Option<String>,
    /// What waits for a data key that can't be used now.
    pub(super) out_of_reach: Option<String>,
}

impl Upkeep {
    pub(super) fn new(signer: Option<Signer>, thresholds: Thresholds, now: PoleTime) -> Self {
        Self {
            next: Instant::now(),
            manifest_at: now + FIRST_MANIFEST,
            sweep_at: now + SWEEP_EVERY,
            sweep: None,
            thinned_to: None,
            compacted_to: 0,
            thresholds,
            signer,
            complaint: None,
            out_of_reach: None,
        }
    }

    pub(super) const fn next(&self) -> Instant {
        self.next
    }
}

/// What is said of data keys whose files are whole and can't be used. What was sealed with a damaged one is given
/// up on the ledger.
fn out_of_reach(keyring: &Keyring) -> Option<String> {
    let unusable = keyring.unusable();
    let mut reasons = unusable.iter().filter(|e| matches!(e, SealingError::KeyUnusable { .. }));
    let (first, more) = (reasons.next()?, reasons.count());
    let more = if more > 0 { format!(" and {more} more data keys") } else { String::new() };
    Some(format!(
        "what was sealed with a key that can't be used is kept and not sent: {first}{more}"
    ))
}

/// One thing that is due.
type Step = fn(&mut Writer) -> Result<(), OutboxError>;

impl Writer {
    /// What the outbox says of itself, now.
    pub(super) fn entry<T: Data + Serialize + Send + 'static>(&self, data: T) -> Entry {
        Entry::ledger(Uuid::now_v7(), self.source.clone(), Timestamp::now(), data)
    }

    /// The first entries of this run: where the ledger comes from where it is new, and the start.
    pub(super) fn started(
        &mut self,
        damage: Option<&str>,
        previous: Option<LedgerPosition>,
    ) -> Result<(), StoreError> {
        let mut group = self.group()?;
        if group.next.sequence == 1 {
            let cause = damage.map_or(EpochCause::FirstStart, |_| EpochCause::StoreDamaged);
            let data = Epoch { cause, why: damage.map(str::to_owned), previous };
            self.put(&mut group, self.entry(data))?;
        }
        let boot_id = clock::boot_id();
        let before = self.store.fact(Fact::BootId)?;
        let now = boot_id.map(|id| id.to_string().into_bytes());
        let after = match before {
            None => RestartCause::FirstStart,
            Some(_) if self.store.fact(Fact::OrderlyStop)?.is_some() => RestartCause::OrderlyStop,
            Some(before) if Some(&before) == now.as_ref() => RestartCause::ProcessEnded,
            Some(_) => RestartCause::MachineRestarted,
        };
        let software_version = env!("CARGO_PKG_VERSION").into();
        let data = Restart { after, software_version, boot_id };
        self.put(&mut group, self.entry(data))?;
        group.change.facts =
            vec![(Fact::BootId, Some(now.unwrap_or_default())), (Fact::OrderlyStop, None)];
        self.store.commit(&group.change)
    }

    /// The first entry of a ledger that began while the agent runs.
    pub(super) fn begin_epoch(&mut self, why: &str) -> Result<(), StoreError> {
        let last_sequence = *self.changed.borrow();
        let previous = LedgerPosition { epoch: self.epoch, last_sequence };
        let mut group = self.group()?;
        if group.next.sequence == 1 {
            let cause = EpochCause::StoreDamaged;
            let data = Epoch { cause, why: Some(why.into()), previous: Some(previous) };
            self.put(&mut group, self.entry(data))?;
            self.store.commit(&group.change)?;
        }
        self.epoch = self.store.position().epoch;
        self.upkeep.thinned_to = None;
        Ok(())
    }

    /// Everything that is due. What fails is logged and due again.
    pub(super) fn keep_up(&mut self) {
        self.upkeep.next = Instant::now() + EVERY;
        if let Err(error) = self.sound_group() {
            self.failed(&error);
            return;
        }
        if let Err(error) = self.keyring.rotate_if_due() {
            tracing::warn!(%error, "the next data key could not be made");
        }
        self.upkeep.out_of_reach = out_of_reach(&self.keyring);
        let steps: [(&str, Step); 5] = [
            ("purge", |w| w.purge_all(Look::Oldest).and_then(|()| w.sweep())),
            ("manifest", Self::hourly_manifest),
            ("links", Self::thin_links),
            ("ballast", |w| w.disk.take_ballast().map_err(|e| OutboxError::Store(e.to_string()))),
            ("compaction", |w| {
                // What could not be made smaller once is left until it has grown.
                let least = w.upkeep.thresholds.compact_bytes.max(2 * w.upkeep.compacted_to);
                if w.store.compact(least)? {
                    w.upkeep.compacted_to = w.store.bytes();
                    tracing::info!("the drained store was replaced by a small one");
                }
                Ok(())
            }),
        ];
        for (what, step) in steps {
            self.busy.begin();
            if let Err(error) = step(self) {
                tracing::warn!(what, %error, "upkeep failed; tried again");
            }
        }
        self.oldest();
        self.count_asides();
        self.report(None);
    }

    pub(super) fn count_asides(&mut self) {
        if let Err(error) = self.asides.recount() {
            tracing::warn!(%error, "what was set aside could not be counted");
        }
    }

    /// Goes a step on through every record, once an hour, and gives up what nobody can read any more.
    fn sweep(&mut self) -> Result<(), OutboxError> {
        let now = self.keyring.clock().now();
        if self.upkeep.sweep_at <= now {
            (self.upkeep.sweep_at, self.upkeep.sweep) = (now + SWEEP_EVERY, Some(0));
            self.recount();
        }
        if let Some(first) = self.upkeep.sweep {
            let mut group = self.group()?;
            self.upkeep.sweep = self.purge(&mut group, first, Look::AtMost(SWEEP_STEP))?;
            if !group.is_empty() {
                self.carry_out(group);
            }
        }
        Ok(())
    }

    /// Gives up what nobody can read any more.
    pub(super) fn purge_all(&mut self, look: Look) -> Result<(), OutboxError> {
        let (mut next, mut purged, begun) = (Some(0), false, Instant::now());
        while let Some(first) = next {
            self.busy.begin();
            let mut group = self.group()?;
            next = self.purge(&mut group, first, look)?;
            if !group.is_empty() {
                self.carry_out(group);
                purged = true;
            }
            // Whoever wants to keep has a turn; the rest is due again.
            if look == Look::Oldest && begun.elapsed() > PURGE_TURN {
                break;
            }
        }
        if purged {
            // The retention watchdog deletes the photos of what is purged, as well.
            self.recount();
        }
        Ok(())
    }

    fn recount(&self) {
        if let Err(error) = self.photos.recount() {
            tracing::warn!(%error, "photos could not be counted");
        }
    }

    fn hourly_manifest(&mut self) -> Result<(), OutboxError> {
        let now = self.keyring.clock().now();
        if self.upkeep.manifest_at > now || self.upkeep.signer.is_none() {
            return Ok(());
        }
        self.upkeep.manifest_at = now + MANIFEST_EVERY;
        let covered = self.store.fact(Fact::ManifestTo)?;
        let covered = covered.and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes);
        let to = self.store.position().last_sequence;
        // It never overlaps the one before. A server can ask for what is left out between them.
        let known = self.store.chain_after(covered)?.is_some();
        let from = if known { covered } else { covered.next_multiple_of(LINK_STRIDE) } + 1;
        let request = ManifestRequest { from, to, command_id: None };
        if request.from > request.to {
            return Ok(());
        }
        let mut group = self.group()?;
        let made = self.manifest(&request, &mut group);
        self.upkeep.complaint =
            made.as_ref().err().map(|e| format!("the ledger can't be signed for: {e}"));
        made?;
        group.change.facts.push((Fact::ManifestTo, Some(request.to.to_be_bytes().into())));
        self.carry_out(group);
        Ok(())
    }

    /// Signs for a stretch of the ledger: for exactly that one, or, where its links are thinned, for the
    /// smallest one around it that begins and ends with a link.
    pub(super) fn manifest(
        &self,
        request: &ManifestRequest,
        group: &mut Group,
    ) -> Result<u64, OutboxError> {
        let &ManifestRequest { from, to, command_id } = request;
        let position = self.store.position();
        if from == 0 || from > to || to > position.last_sequence {
            let last = position.last_sequence;
            return Err(OutboxError::Stretch(format!("{from} to {to} is not within 1 to {last}")));
        }
        let link = |sequence: u64, coarse: u64| {
            let known = |s| Ok::<_, StoreError>(self.store.chain_after(s)?.map(|chain| (s, chain)));
            let found = match known(sequence)? {
                None => known(coarse)?,
                found => found,
            };
            let missing = || StoreError::Damaged(format!("no link of the chain at {coarse}"));
            found.ok_or_else(missing)
        };
        let (before, chain_before) = link(from - 1, (from - 1) / LINK_STRIDE * LINK_STRIDE)?;
        let (to, chain_after) = link(to, to.next_multiple_of(LINK_STRIDE))?;
        let from = before + 1;
        let signer = self.upkeep.signer.as_ref().ok_or(OutboxError::NoIdentity)?;
        let claims = ManifestClaims {
            source: self.source.clone(),
            epoch: position.epoch,
            from,
            to,
            chain_before_sha256: chain_before,
            chain_after_sha256: chain_after,
            issued_at: Timestamp::now(),
        };
        // The files as they are now: a renewed certificate needs no restart.
        let jws = Identity::load(&signer.certificate_file, &signer.key_file)
            .and_then(|identity| identity.sign_jws(Manifest::JWS_TYPE, &claims))
            .map_err(|e| OutboxError::Signature(e.to_string()))?;
        let data = Manifest { from, to, command_id, jws };
        self.prepare(self.entry(data), group)
    }

    /// Thins the links that are neither among the last ones nor needed for a record that is there.
    fn thin_links(&mut self) -> Result<(), OutboxError> {
        let last = self.store.position().last_sequence;
        let oldest = self.oldest_waiting()?.map_or(last, |s| s.sequence());
        let below =
            last.saturating_sub(self.upkeep.thresholds.exact_links).min(oldest.saturating_sub(1));
        let mut from = match self.upkeep.thinned_to {
            Some(from) => from,
            None => self.thinned_to(below)?,
        };
        self.upkeep.thinned_to = Some(from);
        if below < from + LINKS_SLACK {
            return Ok(());
        }
        for _ in 0..LINKS_STEPS {
            let to = below.min(from + LINKS_STEP);
            if to <= from {
                break;
            }
            self.busy.begin();
            let mut group = self.group()?;
            group.change.thin_links = from..to;
            self.carry_out(group);
            if self.trouble.is_some() {
                break;
            }
            self.upkeep.thinned_to = Some(to);
            from = to;
        }
        Ok(())
    }

    /// The first link below which all are thinned, `below` at the most: they are in order, so by halving.
    fn thinned_to(&self, below: u64) -> Result<u64, StoreError> {
        let (mut thinned, mut whole) = (0, below);
        while thinned < whole {
            let middle = thinned.midpoint(whole);
            // One that does not stay by itself.
            let mut tried = middle;
            while tried % LINK_STRIDE == 0 || self.store.at(tried)?.is_some() {
                tried += 1;
            }
            if self.store.chain_after(tried)?.is_some() {
                whole = middle;
            } else {
                thinned = middle + 1;
            }
        }
        Ok(thinned)
    }

    /// The oldest record that the server does not have.
    fn oldest_waiting(&self) -> Result<Option<Stored>, StoreError> {
        let mut first = 0;
        loop {
            let page = self.store.stored(first, HELD_SCAN)?;
            let Some(end) = page.last() else { return Ok(None) };
            first = end.sequence() + 1;
            let delivered = |s: &Stored| matches!(s, Stored::Record(r) if r.delivered);
            if let Some(waiting) = page.into_iter().find(|stored| !delivered(stored)) {
                return Ok(Some(waiting));
            }
        }
    }

    /// How long the oldest record that waits is on the pole, by its own time: to the hour, as its data key is.
    fn oldest(&self) {
        let oldest = self.oldest_waiting().ok().flatten().and_then(Stored::record);
        let age = oldest.and_then(|record| self.keyring.age(record.key?)).unwrap_or_default();
        let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.health.metrics.outbox_oldest_record_seconds.set(seconds);
    }

    /// Notes that this end is meant.
    pub(super) fn stop(&mut self) {
        let noted = self.group().and_then(|mut group| {
            group.change.facts.push((Fact::OrderlyStop, Some(Vec::new())));
            self.store.commit(&group.change)
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "the orderly stop could not be noted");
        }
    }
}
