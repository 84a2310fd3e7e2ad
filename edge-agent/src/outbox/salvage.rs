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
};

use jiff::Timestamp;
use milepost_wire::{Header, LedgerPosition, Salvage, Source, event};
use uuid::Uuid;

use super::{Entry, Keeping, generation, probe::Probe, store::Record, writer::Command};

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
        found.complete = self.probe.salvage(aside, |record| {
            let header = Header::from_json(&record.body).ok();
            if let Some(ledger) = header.and_then(|h| h.ledger()) {
                let last_sequence = record.sequence;
                found.previous = Some(LedgerPosition { epoch: ledger.epoch, last_sequence });
            }
            let photos = record.photos.len() as u64;
            if self.keep(again(record)) {
                found.records += 1;
                found.photos += photos;
            } else {
                found.failed += 1;
            }
            !self.stop.load(Ordering::Relaxed)
        });
        if self.stop.load(Ordering::Relaxed) {
            // Taken up again at the next start.
            return;
        }
        if let Err(error) = generation::salvaged(aside) {
            tracing::warn!(%error, "the salvage could not be noted; it is done again at the next start");
        }
        tracing::warn!(?found, aside = %aside.display(), "salvage of the damaged store has ended");
        let (id, now) = (Uuid::now_v7(), Timestamp::now());
        self.keep(Entry::ledger(id, self.source.clone(), now, found));
    }

    fn keep(&self, entry: Entry) -> bool {
        let (reply, answer) = mpsc::sync_channel(1);
        let sent = self.writer.send(Command::Keep(entry, reply)).is_ok();
        sent && matches!(answer.recv(), Ok(Ok(_)))
    }
}

/// The record with its place in the new ledger. Its photos are where they were, it stays on hold, and
/// its time on the pole does not begin anew.
fn again(record: Record) -> Entry {
    let Record { sequence: _, id, kind, captured_at, photos, held, key, body } = record;
    let body = move |ledger| event::in_ledger(&body, ledger);
    let photos = Keeping::Again { photos, held, key };
    Entry { id, kind, captured_at, body: Box::new(body), photos }
}
