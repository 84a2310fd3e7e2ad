//! Brings over what can still be read of a store that was set aside: each record goes into the new
//! ledger with the id that it had, so that a server which has it already sees a duplicate.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;
use milepost_wire::{Header, LedgerPosition, Salvage, Source, event};
use uuid::Uuid;

use super::{Entry, Keeping, generation, probe::Probe, store::Record, writer::Command};

/// Between two tries to keep what was refused.
const PAUSE: Duration = Duration::from_secs(1);

/// What a salvage needs.
#[derive(Clone)]
pub(super) struct Salvager {
    pub(super) probe: Probe,
    pub(super) source: Source,
    pub(super) writer: mpsc::SyncSender<Command>,
    /// The outbox is being closed.
    pub(super) stop: Arc<AtomicBool>,
}

impl Salvager {
    /// Does its work on a thread of its own.
    pub(super) fn start(self, aside: PathBuf) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("salvage".into()).spawn(move || self.run(&aside))
    }

    fn run(&self, aside: &Path) {
        let mut found =
            Salvage { previous: None, records: 0, photos: 0, failed: 0, complete: false };
        let gone_through = self.probe.salvage(aside, |record| {
            let header = Header::from_json(&record.body).ok();
            if let Some(ledger) = header.and_then(|h| h.ledger()) {
                let last_sequence = record.sequence;
                found.previous = Some(LedgerPosition { epoch: ledger.epoch, last_sequence });
            }
            let photos = record.photos.len() as u64;
            if self.keep(&|| again(&record)) {
                found.records += 1;
                found.photos += photos;
            } else {
                found.failed += 1;
            }
            !self.stop.load(Ordering::Relaxed)
        });
        match gone_through {
            Ok(complete) => found.complete = complete,
            Err(error) => {
                tracing::error!(%error, "the salvage can't begin; it is done at the next start");
                return;
            }
        }
        tracing::warn!(?found, aside = %aside.display(), "salvage of the damaged store has ended");
        let (id, now) = (Uuid::now_v7(), Timestamp::now());
        let said = self.keep(&|| Entry::ledger(id, self.source.clone(), now, found.clone()));
        if self.stop.load(Ordering::Relaxed) || !said {
            // Taken up again at the next start.
            return;
        }
        if let Err(error) = generation::salvaged(aside) {
            tracing::warn!(%error, "the salvage could not be noted; it is done again at the next start");
        }
        let _ = self.writer.send(Command::Salvaged);
    }

    /// Keeps an entry, however often that has to be tried; not one that can never be kept, and not once
    /// the outbox is being closed.
    fn keep(&self, entry: &dyn Fn() -> Entry) -> bool {
        while !self.stop.load(Ordering::Relaxed) {
            let (reply, answer) = mpsc::sync_channel(1);
            if self.writer.send(Command::Keep(vec![entry()], reply)).is_err() {
                return false;
            }
            match answer.recv() {
                Ok(Ok(_)) => return true,
                Ok(Err(error)) if !error.is_final() => thread::sleep(PAUSE),
                _ => return false,
            }
        }
        false
    }
}

/// The record with its place in the new ledger. Its photos are where they were, it stays on hold, and
/// its time on the pole does not begin anew.
fn again(record: &Record) -> Entry {
    // With its new number it is sent again, also where the server has it.
    let Record { id, kind, captured_at, photos, held, key, body, .. } = record.clone();
    let body = move |ledger| event::in_ledger(&body, ledger);
    let photos = Keeping::Again { photos, held, key };
    Entry { id, kind, captured_at, body: Box::new(body), photos }
}
