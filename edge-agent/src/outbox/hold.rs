//! Holds: records that the server wants kept beyond their time.

use std::io;

use jiff::{SignedDuration, Timestamp};
use milepost_wire::Hold;
use uuid::Uuid;

use super::{OutboxError, Photo, group::Group, photos::Loaded, store::Stored, writer::Writer};
use crate::sealing::{KeyUse, MAX_KEPT};

/// Which records to put on hold, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRequest {
    /// On hold, or not any more.
    pub held: bool,
    /// Ids of events.
    pub ids: Vec<Uuid>,
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The case.
    pub case_number: Option<String>,
    /// The server's command.
    pub command_id: Uuid,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// The ledger's entry; none where no record was there.
    pub sequence: Option<u64>,
    /// Records that are not there (any more).
    pub missing: Vec<Uuid>,
}

impl Writer {
    /// Seals the records and their photos again, under keys that live as long as the hold, and enters
    /// who asked into the ledger. What the server has goes when it is released.
    pub(super) fn hold(
        &self,
        request: HoldRequest,
        group: &mut Group,
    ) -> Result<Held, OutboxError> {
        let HoldRequest { held, ids, by, reason, case_number, command_id } = request;
        let usage = if held { KeyUse::Hold } else { KeyUse::Data };
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        let (mut again, mut gone) = (Vec::new(), Vec::new());
        for id in ids {
            let stored = match group.noting(self.store.sequence_of(id))? {
                Some(sequence) => group.noting(self.store.at(sequence))?,
                None => None,
            };
            let sequence = stored.as_ref().map(Stored::sequence);
            // As this group writes it, where it does.
            let written =
                sequence.and_then(|s| group.written_again(s)).map(|record| record.clone());
            let stored = stored.and_then(Stored::record).filter(|r| !group.changes(r.sequence));
            let Some(mut record) = written.or(stored) else {
                missing.push(id);
                continue;
            };
            there.push(id);
            if record.held == held {
                continue;
            }
            if record.delivered {
                gone.push(record);
                continue;
            }
            for photo in &mut record.photos {
                let failed = |e: io::Error| OutboxError::Store(e.to_string());
                if let Loaded::Jpeg(jpeg) = self.photos.load(id, photo.kind).map_err(failed)? {
                    let sealed = Photo { kind: photo.kind, jpeg };
                    photo.bytes = self.photos.write(id, &sealed, usage).map_err(failed)?;
                    group.photos_written = true;
                }
            }
            record.held = held;
            again.push(record);
        }
        if there.is_empty() {
            return Ok(Held { sequence: None, missing });
        }
        let end = SignedDuration::try_from(MAX_KEPT).ok();
        let until = end.filter(|_| held).and_then(|end| Timestamp::now().checked_add(end).ok());
        let entry = Hold { held, ids: there, until, by, reason, case_number, command_id };
        // Held and said, or neither.
        let sequence = self.prepare(self.entry(entry), group)?;
        // Their photos may be given up again, however old they are.
        let released = again.iter().map(|r| r.sequence).min().filter(|_| !held);
        if let Some(first) = released {
            group.photos_from = Some(group.photos_from.unwrap_or(self.photos_from).min(first));
        }
        gone.iter().for_each(|record| group.drop_record(record));
        again.into_iter().for_each(|record| group.put_again(record));
        Ok(Held { sequence: Some(sequence), missing })
    }
}
