//! One connection, from CONNECT to its end, with a client of its own.
//!
//! A driver task polls the client; this task alone publishes, and never waits for the client's
//! queue, which is larger than everything that can be in it: so neither waits for the other.
//! `Outgoing::Publish` comes in the order of publishing, which ties each packet id to its piece.

mod commands;
mod sending;

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use milepost_wire::{Command, Event, Leaf, ListRequest, Receipt, StatusState, Topic};
use rumqttc::{
    Outgoing,
    v5::{
        AsyncClient, Event as MqttEvent, Incoming,
        mqttbytes::{
            QoS,
            v5::{ConnAck, PubAckReason, Publish, PublishProperties, SubscribeReasonCode},
        },
    },
};
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Address,
    cause::Cause,
    line::{Line, Step, connect, heartbeat, status_event},
    window::{Answer, Part, Piece, Window},
};
use crate::{health::Status, list_store::intake::FromServer, outbox::OutboxError};

/// No acknowledgement for so long with something in flight: the client's state is not trusted.
const STALL_LIMIT: Duration = Duration::from_secs(120);
/// How often the heartbeat goes out.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How often the TLS files are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(5);
/// Bytes that a publish has beyond its payload and topic: headers, ids, properties.
const PACKET_OVERHEAD: usize = 128;
/// For the orderly goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// How a session ended.
pub(super) enum End {
    Shutdown,
    /// To connect again with new TLS files.
    Renewed,
    Lost(Cause),
}

/// What was published, in order, until its packet id is known.
#[derive(Debug, Clone, Copy)]
enum Tag {
    Piece(Piece),
    Response,
    Other,
}

struct Session<'a> {
    line: &'a Line,
    window: &'a mut Window,
    client: AsyncClient,
    published: VecDeque<Tag>,
    acknowledging: HashMap<u16, Tag>,
    max_packet: usize,
    /// When the broker last acknowledged something, or nothing was in flight.
    answered_at: Instant,
    complaint: Option<String>,
    /// Waiting to be carried out.
    commands: VecDeque<Command>,
    /// The answer to a command is on its way.
    answering: bool,
    /// What the last report said: events parked, and that a cap holds something back.
    told: (u64, bool),
    /// What is live was gone through for alerts.
    alerts_loaded: bool,
}

/// Runs one connection until it is lost or `shutdown` is cancelled.
pub(super) async fn run(line: &Line, window: &mut Window, shutdown: &CancellationToken) -> End {
    let connected_at = Timestamp::now();
    let (client, mut steps, _driver) = match connect(line, connected_at) {
        Ok(parts) => parts,
        Err(cause) => return End::Lost(cause),
    };
    let first = tokio::select! {
        step = steps.recv() => step,
        () = shutdown.cancelled() => return End::Shutdown,
    };
    let accepted = match first {
        Some(Ok(MqttEvent::Incoming(Incoming::ConnAck(accepted)))) => accepted,
        Some(Err(cause)) => {
            line.keeper.failed(&cause);
            return End::Lost(cause);
        }
        other => return End::Lost(Cause::Protocol(format!("{other:?} for an answer to CONNECT"))),
    };
    let mut session = Session::begin(line, window, client, &accepted);
    let result = session.serve(&mut steps, connected_at, shutdown).await;
    match result {
        Ok(end) => {
            session.goodbye(&mut steps, connected_at).await;
            end
        }
        Err(cause) => End::Lost(cause),
    }
}

/// The next request of the lists' thread; never where there are none.
async fn list_request(line: &Line) -> ListRequest {
    match &line.lists {
        Some(lists) => lists.request().await,
        None => std::future::pending().await,
    }
}

impl<'a> Session<'a> {
    fn begin(
        line: &'a Line,
        window: &'a mut Window,
        client: AsyncClient,
        accepted: &ConnAck,
    ) -> Self {
        let (metrics, limits) = (&line.health.metrics, accepted.properties.as_ref());
        metrics.uplink_connected.set(1);
        metrics.uplink_connections.inc();
        line.accepted();
        window.connected(limits.and_then(|p| p.receive_max));
        let broker_max = limits.and_then(|p| p.max_packet_size).unwrap_or(u32::MAX);
        let max_packet = line.config.max_packet_bytes.min(broker_max as usize);
        tracing::info!(max_packet, "uplink connected");
        Self {
            line,
            window,
            client,
            published: VecDeque::new(),
            acknowledging: HashMap::new(),
            max_packet,
            answered_at: Instant::now(),
            complaint: None,
            commands: VecDeque::new(),
            answering: false,
            told: (0, false),
            alerts_loaded: false,
        }
    }

    async fn serve(
        &mut self,
        steps: &mut mpsc::Receiver<Step>,
        connected_at: Timestamp,
        shutdown: &CancellationToken,
    ) -> Result<End, Cause> {
        let root = &self.line.root;
        let mut topics = vec![root.topic(Leaf::Receipts), root.topic(Leaf::Commands)];
        if let Some(lists) = &self.line.lists {
            topics.extend([
                root.topic(Leaf::Lists),
                root.list_parts(),
                root.topic(Leaf::Dispositions),
            ]);
            lists.give(FromServer::Connected);
        }
        for topic in topics {
            self.client
                .try_subscribe(topic, QoS::AtLeastOnce)
                .map_err(|e| Cause::Protocol(e.to_string()))?;
        }
        let birth = status_event(self.line, connected_at, StatusState::Online, false)?;
        self.publish(Leaf::Status, QoS::AtLeastOnce, true, birth, Tag::Other)?;
        self.report();
        let mut changed = self.line.outbox.changed();
        let mut beat = time::interval(HEARTBEAT);
        let mut look = time::interval(LOOK_AT_FILES);
        // Two looks at once would not tell whole files from half written ones.
        look.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            self.obey().await?;
            self.fill().await?;
            let now = Instant::now();
            let wake = self.window.wake_at(now).unwrap_or(now + HEARTBEAT).max(now);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(End::Shutdown),
                step = steps.recv() => {
                    let step = step.unwrap_or(Err(Cause::Closed("its task has ended".into())))?;
                    self.take(step)?;
                    // All that is there already, so that receipts are deleted together.
                    while let Ok(step) = steps.try_recv() {
                        self.take(step?)?;
                    }
                    self.delete_done().await;
                }
                _ = beat.tick() => {
                    self.report();
                    let beat = heartbeat(self.line)?;
                    self.publish(Leaf::Health, QoS::AtMostOnce, false, beat, Tag::Other)?;
                }
                request = list_request(self.line) => {
                    let (at, source) = (Timestamp::now(), self.line.root.source());
                    let event = Event::new(Uuid::now_v7(), source, at, None, request);
                    let event = event.to_json().map_err(|e| Cause::Protocol(e.to_string()))?;
                    self.publish(Leaf::ListRequests, QoS::AtLeastOnce, false, event, Tag::Other)?;
                }
                _ = look.tick() => {
                    if self.has_new_files().await {
                        return Ok(End::Renewed);
                    }
                }
                kept = changed.changed() => {
                    if kept.is_err() {
                        return Err(Cause::Closed("the outbox is closed".into()));
                    }
                }
                () = time::sleep_until(wake.into()) => {}
            }
            if self.window.in_flight() == 0 {
                self.answered_at = Instant::now();
            } else if self.answered_at.elapsed() > STALL_LIMIT {
                return Err(Cause::Silent("no acknowledgement"));
            }
        }
    }

    /// Whether new TLS files can be used; what is wrong with others is reported.
    async fn has_new_files(&mut self) -> bool {
        let keeper = self.line.keeper.clone();
        let look = move || keeper.has_new(Timestamp::now());
        let new = tokio::task::spawn_blocking(look).await.unwrap_or(false);
        self.report();
        new
    }

    fn publish(
        &mut self,
        leaf: Leaf,
        qos: QoS,
        retain: bool,
        payload: Vec<u8>,
        tag: Tag,
    ) -> Result<(), Cause> {
        let content_type = match leaf {
            Leaf::Evidence { .. } => "image/jpeg",
            Leaf::Onvif => "application/json",
            _ => "application/cloudevents+json; charset=utf-8",
        };
        let properties =
            PublishProperties { content_type: Some(content_type.into()), ..Default::default() };
        self.client
            .try_publish_with_properties(
                self.line.root.topic(leaf),
                qos,
                retain,
                payload,
                properties,
            )
            .map_err(|e| Cause::Protocol(format!("{e}: the client's queue is full")))?;
        self.published.push_back(tag);
        Ok(())
    }

    fn take(&mut self, event: MqttEvent) -> Result<(), Cause> {
        match event {
            MqttEvent::Outgoing(Outgoing::Publish(id)) => {
                let tag = self
                    .published
                    .pop_front()
                    .ok_or_else(|| Cause::Protocol("a publish that was not ours".into()))?;
                if id != 0 {
                    self.acknowledging.insert(id, tag);
                }
            }
            MqttEvent::Incoming(Incoming::PubAck(ack)) => {
                self.answered_at = Instant::now();
                match self.acknowledging.remove(&ack.pkid) {
                    Some(Tag::Piece(piece)) => self.acknowledged(piece, ack.reason),
                    Some(Tag::Response) => self.answering = false,
                    _ => {}
                }
            }
            MqttEvent::Incoming(Incoming::SubAck(ack)) => {
                let taken = |c: &SubscribeReasonCode| matches!(c, SubscribeReasonCode::Success(_));
                if !ack.return_codes.iter().all(taken) {
                    self.complain(format!(
                        "the broker refuses our subscription to receipts, commands, lists or dispositions ({:?}): check its access list",
                        ack.return_codes
                    ));
                }
            }
            MqttEvent::Incoming(Incoming::Publish(publish))
                if publish.topic == self.line.root.topic(Leaf::Receipts).as_bytes() =>
            {
                self.receipt(&publish.payload);
            }
            MqttEvent::Incoming(Incoming::Publish(publish))
                if publish.topic == self.line.root.topic(Leaf::Commands).as_bytes() =>
            {
                self.command(&publish.payload);
            }
            MqttEvent::Incoming(Incoming::Publish(publish)) => self.list(&publish),
            _ => {}
        }
        Ok(())
    }

    /// Hands what has to do with lists on to their thread.
    fn list(&self, publish: &Publish) {
        let topic = String::from_utf8_lossy(&publish.topic);
        let topic = topic.parse::<Topic>().ok().filter(|topic| topic.root == self.line.root);
        let (Some(lists), Some(Topic { leaf, .. })) = (&self.line.lists, topic) else { return };
        let bytes = publish.payload.to_vec();
        match leaf {
            Leaf::Lists => lists.give(FromServer::Announcement(bytes)),
            Leaf::Dispositions => lists.give(FromServer::Disposition(bytes)),
            Leaf::ListParts { request_id, part } => {
                lists.give(FromServer::Part { request_id, part, bytes });
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, piece: Piece, reason: PubAckReason) {
        let answer = match reason {
            PubAckReason::Success => Answer::Accepted,
            PubAckReason::NoMatchingSubscribers => Answer::NoSubscribers,
            _ => Answer::Refused,
        };
        match answer {
            Answer::Accepted => {
                self.line.health.metrics.uplink_published.inc();
                if piece.1.is_event() {
                    if self.window.is_backlog(piece.0) {
                        self.line.health.metrics.uplink_backlog_events.inc();
                    }
                    tracing::debug!(sequence = piece.0, "acknowledged by the broker");
                }
            }
            Answer::NoSubscribers => self.complain(
                "nobody subscribes to our messages at the broker: start the central server".into(),
            ),
            Answer::Refused => self.complain(format!(
                "the broker refuses our messages ({reason:?}): check its access list and quota"
            )),
        }
        if answer == Answer::Accepted && self.complaint.is_some() && piece.1.is_event() {
            self.complaint = None;
            self.report();
        }
        self.window.answered(piece, answer, Instant::now());
    }

    fn receipt(&mut self, payload: &[u8]) {
        let metrics = &self.line.health.metrics;
        let receipt = match Receipt::from_json(payload) {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::warn!(%error, bytes = payload.len(), "receipt ignored");
                metrics.receipts_ignored.inc();
                return;
            }
        };
        let (mut taken, mut unknown) = (0_u64, 0_u64);
        for id in receipt.ids {
            // A random id is its own proof that the server has seen the record, whenever it was sent.
            let known = self.window.receipt(id) || self.receipt_of_earlier_run(id);
            if known { taken += 1 } else { unknown += 1 }
        }
        let ours = receipt.epoch == Some(self.line.outbox.position().epoch);
        for range in receipt.sequences {
            match ours.then(|| self.window.receipt_range(range)) {
                Some(n @ 1..) => taken += n,
                _ => unknown += 1,
            }
        }
        metrics.receipts.inc_by(taken);
        metrics.receipts_ignored.inc_by(unknown);
    }

    fn receipt_of_earlier_run(&mut self, id: Uuid) -> bool {
        match self.line.outbox.sequence_of(id) {
            Ok(Some(sequence)) => {
                self.window.receipt_of(sequence);
                true
            }
            _ => false,
        }
    }

    async fn delete_done(&mut self) {
        loop {
            let done = self.window.take_done();
            if done.is_empty() {
                return;
            }
            let (outbox, sequences) = (self.line.outbox.clone(), done.clone());
            tracing::debug!(sequences = ?done, "receipted");
            if let Err(cause) = blocking(move || outbox.delivered(sequences)).await {
                tracing::warn!(%cause, "delivered records could not be deleted; tried again");
                self.window.put_back_done(&done);
                return;
            }
        }
    }

    fn complain(&mut self, complaint: String) {
        if self.complaint.as_ref() != Some(&complaint) {
            self.complaint = Some(complaint);
            self.report();
        }
    }

    fn report(&mut self) {
        let (overdue, parked) = (self.window.overdue(), self.window.parked());
        let held = self.window.held(Instant::now());
        self.told = (parked, held.messages > 0);
        let Address { host, port } = &self.line.address;
        let (status, output) = if let Some(complaint) = &self.complaint {
            (Status::Warn, complaint.clone())
        } else if parked > 0 {
            let limit = self.max_packet;
            let output = format!(
                "{parked} events are over the limit of {limit} bytes and wait: raise \
                 uplink.max_packet_bytes and the broker's limit; they are tried again on the next \
                 connection"
            );
            (Status::Warn, output)
        } else if overdue > 0 {
            let output = format!(
                "{overdue} records were sent more than once and have no receipt: check the \
                 central server, or set uplink.delivery = \"puback\" if it gives none"
            );
            (Status::Warn, output)
        } else if held.events > 0 {
            let output = format!(
                "{} events wait because uplink.events_bytes_per_hour is used up: raise it, or they \
                 come late",
                held.events
            );
            (Status::Warn, output)
        } else if held.messages > 0 {
            let output = format!(
                "connected to {host}:{port}; {} photos wait for the next bytes of \
                 uplink.close_up_bytes_per_hour or context_bytes_per_hour",
                held.messages
            );
            (Status::Pass, output)
        } else {
            (Status::Pass, format!("connected to {host}:{port}"))
        };
        self.line.say(status, output);
    }

    /// Says that this stop is meant, and waits a little for it to get out.
    async fn goodbye(&mut self, steps: &mut mpsc::Receiver<Step>, connected_at: Timestamp) {
        let Ok(offline) = status_event(self.line, connected_at, StatusState::Offline, false) else {
            return;
        };
        let said = self.publish(Leaf::Status, QoS::AtLeastOnce, true, offline, Tag::Other).is_ok()
            && self.client.try_disconnect().is_ok();
        let until = time::Instant::now() + GOODBYE;
        while said && let Ok(Some(Ok(event))) = time::timeout_at(until, steps.recv()).await {
            if matches!(event, MqttEvent::Outgoing(Outgoing::Disconnect))
                || self.take(event).is_err()
            {
                break;
            }
        }
        // Receipts that came meanwhile.
        self.delete_done().await;
    }
}

/// The outbox blocks on the disk: not on the thread that the connection lives on.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OutboxError> + Send + 'static,
) -> Result<T, Cause> {
    let result = tokio::task::spawn_blocking(work).await;
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Cause::Outbox(error.to_string())),
        Err(error) => Err(Cause::Outbox(error.to_string())),
    }
}
