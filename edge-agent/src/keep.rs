//! What was seen becomes durable: finished passes are matched with the alert lists and kept with their
//! photos, alerts ahead of their read in one commit; what happened to the clock, to the lists and to
//! capture goes into the ledger.
//!
//! How it fails: nothing is given up while the process lives, but for what can never be kept. Lists that
//! can't be opened are told by health; reads are kept without them.

use std::sync::{Arc, mpsc};

use milepost_wire as wire;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::{self, Corrections, News},
    config::Config,
    health::{Component, Health, Status},
    list_store::{
        self, ListStore,
        intake::{self, Link},
    },
    outbox::{Entry, Outbox, Photo, Setup, Signer},
    recognise::Finished,
    report::{self, Origin, Report},
    sealing::Keyring,
    supervise::again,
    suspension::Suspension,
};

/// The file in the outbox's folder that says that reads of this boot are owed their true time.
const CORRECTION_MARK: &str = "time-correction-owed";

/// What the keep thread is handed.
pub enum ToKeep {
    /// A finished pass.
    Pass(Box<Finished>, Origin),
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
    let mut corrections = Corrections::new(mark, clock::boot_id());
    // Nothing that was read is given up while the process lives, but for what can never be kept.
    let keep_all = |make: &dyn Fn() -> Vec<Entry>| {
        let kept = again(Component::Outbox, health, stop, || match outbox.keep_all(make()) {
            Err(error) if error.is_final() => {
                tracing::error!(%error, "it can't be kept, and is given up");
                Ok(None)
            }
            other => other.map(Some),
        });
        kept.flatten()
    };
    let keep =
        |make: &dyn Fn() -> Entry| keep_all(&|| vec![make()]).and_then(|kept| kept.last().copied());
    for to_keep in to_keep {
        match to_keep {
            ToKeep::Pass(finished, origin) => {
                let report = report::report(&finished, &origin);
                let alerts = alerts(&report, store.as_deref());
                let kept = if alerts.is_empty() {
                    None
                } else {
                    // Ahead of their read, and both or neither.
                    keep_all(&|| entries(&alerts, &report, root))
                };
                health.metrics.alerts.inc_by(kept.as_ref().map_or(0, |_| alerts.len() as u64));
                let kept = match kept {
                    Some(kept) => kept.last().copied(),
                    None => keep(&|| entry(&report, root)),
                };
                if let (Some(sequence), Some(taken)) = (kept, report.taken()) {
                    corrections.taken(finished.exposure.source, taken(sequence));
                }
                count(kept, &report, health);
            }
            ToKeep::Suspension => suspension.enter(&outbox),
            ToKeep::Clock(News::Step(step)) => {
                let id = Uuid::now_v7();
                keep(&|| Entry::ledger(id, root.source(), step.after, step.clone()));
            }
            ToKeep::Clock(News::Synchronised(reference)) => {
                let due = corrections.due(&reference);
                let all = due.iter().all(|data| {
                    let (id, at) = (Uuid::now_v7(), data.reference_at);
                    keep(&|| Entry::ledger(id, root.source(), at, data.clone())).is_some()
                });
                if all && !due.is_empty() {
                    let records = due.iter().map(|c| c.records.len() as u64).sum();
                    health.metrics.time_corrections.inc_by(records);
                    corrections.made();
                }
            }
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
        intake::start(store, authority, root.clone(), outbox.clone())
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

/// The alerts that a report gives.
fn alerts(report: &Report, lists: Option<&ListStore>) -> Vec<wire::Alert> {
    match (report, lists) {
        (Report::Read(read, _), Some(lists)) => lists.alerts(read),
        _ => Vec::new(),
    }
}

/// The records of alerts, and of their read after them.
fn entries(alerts: &[wire::Alert], report: &Report, root: &wire::Root) -> Vec<Entry> {
    let alerts = alerts.iter().map(|alert| Entry::alert(root.source(), alert.clone()));
    alerts.chain([entry(report, root)]).collect()
}
