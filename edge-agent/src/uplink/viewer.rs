//! A subscriber that behaves like a central server, for `milepost watch` and for tests.

use std::{ops::ControlFlow, path::PathBuf, time::Duration};

use milepost_wire::{Leaf, Receipt, Root, TopicLevel, topics};
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
    central::{Central, Seen, Summary},
    tls,
};

const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Largest message that is read.
const MAX_INCOMING_BYTES: u32 = 16 << 20;
/// Receipts waiting to go out; more than the client can hand over between two polls.
const REQUESTS: usize = 4096;
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
    /// Photos that came right are written here, as `<read id>-<kind>.jpg`.
    pub save_evidence: Option<PathBuf>,
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
}

/// Watches until `shutdown` is cancelled or `on` breaks off. A lost connection is made again.
///
/// # Errors
/// Where a photo can't be saved: then no receipt may be given.
pub async fn view(
    options: &Options,
    shutdown: &CancellationToken,
    mut on: impl FnMut(Notice<'_>, &Summary) -> ControlFlow<()>,
) -> std::io::Result<Summary> {
    let mut central = Central::default();
    loop {
        let end = connection(options, shutdown, &mut central, &mut on).await?;
        let Some(cause) = end else { return Ok(central.summary()) };
        if on(Notice::Lost(&cause), &central.summary()).is_break() {
            return Ok(central.summary());
        }
        tokio::select! {
            () = time::sleep(RETRY) => {}
            () = shutdown.cancelled() => return Ok(central.summary()),
        }
    }
}

/// `None` where it is to end, the cause where the connection was lost.
async fn connection(
    options: &Options,
    shutdown: &CancellationToken,
    central: &mut Central,
    on: &mut impl FnMut(Notice<'_>, &Summary) -> ControlFlow<()>,
) -> std::io::Result<Option<Cause>> {
    let tls = match tls::client_config(&options.files) {
        Ok(tls) => tls,
        Err(error) => return Ok(Some(Cause::Files(error.to_string()))),
    };
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
                    step = &mut poll => break step,
                    _ = tick.tick() => {
                        if on(Notice::Tick, &central.summary()).is_break() {
                            return Ok(None);
                        }
                    }
                    () = shutdown.cancelled() => return Ok(None),
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
            match seen {
                Seen::Photo { read_id, kind, verified: true } => {
                    if let Some(folder) = &options.save_evidence {
                        let file = folder.join(format!("{read_id}-{}.jpg", kind.name()));
                        std::fs::write(file, &publish.payload)?;
                    }
                }
                Seen::Complete { root, id, .. } if options.receipts => {
                    // A receipt that can't be queued is given when the record comes again.
                    let _ = give_receipt(&client, root, *id);
                }
                _ => {}
            }
            over |= on(Notice::Seen(seen), &central.summary()).is_break();
        }
        if over {
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

fn give_receipt(client: &AsyncClient, root: &Root, id: Uuid) -> bool {
    let receipt = Receipt { ids: vec![id], ..Receipt::default() };
    let Ok(json) = serde_json::to_vec(&receipt) else { return false };
    client.try_publish(root.topic(Leaf::Receipts), QoS::AtLeastOnce, false, json).is_ok()
}
