//! One line to the broker: options, TLS, Last-Will, the task that polls; and what the pole says
//! of itself on it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use milepost_wire::{
    CheckStatus, ComponentCheck, Data, Event, Heartbeat, Leaf, Root, Status as PoleStatus,
    StatusState,
};
use rumqttc::{
    Transport,
    v5::{
        AsyncClient, Event as MqttEvent, MqttOptions,
        mqttbytes::{QoS, v5::LastWill},
    },
};
use tokio::{sync::mpsc, task::JoinHandle, time};
use uuid::Uuid;

use super::{
    Address,
    cause::{Cause, explain},
    keeper::Keeper,
    takeover::Takeovers,
    window::MAX_IN_FLIGHT,
};
use crate::{
    config,
    health::{Component, Health, Status},
    list_store::intake::Link,
    outbox::Outbox,
    suspension::Suspension,
};

/// A frozen broker is noticed within two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// For DNS, TCP, TLS and CONNECT together.
const CONNECT_LIMIT_S: u64 = 15;
/// Longest that one step of the client may take: a large photo's way into a slow line.
const POLL_LIMIT: Duration = Duration::from_secs(60);
/// The client's queue: all that may be in flight, a status, subscriptions, a heartbeat, requests for parts
/// of lists and a disconnect, with room to spare.
const REQUESTS: usize = MAX_IN_FLIGHT + 32;
/// Packet ids that the client counts through: far more than may be in flight, so that it never meets one
/// that is. It keeps 216 bytes for each; all 65,535 took 14 MB.
const PACKET_IDS: u16 = 4096;
/// Events from the driver that wait for this task.
const EVENTS: usize = 64;
/// How long the broker keeps our subscription and receipts while we are away.
const SESSION_EXPIRY_S: u32 = 24 * 3600;
/// Kernel buffer for sending: small, so that a ping does not queue behind a photo for long.
const SEND_BUFFER_BYTES: u32 = 32 * 1024;
/// Largest packet that is read: a part of a list; receipts and commands are smaller.
const MAX_INCOMING_BYTES: u32 = 128 * 1024;

/// What every session of an agent shares.
pub(super) struct Line {
    pub(super) config: config::Uplink,
    pub(super) root: Root,
    pub(super) address: Address,
    pub(super) outbox: Outbox,
    pub(super) suspension: Arc<Suspension>,
    pub(super) lists: Option<Link>,
    pub(super) health: Arc<Health>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) takeovers: Mutex<Takeovers>,
}

impl Line {
    /// Says how the uplink is, and with it what is to be said of certificates and takeovers.
    pub(super) fn say(&self, status: Status, output: impl Into<String>) {
        let connected = self.health.metrics.uplink_connected.get() > 0;
        let mut words = vec![(status, output.into())];
        words.extend(self.takeovers().word(Instant::now()).map(|word| (Status::Warn, word)));
        words.extend(self.keeper.words(Timestamp::now(), connected));
        let worst = words.iter().map(|(status, _)| *status).max().unwrap_or(status);
        let output: Vec<_> = words.into_iter().map(|(_, word)| word).collect();
        self.health.set(Component::Uplink, worst, output.join("; "));
    }

    /// The broker has accepted the connection.
    pub(super) fn accepted(&self) {
        self.keeper.accepted();
        self.keeper.measure(&self.health.metrics);
        self.takeovers().accepted(Instant::now());
    }

    /// Takes in why a connection, or the try to make one, has ended; how long to stay away where
    /// that is not the usual pause.
    pub(super) fn away_for(&self, cause: &Cause, was_connected: bool) -> Option<Duration> {
        let mut takeovers = self.takeovers();
        takeovers.ended(was_connected && *cause == Cause::ClosedSilently);
        (*cause == Cause::TakenOver).then(|| {
            self.health.metrics.uplink_takeovers.inc();
            takeovers.note(Instant::now(), Timestamp::now())
        })
    }

    fn takeovers(&self) -> MutexGuard<'_, Takeovers> {
        self.takeovers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client id: one for each pole, so that a second client of it is noticed.
    fn client_id(&self) -> String {
        let Root { agency, site, camera } = &self.root;
        format!("milepost-{agency}-{site}-{camera}")
    }
}

/// The task that polls the client; it ends with this.
pub(super) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the driver says: an event, or why it has ended.
pub(super) type Step = Result<MqttEvent, Cause>;

/// A fresh client, and the driver that polls it until an error.
pub(super) fn connect(
    line: &Line,
    connected_at: Timestamp,
) -> Result<(AsyncClient, mpsc::Receiver<Step>, Driver), Cause> {
    let tls = line.keeper.choose(connected_at);
    line.keeper.measure(&line.health.metrics);
    let tls = tls?;
    let mut options =
        MqttOptions::new(line.client_id(), line.address.host.clone(), line.address.port);
    let will = status_event(line, connected_at, StatusState::Offline, true)?;
    options
        .set_transport(Transport::tls_with_config(tls.into()))
        .set_keep_alive(KEEP_ALIVE)
        .set_connection_timeout(CONNECT_LIMIT_S)
        .set_last_will(LastWill::new(
            line.root.topic(Leaf::Status),
            will,
            QoS::AtLeastOnce,
            true,
            None,
        ))
        // Receipts that come while we are away wait at the broker, which spares resends.
        .set_clean_start(false)
        .set_session_expiry_interval(Some(SESSION_EXPIRY_S))
        .set_max_packet_size(Some(MAX_INCOMING_BYTES))
        .set_outgoing_inflight_upper_limit(PACKET_IDS);
    let mut network = options.network_options();
    network.set_tcp_send_buffer_size(SEND_BUFFER_BYTES);
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    let (send, receive) = mpsc::channel(EVENTS);
    let driver = tokio::spawn(async move {
        loop {
            let step = match time::timeout(POLL_LIMIT, events.poll()).await {
                Ok(Ok(event)) => Ok(event),
                Ok(Err(error)) => Err(explain(&error)),
                Err(_) => Err(Cause::Silent("nothing could be sent")),
            };
            let last = step.is_err();
            if send.send(step).await.is_err() || last {
                return;
            }
        }
    });
    Ok((client, receive, Driver(driver)))
}

fn event_json<T: Data>(line: &Line, time: Timestamp, data: T) -> Result<Vec<u8>, Cause> {
    let event = Event::new(Uuid::now_v7(), line.root.source(), time, None, data);
    event.to_json().map_err(|e| Cause::Protocol(e.to_string()))
}

/// A birth, an orderly stop or (`unexpected`) the Last-Will, as JSON.
pub(super) fn status_event(
    line: &Line,
    connected_at: Timestamp,
    state: StatusState,
    unexpected: bool,
) -> Result<Vec<u8>, Cause> {
    let data = PoleStatus {
        state,
        unexpected,
        software_version: env!("CARGO_PKG_VERSION").into(),
        connected_at,
        started_at: line.health.started,
    };
    let time = if unexpected { connected_at } else { Timestamp::now() };
    event_json(line, time, data)
}

/// How the pole is, as JSON.
pub(super) fn heartbeat(line: &Line) -> Result<Vec<u8>, Cause> {
    let word = |status| match status {
        Status::Pass => CheckStatus::Pass,
        Status::Warn => CheckStatus::Warn,
        Status::Fail => CheckStatus::Fail,
    };
    let checks = line.health.checks().into_iter().map(|(component, check)| {
        let check =
            ComponentCheck { status: word(check.status), output: check.output, since: check.since };
        (component.name().to_owned(), check)
    });
    let (now, metrics) = (Timestamp::now(), &line.health.metrics);
    let data = Heartbeat {
        status: word(line.health.status()),
        checks: checks.collect(),
        software_version: env!("CARGO_PKG_VERSION").into(),
        uptime_s: line.health.uptime().as_secs(),
        ledger: line.outbox.position(),
        outbox_records: line.outbox.len(),
        outbox_photo_bytes: metrics.outbox_photo_bytes.get().try_into().unwrap_or_default(),
        lists: line.lists.as_ref().map(|link| link.store.in_heartbeat()).unwrap_or_default(),
        reads_total: metrics.reads.get(),
        unread_passes_total: metrics.unread_passes.get(),
    };
    event_json(line, now, data)
}
