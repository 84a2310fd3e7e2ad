//! What was seen becomes durable: finished passes are matched with the alert lists and kept with their
//! photos, alerts ahead of their read in one commit; what happened to the clock, to the lists and to
//! capture goes into the ledger.
//!
//! Nothing that was read is given up while the process lives, but for what can never be kept, and reads
//! that match nothing where the agency keeps only hits.
//!
//! How it fails: what can't be kept is tried again. Lists that
//! can't be opened are told by health; reads are kept without them.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use milepost_wire as wire;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::{self, Corrections, News},
    config::Config,
    health::{Component, Health, Status},
    list_store::{
        self, ListStore, Matched,
        intake::{self, Link},
    },
    only_hits::Dropped,
    outbox::{Entry, Outbox, Photo, Setup, Signer, Thresholds},
    recognise::Finished,
    report::{self, Origin, Report},
    sealing::Keyring,
    supervise::again,
    suspension::Suspension,
};

/// The file in the outbox's folder that says that reads of this boot are owed their true time.
const CORRECTION_MARK: &str = "time-correction-owed";

/// How often it looks whether something is due.
const TICK: Duration = Duration::from_secs(10);

/// What the keep thread is handed.
pub enum ToKeep {
    /// A finished pass.
    Pass(Box<Finished>, Origin),
    /// One under way whose text is certain.
    Preview(Box<Finished>, Origin),
    /// What became of the clock.
    Clock(News),
    /// A suspension has begun or ended.
    Suspension,
}

/// What is open once the thread has begun.
pub struct Opened {
    /// The outbox.
    pub outbox: Outbox,
    /// The alert lists; `None` where they can't be used.
    pub lists: Option<Link>,
}

/// Finished passes → durable records with their photos; the clock's news → the ledger.
pub fn keep(
    config: &Config,
    health: &Arc<Health>,
    root: &wire::Root,
    suspension: &Suspension,
    opened: oneshot::Sender<Opened>,
    to_keep: &mpsc::Receiver<ToKeep>,
    stop: &CancellationToken,
) {
    let outbox = again(Component::Outbox, health, stop, || {
        Outbox::open(setup(config, root.source(), health.clone()))
    });
    let Some(outbox) = outbox else { return };
    let lists = lists(config, health, root, &outbox);
    let store = lists.as_ref().map(|link| link.store.clone());
    let _ = opened.send(Opened { outbox: outbox.clone(), lists });
    let mark = config.outbox.directory.join(CORRECTION_MARK);
    let mut keeping = Keeping {
        outbox,
        lists: store,
        only_hits: config.lists.only_hits,
        root,
        health,
        stop,
        corrections: Corrections::new(mark, clock::boot_id()),
        dropped: Dropped::default(),
    };
    loop {
        match to_keep.recv_timeout(TICK) {
            Ok(ToKeep::Pass(finished, origin)) => keeping.pass(&finished, &origin),
            Ok(ToKeep::Preview(pass, origin)) => keeping.preview(&pass, &origin),
            Ok(ToKeep::Suspension) => suspension.enter(&keeping.outbox),
            Ok(ToKeep::Clock(news)) => keeping.clock(news),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        keeping.enter_dropped(false);
    }
    keeping.enter_dropped(true);
}

/// What the thread works with.
struct Keeping<'a> {
    outbox: Outbox,
    lists: Option<Arc<ListStore>>,
    only_hits: bool,
    root: &'a wire::Root,
    health: &'a Arc<Health>,
    stop: &'a CancellationToken,
    corrections: Corrections,
    dropped: Dropped,
}

impl Keeping<'_> {
    /// Keeps entries in one commit; `None` where one of them can never be kept, or the agent was stopped
    /// before they could be.
    fn keep_all(&self, make: &dyn Fn() -> Vec<Entry>) -> Option<Vec<u64>> {
        let keep = || match self.outbox.keep_all(make()) {
            Err(error) if error.is_final() => {
                tracing::error!(%error, "it can't be kept, and is given up");
                Ok(None)
            }
            other => other.map(Some),
        };
        again(Component::Outbox, self.health, self.stop, keep).flatten()
    }

    fn keep(&self, make: &dyn Fn() -> Entry) -> Option<u64> {
        self.keep_all(&|| vec![make()])?.last().copied()
    }

    /// Enters what the pole says of itself.
    fn enter<T: wire::Data + Clone + Send + 'static>(&self, at: Timestamp, data: &T) -> bool {
        let id = Uuid::now_v7();
        self.keep(&|| Entry::ledger(id, self.root.source(), at, data.clone())).is_some()
    }

    fn pass(&mut self, finished: &Finished, origin: &Origin) {
        let report = report::report(finished, origin);
        let matched = match (&report, &self.lists) {
            (Report::Read(read, _), Some(lists)) => lists.matched(read),
            _ => Matched::default(),
        };
        if let Report::Read(read, _) = &report
            && self.only_hits
            && !matched.is_hit()
        {
            let searched = self.lists.as_ref().is_some_and(|lists| lists.is_any())
                && matched.not_searched.is_empty();
            self.dropped.count(read.captured_at, searched, Instant::now());
            self.health.metrics.reads_dropped.inc();
            return;
        }
        let alerts = matched.alerts;
        let source = self.root.source();
        let entries = || {
            // Ahead of their read, and all or none.
            let alerts = alerts.iter().map(|alert| Entry::alert(source.clone(), alert.clone()));
            alerts.chain([entry(&report, self.root)]).collect()
        };
        let mut kept = self.keep_all(&entries);
        if kept.is_some() {
            self.health.metrics.alerts.inc_by(alerts.len() as u64);
        } else if !alerts.is_empty() {
            // One that can't be kept takes neither the others nor the read along.
            for alert in &alerts {
                let one = || Entry::alert(source.clone(), alert.clone());
                match self.keep(&one) {
                    Some(_) => self.health.metrics.alerts.inc(),
                    None => self.health.metrics.alerts_lost.inc(),
                };
            }
            kept = self.keep_all(&|| vec![entry(&report, self.root)]);
        }
        let kept = kept.and_then(|kept| kept.last().copied());
        if let (Some(sequence), Some(taken)) = (kept, report.taken()) {
            self.corrections.taken(finished.exposure.source, taken(sequence));
        }
        count(kept, &report, self.health);
    }

    /// Alerts of a vehicle that is still in view. Where no other read is kept there is none: what it turns
    /// out to be could not be told.
    fn preview(&self, pass: &Finished, origin: &Origin) {
        let Some(read) = report::preview(pass, origin).filter(|_| !self.only_hits) else { return };
        let Some(lists) = &self.lists else { return };
        let alerts = lists.previews(&read);
        let source = self.root.source();
        let entries = || alerts.iter().map(|a| Entry::alert(source.clone(), a.clone())).collect();
        if !alerts.is_empty() && self.keep_all(&entries).is_some() {
            self.health.metrics.alert_previews.inc_by(alerts.len() as u64);
        }
    }

    fn clock(&mut self, news: News) {
        match news {
            News::Step(step) => drop(self.enter(step.after, &step)),
            News::Synchronised(reference) => {
                let due = self.corrections.due(&reference);
                let all = due.iter().all(|data| self.enter(data.reference_at, data));
                if all && !due.is_empty() {
                    let records = due.iter().map(|c| c.records.len() as u64).sum();
                    self.health.metrics.time_corrections.inc_by(records);
                    self.corrections.made();
                }
            }
        }
    }

    fn enter_dropped(&mut self, end: bool) {
        if let Some(due) = self.dropped.due(Instant::now(), end)
            && self.enter(Timestamp::now(), &due)
        {
            self.dropped.entered();
        }
    }
}

/// Counts a pass by what became of it.
fn count(kept: Option<u64>, report: &Report, health: &Health) {
    match (kept, report) {
        (None, _) => {
            health.metrics.passes_lost.inc();
            tracing::error!("a finished pass was lost: it could not be kept")
        }
        (Some(_), Report::Read(read, _)) => {
            health.metrics.reads.inc();
            if read.evidence.withheld_reason.is_some() {
                health.metrics.evidence_withheld.inc();
            }
        }
        (Some(_), Report::Unread(_)) => {
            health.metrics.unread_passes.inc();
        }
    }
}

/// What the outbox is opened with.
fn setup(config: &Config, source: wire::Source, health: Arc<Health>) -> Setup {
    Setup {
        config: config.outbox.clone(),
        sealing: config.sealing.clone(),
        signer: Some(Signer {
            certificate_file: config.uplink.certificate_file.clone(),
            key_file: config.uplink.key_file.clone(),
        }),
        // The program as it runs, even where its file has been replaced by an update.
        program: Some("/proc/self/exe".into()),
        clock: None,
        thresholds: Thresholds::default(),
        source,
        health,
    }
}

/// The record of a report.
fn entry(report: &Report, root: &wire::Root) -> Entry {
    match report {
        Report::Read(read, photos) => {
            let photos = photos.iter().flat_map(|p| {
                [(wire::PhotoKind::Plate, &p.plate), (wire::PhotoKind::Context, &p.context)]
            });
            let photos =
                photos.map(|(kind, jpeg)| Photo { kind, jpeg: jpeg.bytes.clone() }).collect();
            Entry::read(root.source(), (**read).clone(), photos)
        }
        Report::Unread(pass) => Entry::unread_pass(root.source(), (**pass).clone()),
    }
}

/// The lists in force, and the thread that takes new ones in.
fn lists(
    config: &Config,
    health: &Arc<Health>,
    root: &wire::Root,
    outbox: &Outbox,
) -> Option<Link> {
    let open = || {
        let keyring = Keyring::open(&config.sealing, &config.sealing_folder());
        let keyring = keyring.map_err(std::io::Error::other)?;
        let folder = config.outbox.directory.join(list_store::FOLDER);
        let least_free = config.outbox.min_free_bytes;
        let store = Arc::new(ListStore::open(folder, keyring, least_free, health.clone())?);
        let authority = config.lists.authority_file.clone();
        let directory = config.outbox.directory.clone();
        intake::start(store, authority, root.clone(), outbox.clone(), directory)
    };
    let opened: std::io::Result<Link> = open();
    let failed = |error: &std::io::Error| {
        tracing::error!(%error, "alert lists can't be used");
        let output = format!(
            "alert lists can't be used: {error}: mend it and restart the agent; reads are kept without them"
        );
        health.set(Component::Lists, Status::Fail, output);
    };
    opened.inspect_err(failed).ok()
}
