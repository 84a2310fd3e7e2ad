//! Promise: a server that does what `docs/reference/wire` says has every read once with its photos,
//! knows what was given up, and can prove by the pole's signature that nothing else is missing and
//! nothing was changed on the way.
//!
//! This is the example for a server's author: [`consume`] is all that a server does, and [`Central`]
//! is the part to copy. The connection, receipts and saving are `milepost::uplink::viewer`'s.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use harness::{
    broker::Broker,
    pole::{FIRST_ENTRIES, LIMIT, Pole, pole_with, settings},
};
use milepost::{
    config,
    digest::sha256_hex,
    identity,
    outbox::ManifestRequest,
    uplink::{
        central::{
            Central, Seen, Summary,
            verdict::{LedgerState, Verdict, Waits},
        },
        tls,
        viewer::{self, Notice},
    },
};
use milepost_wire::{
    Event, Header, Leaf, LedgerEvent, PhotoKind, Read, SequenceRange, Topic, topics,
};
use rumqttc::{
    Transport,
    v5::{AsyncClient, Event as MqttEvent, Incoming, MqttOptions, mqttbytes::QoS},
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Reads kept, and how many of them the outbox has room for.
const READS: u32 = 60;
const ROOM: u64 = 40;

/// What the server has come to know.
#[derive(Debug, Default)]
struct Knowledge {
    connected: bool,
    /// Reads that are stored with every photo.
    complete: Vec<Uuid>,
    /// The last word on each manifest: first and last sequence, verdict.
    manifests: Vec<(u64, u64, Verdict)>,
    /// Numbers of records that evictions name, some twice: one eviction is taken into the next.
    given_up: BTreeSet<u64>,
    /// Numbers of evictions that came, although the next one took them in.
    came: BTreeSet<u64>,
    /// Stretches that it has to ask the pole a manifest of.
    to_ask: Vec<SequenceRange>,
    /// Where each ledger stood at the end.
    ledgers: Vec<LedgerState>,
}

/// A server: takes everything, stores it below `store`, gives receipts, checks the ledger.
fn consume(
    broker: &Broker,
    store: &Path,
    stop: CancellationToken,
) -> (Arc<Mutex<Knowledge>>, JoinHandle<Summary>) {
    let options = viewer::Options {
        broker: broker.address(),
        files: broker.files("server"),
        agency: None,
        site: None,
        camera: None,
        receipts: true,
        save_evidence: Some(store.into()),
        pole_ca: Some(broker.files("server").ca),
        lists: None,
    };
    let knowledge = Arc::<Mutex<Knowledge>>::default();
    let shared = knowledge.clone();
    let on = move |notice: Notice<'_>, _: &Summary| {
        let mut known = shared.lock().unwrap();
        match notice {
            Notice::Connected => known.connected = true,
            Notice::Seen(Seen::Complete { id, new_read: true, .. }) => known.complete.push(*id),
            Notice::Seen(Seen::Manifest { from, to, verdict, ask_for, .. }) => {
                known.manifests.retain(|(f, t, _)| (f, t) != (from, to));
                known.manifests.push((*from, *to, verdict.clone()));
                known.to_ask.extend(ask_for);
            }
            Notice::Seen(Seen::Ledger { event, duplicate: false }) => {
                if let LedgerEvent::Eviction(event) = &**event {
                    known.given_up.extend(event.data.sequences.iter().flat_map(|r| r.from..=r.to));
                    known.came.extend(event.ledger().map(|l| l.sequence));
                }
            }
            Notice::Over(ledgers) => known.ledgers = ledgers.to_vec(),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let task = tokio::spawn(async move { viewer::view(&options, &stop, on).await.unwrap() });
    (knowledge, task)
}

type Captured = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Everything that goes over the broker, as one in the middle would have it.
async fn capture(broker: &Broker) -> Captured {
    let tls = tls::client_config(&broker.files("server")).unwrap();
    let address = broker.address();
    let mut mqtt = MqttOptions::new("capture", address.host, address.port);
    mqtt.set_transport(Transport::tls_with_config(tls.into())).set_max_packet_size(Some(16 << 20));
    let (client, mut events) = AsyncClient::new(mqtt, 10);
    client.try_subscribe(topics::filter(None, None, None), QoS::AtLeastOnce).unwrap();
    let (captured, ready) = (Captured::default(), Arc::new(tokio::sync::Notify::new()));
    let (shared, subscribed) = (captured.clone(), ready.clone());
    tokio::spawn(async move {
        let _client = client;
        while let Ok(event) = events.poll().await {
            match event {
                MqttEvent::Incoming(Incoming::SubAck(_)) => subscribed.notify_one(),
                MqttEvent::Incoming(Incoming::Publish(message)) => {
                    let topic = String::from_utf8(message.topic.to_vec()).unwrap();
                    shared.lock().unwrap().push((topic, message.payload.to_vec()));
                }
                _ => {}
            }
        }
    });
    ready.notified().await;
    captured
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "never came: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn ask(pole: &Pole, from: u64, to: u64) {
    let request = ManifestRequest { from, to, command_id: Some(Uuid::now_v7()) };
    let outbox = pole.outbox.clone();
    tokio::task::spawn_blocking(move || outbox.manifest(request)).await.unwrap().unwrap();
}

/// A server that got these.
fn fed(roots: &Path, messages: impl IntoIterator<Item = (String, Vec<u8>)>) -> Central {
    let mut central = Central::default();
    central.trust(identity::certificates("ca", roots).unwrap());
    for (topic, payload) in messages {
        central.take(&topic, &payload);
    }
    central
}

fn is_read(topic: &str) -> bool {
    topic.parse::<Topic>().unwrap().leaf == Leaf::Reads
}

fn sequence(payload: &[u8]) -> u64 {
    Header::from_json(payload).unwrap().ledger().unwrap().sequence
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_has_every_read_and_proves_it_and_finds_out_what_was_changed() {
    let scratch = tempfile::tempdir().unwrap();
    let (broker, store) = (Broker::start(scratch.path(), ""), scratch.path().join("store"));
    fs::create_dir(&store).unwrap();

    // Nobody listens: the outbox fills up and gives up its oldest reads.
    let limits = config::Outbox { max_records: ROOM, ..settings(scratch.path()) };
    let pole = pole_with(limits, broker.uplink());
    let kept: Vec<Uuid> = (0..READS).map(|n| pole.keep(n, 2_000)).collect();
    let left = pole.reads_left();
    assert!(left.len() < kept.len() && left.len() as u64 <= ROOM, "{}", left.len());

    // The server comes, gets what there is, and asks for a manifest of it.
    let captured = capture(&broker).await;
    let stop = CancellationToken::new();
    let (known, server) = consume(&broker, &store, stop.clone());
    until("the server is connected", || known.lock().unwrap().connected).await;
    until("all reads", || known.lock().unwrap().complete.len() == left.len()).await;
    let last = pole.outbox.position().last_sequence;
    ask(&pole, 1, last).await;

    // What came before the gap hangs in the air: it asks for a manifest of just that.
    let between = (1, last, Verdict::Open(Waits::Between));
    until("what to ask for", || known.lock().unwrap().manifests.contains(&between)).await;
    let to_ask = std::mem::take(&mut known.lock().unwrap().to_ask);
    assert_eq!(to_ask[0], SequenceRange { from: 1, to: FIRST_ENTRIES });
    for SequenceRange { from, to } in to_ask {
        ask(&pole, from, to).await;
    }
    let all = (1, last, Verdict::Verified);
    until("the whole ledger is verified", || known.lock().unwrap().manifests.contains(&all)).await;
    pole.drained().await;
    stop.cancel();
    let summary = server.await.unwrap();
    pole.stop().await;

    assert_eq!(summary.complete, left.len() as u64);
    let wrong = (summary.gaps, summary.wrong_manifests, summary.conflicts, summary.bad_photos);
    assert_eq!((wrong, summary.bad), ((0, 0, 0, 0), 0));
    // The reads, and evictions that were taken into the one that came.
    let given_up = {
        let known = known.lock().unwrap();
        known.given_up.difference(&known.came).count() as u64
    };
    assert!(given_up >= (kept.len() - left.len()) as u64);
    // Every number is verified or given up; some are both, as they came before they went.
    assert!((last - given_up..=last).contains(&summary.verified), "{summary:?}, {given_up}");
    stored(&store, &left);
    let ledger = known.lock().unwrap().ledgers[0].clone();
    assert_eq!(ledger.verified_ranges[0], SequenceRange { from: 1, to: FIRST_ENTRIES });
    assert!(ledger.ask_for.is_empty() && ledger.missing_ranges.is_empty(), "{ledger:?}");

    // One in the middle: what it does to any message is found out.
    let ca = broker.files("server").ca;
    until("everything is captured", || {
        let messages = captured.lock().unwrap().clone();
        fed(&ca, messages).summary().verified == summary.verified
    })
    .await;
    tampered(&ca, &captured.lock().unwrap().clone());
}

/// Every read is on disk with its photos as they were when it was captured.
fn stored(store: &Path, reads: &[Uuid]) {
    for id in reads {
        let json = fs::read(store.join(format!("{id}.json"))).unwrap();
        let read = Event::<Read>::from_json(&json).unwrap();
        for kind in PhotoKind::ALL {
            let jpeg = fs::read(store.join(format!("{id}-{}.jpg", kind.name()))).unwrap();
            assert_eq!(sha256_hex(&jpeg), read.data.evidence.photo(kind).unwrap().sha256);
        }
    }
}

fn tampered(ca: &Path, messages: &[(String, Vec<u8>)]) {
    let honest = fed(ca, messages.to_vec());
    let backwards = fed(ca, messages.iter().rev().cloned());
    assert_eq!(backwards.ledgers()[0].verified_chain, honest.ledgers()[0].verified_chain);
    let (verified, manifests) = (honest.summary().verified, honest.summary().verified_manifests);
    assert!(manifests >= 2);

    let mut reads: Vec<u64> =
        messages.iter().filter(|(t, _)| is_read(t)).map(|(_, p)| sequence(p)).collect();
    reads.sort_unstable();
    reads.dedup();
    // Among the newest: older ones may have come and been given up afterwards.
    let (victim, other) = (reads[reads.len() - 8], reads[reads.len() - 4]);
    let number = |n: u64| format!("\"sequence\":\"{n:020}\"");
    let altered = |change: &dyn Fn(String) -> Option<String>| {
        let message = |(topic, payload): &(String, Vec<u8>)| {
            if !is_read(topic) {
                return Some((topic.clone(), payload.clone()));
            }
            let text = String::from_utf8(payload.clone()).unwrap();
            change(text).map(|text| (topic.clone(), text.into_bytes()))
        };
        fed(ca, messages.iter().filter_map(message)).summary()
    };
    let is = |text: &str, n: u64| text.contains(&number(n));

    let changed = altered(&|text| {
        Some(if is(&text, victim) { text.replace("8MPX402", "8MPX403") } else { text })
    });
    assert!(changed.wrong_manifests > 0 && changed.verified < verified, "{changed:?}");

    let dropped = altered(&|text| (!is(&text, victim)).then_some(text));
    assert_eq!((dropped.gaps, dropped.wrong_manifests), (1, 0), "{dropped:?}");
    assert!(dropped.open_manifests > 0 && dropped.verified < verified, "{dropped:?}");

    let swapped = altered(&|text| {
        Some(match (is(&text, victim), is(&text, other)) {
            (true, _) => text.replace(&number(victim), &number(other)),
            (_, true) => text.replace(&number(other), &number(victim)),
            _ => text,
        })
    });
    assert!(swapped.wrong_manifests > 0 && swapped.verified < verified, "{swapped:?}");

    // The true one comes first, and then another with its number.
    let mut twice = messages.to_vec();
    let (topic, payload) =
        messages.iter().find(|(t, p)| is_read(t) && sequence(p) == victim).cloned().unwrap();
    let text = String::from_utf8(payload).unwrap().replace("8MPX402", "8MPX403");
    twice.push((topic, text.into_bytes()));
    let twice = fed(ca, twice).summary();
    assert_eq!((twice.conflicts, twice.verified), (1, verified));
}
