//! From the outbox through the window into the line.

use std::time::Instant;

use milepost_wire::{Event, Leaf, PhotoKind, Read, event::sending, onvif};
use rumqttc::v5::mqttbytes::QoS;

use super::{Cause, PACKET_OVERHEAD, Part, Piece, Session, Tag, blocking};
use crate::{
    outbox::{Kind, OutboxError, Page, Record},
    uplink::{
        age::{Now, is_historical},
        lanes::Lane,
        window::BATCH,
    },
};

/// The newest records that are gone through for alerts when a connection begins: ten minutes at two a second.
const LIVE_LOOKED: usize = 1200;

impl Session<'_> {
    /// Publishes whatever may go now.
    pub(super) async fn fill(&mut self) -> Result<(), Cause> {
        loop {
            self.load().await?;
            let Some(piece) = self.window.next(Instant::now()) else { break };
            self.send(piece).await?;
        }
        let metrics = &self.line.health.metrics;
        let backlog = self.line.outbox.len().saturating_sub(self.window.live() as u64);
        metrics.uplink_backlog_records.set(backlog.cast_signed());
        let held = self.window.held(Instant::now());
        metrics.uplink_held_back_messages.set(held.messages.cast_signed());
        metrics.uplink_held_back_bytes.set(held.bytes.cast_signed());
        let resent = self.window.take_resent();
        metrics.uplink_resent.inc_by(resent);
        // That nothing is held back any more is told with the next heartbeat: it may change with
        // every message.
        let (parked, held_back) = self.told;
        if resent > 0 || self.window.parked() != parked || (held.messages > 0 && !held_back) {
            self.report();
        }
        Ok(())
    }

    /// Goes through what is live, once for each connection, for the alerts: they go before what is newer.
    async fn load_alerts(&mut self) -> Result<(), Cause> {
        let (outbox, window) = (self.line.outbox.clone(), self.line.config.live_window);
        let find = move || {
            let now = Now::read();
            let (mut alerts, mut last, mut looked) = (Vec::new(), u64::MAX, 0);
            while looked < LIVE_LOOKED {
                let Page { records, .. } = outbox.page(1..=last, true, BATCH)?;
                let Some(oldest) = records.last().map(|record| record.sequence) else { break };
                looked += records.len();
                // What came over from a damaged store is old and among the newest.
                let live: Vec<_> =
                    records.into_iter().filter(|r| !is_historical(r, window, &now)).collect();
                let any = !live.is_empty();
                alerts.extend(live.into_iter().filter(|r| r.kind == Kind::Alert));
                if !any || oldest <= 1 {
                    break;
                }
                last = oldest - 1;
            }
            Ok(alerts)
        };
        let alerts = blocking(find).await?;
        self.window.load_alerts(&alerts, Instant::now());
        Ok(())
    }

    /// Gives the window the records that it wants.
    async fn load(&mut self) -> Result<(), Cause> {
        let line = self.line;
        self.window.grew(line.outbox.position());
        if !std::mem::replace(&mut self.alerts_loaded, true) {
            self.load_alerts().await?;
        }
        while let Some(want) = self.window.wants(Instant::now()) {
            let (outbox, sequences, limit) =
                (line.outbox.clone(), want.sequences.clone(), want.limit);
            let newest_first = want.newest_first;
            let page = blocking(move || {
                // What lies beyond the range says that the range has no more.
                let until = if newest_first { *sequences.end() } else { u64::MAX };
                outbox.page(*sequences.start()..=until, newest_first, limit)
            });
            let Page { records, out_of_reach } = page.await?;
            let now = Now::read();
            let is_live = |record: &Record| !is_historical(record, line.config.live_window, &now);
            self.window.load(&want, &records, is_live, line.config.onvif, Instant::now());
            if !out_of_reach.is_empty() {
                self.window.keep_for_later(&out_of_reach, Instant::now());
                self.complain(format!(
                    "{} records can't be read now and are kept: check the data keys in sealing/ below \
                     outbox.directory",
                    self.window.out_of_reach()
                ));
            }
        }
        Ok(())
    }

    async fn send(&mut self, piece: Piece) -> Result<(), Cause> {
        let (sequence, part) = piece;
        let Some(id) = self.window.id(sequence) else { return Ok(()) };
        let outbox = self.line.outbox.clone();
        let message = if let Part::Photo(kind) = part {
            let loaded = blocking(move || match outbox.photo(id, kind) {
                Err(OutboxError::OutOfReach) => Ok(Err(OutboxError::OutOfReach)),
                other => other.map(Ok),
            });
            let jpeg = match loaded.await? {
                Ok(jpeg) => jpeg,
                Err(error) => {
                    // The whole record waits, so that nothing of it counts as sent.
                    self.complain(error.to_string());
                    self.window.defer(sequence, Instant::now());
                    return Ok(());
                }
            };
            jpeg.map(|jpeg| (Leaf::Evidence { read_id: id, kind }, jpeg))
        } else {
            let record = blocking(move || outbox.record(sequence)).await?;
            let Some(record) = record.filter(|r| r.id == id) else {
                // Evicted or purged since it was loaded; the ledger says so.
                self.window.gone(sequence);
                return Ok(());
            };
            if part.is_event() {
                let window = self.line.config.live_window;
                let historical = is_historical(&record, window, &Now::read());
                let gone = photos_gone(&record);
                Some((event_leaf(record.kind), sending(&record.body, &gone, historical)))
            } else {
                let view = Event::from_json(&record.body).ok().map(|e| onvif::event(&e));
                view.map(|v| (Leaf::Onvif, v.to_string().into_bytes()))
            }
        };
        let Some((leaf, payload)) = message else {
            self.window.skip(piece, Instant::now());
            return Ok(());
        };
        let bytes = payload.len() + self.line.root.topic(leaf).len() + PACKET_OVERHEAD;
        if bytes > self.max_packet {
            self.line.health.metrics.uplink_refused_oversize.inc();
            let limit = self.max_packet;
            tracing::warn!(%id, ?part, bytes, limit, "message over the limit; not sent");
            if part.is_event() {
                self.window.park(sequence);
                return Ok(());
            }
            if let Part::Photo(kind) = part {
                // The next sending of the read says that it will not come.
                let outbox = self.line.outbox.clone();
                blocking(move || outbox.give_up_photo(id, kind)).await?;
            }
            self.complain(format!(
                "a message of {bytes} bytes is over the limit of {limit} and was not sent (photos are given up): \
                 raise uplink.max_packet_bytes and the broker's limit, or lower [evidence]"
            ));
            self.window.skip(piece, Instant::now());
            return Ok(());
        }
        self.window.charge(part, bytes, Instant::now());
        let metrics = &self.line.health.metrics;
        let sent = match part.lane() {
            Lane::Alerts | Lane::Events => &metrics.uplink_event_bytes,
            Lane::CloseUps => &metrics.uplink_close_up_bytes,
            Lane::Contexts => &metrics.uplink_context_bytes,
        };
        sent.inc_by(bytes as u64);
        self.publish(leaf, QoS::AtLeastOnce, false, payload, Tag::Piece(piece))
    }
}

/// Photos that a read names and that are not kept any more: the server need not wait for them, nor for
/// the eviction, which may lie behind days of reads.
fn photos_gone(record: &Record) -> Vec<PhotoKind> {
    let kept = |kind| record.photos.iter().any(|p| p.kind == kind);
    if record.kind != Kind::Read || PhotoKind::ALL.into_iter().all(kept) {
        return Vec::new();
    }
    let Ok(event) = Event::<Read>::from_json(&record.body) else { return Vec::new() };
    let named = |kind: &PhotoKind| event.data.evidence.photo(*kind).is_some();
    PhotoKind::ALL.into_iter().filter(|kind| named(kind) && !kept(*kind)).collect()
}

const fn event_leaf(kind: Kind) -> Leaf {
    match kind {
        Kind::Read => Leaf::Reads,
        Kind::Alert => Leaf::Alerts,
        Kind::UnreadPass => Leaf::UnreadPasses,
        Kind::Ledger => Leaf::Ledger,
    }
}
