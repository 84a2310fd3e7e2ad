//! A subscriber that behaves like a central server, for `milepost watch` and for tests.
//!
//! A receipt goes out for what is complete, and where it is saved, after it is durable: written,
//! fsynced, renamed, its folder fsynced. Receipts that are ready together go in one message.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use milepost_wire::{
    Leaf, LedgerEvent, ListKey, Receipt, Root, TopicLevel, receipt::MAX_RECEIPT_IDS, topics,
};
use rumqttc::{
    Outgoing, Transport,
    v5::{
        AsyncClient, Event as MqttEvent, Incoming, MqttOptions,
        mqttbytes::{QoS, v5::SubscribeReasonCode},
    },
};
use tokio::time;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Address,
    cause::{Cause, explain},
    central::{
        Central, Seen, Summary,
        lists::{Offer, Offers},
        verdict::LedgerState,
    },
    saver::Saver,
    tls,
};
use crate::identity;

const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Largest message that is read.
const MAX_INCOMING_BYTES: u32 = 16 << 20;
/// Messages waiting to go out; more than the client can hand over between two polls.
const REQUESTS: usize = 4096;
/// Records that wait for their receipt at most, while messages come in without a pause.
const MAX_READY: usize = 200;
/// Pause before connecting again.
const RETRY: Duration = Duration::from_millis(500);
/// For receipts still on their way at the end.
const GOODBYE: Duration = Duration::from_secs(2);
/// How often `on` hears of the time.
const TICK: Duration = Duration::from_millis(500);

/// What to look at, and how to get there.
#[derive(Debug, Clone)]
pub struct Options {
    /// The broker.
    pub broker: Address,
    /// TLS.
    pub files: tls::Files,
    /// `None`: every one.
    pub agency: Option<TopicLevel>,
    /// `None`: every one.
    pub site: Option<TopicLevel>,
    /// `None`: every one.
    pub camera: Option<TopicLevel>,
    /// Give receipts for what is complete (and saved, where `save_evidence` is given).
    pub receipts: bool,
    /// Records are written here as `<id>.json`, photos that came right as `<read id>-<kind>.jpg`.
    pub save_evidence: Option<PathBuf>,
    /// PEM of the authority that signs poles; `None`: the one of `files`.
    pub pole_ca: Option<PathBuf>,
    /// A folder with alert lists and what is signed of them, to be handed out.
    pub lists: Option<PathBuf>,
}

/// What the caller hears.
#[derive(Debug)]
pub enum Notice<'a> {
    /// Connected and subscribed.
    Connected,
    /// Not connected; tried again.
    Lost(&'a Cause),
    /// Something came in.
    Seen(&'a Seen),
    /// Half a second has passed.
    Tick,
    /// It ends; where each ledger stands.
    Over(&'a [LedgerState]),
}

/// Records whose receipt is due.
#[derive(Default)]
struct Ready(BTreeMap<Root, BTreeSet<Uuid>>);

impl Ready {
    fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// A receipt that can't be queued is given when the record comes again.
    fn give(&mut self, client: &AsyncClient) {
        for (root, ids) in std::mem::take(&mut self.0) {
            let ids: Vec<Uuid> = ids.into_iter().collect();
            for ids in ids.chunks(MAX_RECEIPT_IDS) {
                let receipt = Receipt { ids: ids.into(), ..Receipt::default() };
                let Ok(json) = serde_json::to_vec(&receipt) else { continue };
                let topic = root.topic(Leaf::Receipts);
                let _ = client.try_publish(topic, QoS::AtLeastOnce, false, json);
            }
        }
    }
}

/// Watches until `shutdown` is cancelled or `on` breaks off. A lost connection is made again.
///
/// # Errors
/// Where something can't be saved: then no receipt may be given.
pub async fn view(
    options: &Options,
    shutdown: &CancellationToken,
    mut on: impl FnMut(Notice<'_>, &Summary) -> ControlFlow<()>,
) -> io::Result<Summary> {
    let mut central = Central::default();
    loop {
        let end = connection(options, shutdown, &mut central, &mut on).await?;
        let Some(cause) = end else { break };
        if on(Notice::Lost(&cause), &central.summary()).is_break() {
            break;
        }
        tokio::select! {
            () = time::sleep(RETRY) => {}
            () = shutdown.cancelled() => break,
        }
    }
    let _ = on(Notice::Over(&central.ledgers()), &central.summary());
    Ok(central.summary())
}

/// Announces what a pole does not have in force, and sends what it asks for; what can't be queued is asked
/// for again.
fn hand_out(client: &AsyncClient, offers: &mut Offers, seen: &Seen) {
    let publish = |root: &Root, leaf, bytes: Vec<u8>| {
        let _ = client.try_publish(root.topic(leaf), QoS::AtLeastOnce, false, bytes);
    };
    match seen {
        Seen::Heartbeat(event) => {
            let root = event.source.root();
            for announcement in offers.news(root, &event.data) {
                publish(root, Leaf::Lists, serde_json::to_vec(announcement).unwrap_or_default());
            }
        }
        Seen::ListRequest { root, event } => {
            let request_id = event.data.request_id;
            for (part, bytes) in offers.parts(&event.data) {
                publish(root, Leaf::ListParts { request_id, part }, bytes.into());
            }
        }
        Seen::Ledger { event, .. } => {
            if let LedgerEvent::ListChange(event) = &**event {
                offers.changed(event.source.root(), &event.data);
            }
        }
        _ => {}
    }
}

/// The lists of a folder.
fn offers(folder: &Path) -> io::Result<Offers> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == Offer::SIGNED) {
            let list = fs::read(path.with_extension(Offer::LIST))?;
            let jws = fs::read_to_string(&path)?;
            let key = match fs::read_to_string(path.with_extension(Offer::KEY)) {
                Ok(key) => Some(ListKey(key.trim().into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let named = |why| io::Error::other(format!("{}: {why}", path.display()));
            found.push(Offer::new(jws.trim().into(), key, list).map_err(named)?);
        }
    }
    Ok(Offers::new(found))
}

/// `None` where it is to end, the cause where the connection was lost.
async fn connection(
    options: &Options,
    shutdown: &CancellationToken,
    central: &mut Central,
    on: &mut impl FnMut(Notice<'_>, &Summary) -> ControlFlow<()>,
) -> io::Result<Option<Cause>> {
    let tls = match tls::client_config(&options.files) {
        Ok(tls) => tls,
        Err(error) => return Ok(Some(Cause::Files(error.to_string()))),
    };
    let pole_ca = options.pole_ca.as_ref().unwrap_or(&options.files.ca);
    match identity::certificates("pole_ca", pole_ca) {
        Ok(roots) => central.trust(roots),
        Err(error) => return Ok(Some(Cause::Files(error.to_string()))),
    }
    let mut saver = options.save_evidence.clone().map(Saver::new);
    let mut offers = options.lists.as_deref().map(offers).transpose()?.unwrap_or_default();
    let mut ready = Ready::default();
    let name = format!("milepost-watch-{}", Uuid::now_v7());
    let mut mqtt = MqttOptions::new(name, options.broker.host.clone(), options.broker.port);
    mqtt.set_transport(Transport::tls_with_config(tls.into()))
        .set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(Some(MAX_INCOMING_BYTES));
    let (client, mut events) = AsyncClient::new(mqtt, REQUESTS);
    let filter =
        topics::filter(options.agency.as_ref(), options.site.as_ref(), options.camera.as_ref());
    if client.try_subscribe(filter, QoS::AtLeastOnce).is_err() {
        return Ok(Some(Cause::Protocol("the subscription could not be queued".into())));
    }
    let mut tick = time::interval(TICK);
    loop {
        // The client's `poll` must not be dropped half-way; `select!` would do that on a tick.
        let step = {
            let poll = events.poll();
            tokio::pin!(poll);
            loop {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(None),
                    step = &mut poll, if ready.len() < MAX_READY => break step,
                    // Nothing more has come in: what is ready goes out together.
                    () = std::future::ready(()), if ready.len() > 0 => {
                        if let Some(saver) = &mut saver {
                            saver.sync().await?;
                        }
                        ready.give(&client);
                    }
                    _ = tick.tick() => {
                        if on(Notice::Tick, &central.summary()).is_break() {
                            return Ok(None);
                        }
                    }
                }
            }
        };
        let publish = match step {
            Err(error) => return Ok(Some(explain(&error))),
            Ok(MqttEvent::Incoming(Incoming::SubAck(ack))) => {
                if !matches!(ack.return_codes[..], [SubscribeReasonCode::Success(_)]) {
                    return Ok(Some(Cause::NotAuthorized(format!("{:?}", ack.return_codes))));
                }
                if on(Notice::Connected, &central.summary()).is_break() {
                    return Ok(None);
                }
                continue;
            }
            Ok(MqttEvent::Incoming(Incoming::Publish(publish))) => publish,
            Ok(_) => continue,
        };
        let topic = String::from_utf8_lossy(&publish.topic);
        let seen = central.take(&topic, &publish.payload);
        let mut over = false;
        for seen in &seen {
            if let Some(saver) = &mut saver {
                saver.save(seen, &publish.payload).await?;
            }
            hand_out(&client, &mut offers, seen);
            if let Seen::Complete { root, id, .. } = seen
                && options.receipts
            {
                ready.0.entry(root.clone()).or_default().insert(*id);
            }
            over |= on(Notice::Seen(seen), &central.summary()).is_break();
        }
        if over {
            if let Some(saver) = &mut saver {
                saver.sync().await?;
            }
            ready.give(&client);
            let rest = async {
                let _ = client.try_disconnect();
                while let Ok(event) = events.poll().await {
                    if matches!(event, MqttEvent::Outgoing(Outgoing::Disconnect)) {
                        return;
                    }
                }
            };
            let _ = time::timeout(GOODBYE, rest).await;
            return Ok(None);
        }
    }
}
