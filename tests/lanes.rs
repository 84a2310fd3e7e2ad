//! Promise: after days without a line a new read is with the server at once, while what waited
//! drains beside it, in order, each once; an alert goes before every newer read; and a used-up cap of photos
//! holds back no read.
//!
//! `MILEPOST_BACKLOG` sets the records that wait (default 3000), `MILEPOST_PHOTO_BYTES` the size of
//! their context photos (default none): for measuring.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use harness::{
    broker::Broker,
    pole::{FIRST_ENTRIES, pole_of, read, root, settings},
};
use jiff::{SignedDuration, Timestamp};
use milepost::{
    config,
    health::{Component, Health, Status},
    outbox::{Entry, Outbox, Setup},
    uplink::{
        central::{Seen, Summary},
        viewer::{self, Notice},
    },
};
use milepost_wire::{Alert, PhotoKind, examples};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A context photo of 5000 bytes, its id in it and sealed.
const SEALED_CONTEXT: i64 = 5_000 + 16 + 37;

/// Generous: everything below takes seconds.
const LIMIT: Duration = Duration::from_secs(90);
/// Generous; the target is 2 s.
const LIVE_LIMIT: Duration = Duration::from_secs(10);
/// Threads that fill the outbox; they share its commits.
const FILLERS: u32 = 32;

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn open(folder: &Path, health: &Arc<Health>) -> Outbox {
    let limits =
        config::Outbox { max_records: 1_000_000, max_photo_bytes: 4 << 30, ..settings(folder) };
    Outbox::open(Setup::plain(limits, root().source(), health.clone())).unwrap()
}

/// Keeps a read of so long ago, with photos of so many bytes.
fn keep(outbox: &Outbox, age: Duration, photos: &[(PhotoKind, usize)]) -> Uuid {
    let id = Uuid::now_v7();
    let at = Timestamp::now() - SignedDuration::try_from(age).unwrap();
    outbox.keep(read(id, at, photos, 7)).unwrap();
    id
}

struct Arrived {
    at: Instant,
    sequence: u64,
    historical: bool,
}

/// What the server got, in the order of its coming.
#[derive(Default)]
struct Log {
    order: Vec<Uuid>,
    reads: HashMap<Uuid, Arrived>,
    twice: u32,
    connected: bool,
}

struct Server {
    log: Arc<Mutex<Log>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Summary>,
}

async fn server(broker: &Broker) -> Server {
    let options = viewer::Options {
        broker: broker.address(),
        files: broker.files("server"),
        agency: None,
        site: None,
        camera: None,
        receipts: true,
        save_evidence: None,
        pole_ca: None,
        lists: None,
    };
    let (log, stop) = (Arc::<Mutex<Log>>::default(), CancellationToken::new());
    let (shared, token) = (log.clone(), stop.clone());
    let task = tokio::spawn(async move {
        let on = move |notice: Notice<'_>, _: &Summary| {
            let mut log = shared.lock().unwrap();
            match notice {
                Notice::Connected => log.connected = true,
                Notice::Seen(Seen::Read { event, duplicate }) => {
                    log.twice += u32::from(*duplicate);
                    let arrived = Arrived {
                        at: Instant::now(),
                        sequence: event.ledger().unwrap().sequence,
                        historical: event.historical.unwrap(),
                    };
                    if !duplicate {
                        log.order.push(event.id);
                        log.reads.insert(event.id, arrived);
                    }
                }
                Notice::Seen(Seen::Alert { event, .. }) => log.order.push(event.id),
                _ => {}
            }
            ControlFlow::Continue(())
        };
        viewer::view(&options, &token, on).await.unwrap()
    });
    let server = Server { log, stop, task };
    until("the server is connected", LIMIT, || server.log.lock().unwrap().connected).await;
    server
}

async fn until(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "never came: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn resident_mib() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / f64::from(1 << 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_read_is_there_at_once_while_days_of_reads_drain_in_order() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "max_queued_messages 10000");
    let (waiting, photo) = (number("MILEPOST_BACKLOG", 3000), number("MILEPOST_PHOTO_BYTES", 0));
    let health: Arc<Health> = Arc::default();
    let outbox = open(scratch.path(), &health);
    let photos: Vec<_> =
        (photo > 0).then_some((PhotoKind::Context, photo as usize)).into_iter().collect();
    std::thread::scope(|scope| {
        for _ in 0..FILLERS {
            scope.spawn(|| {
                for _ in 0..waiting / FILLERS {
                    keep(&outbox, Duration::from_secs(3600), &photos);
                }
            });
        }
    });
    let waiting = u64::from(waiting / FILLERS * FILLERS);
    // And the ledger's own first entries.
    assert_eq!(outbox.len(), waiting + FIRST_ENTRIES);
    let server = server(&broker).await;
    let before = resident_mib();
    // Some minutes of reads are live still when the line comes back.
    let fresh: Vec<_> = (0..40).map(|_| keep(&outbox, Duration::from_secs(60), &[])).collect();
    let uplink = config::Uplink { resend_after: Duration::from_secs(600), ..broker.uplink() };
    let (start, pole) = (
        Instant::now(),
        pole_of(&settings(scratch.path()).directory, outbox.clone(), health.clone(), uplink),
    );
    let (mut live, mut most, mut drained) = (Vec::new(), before, None);
    let photos = [(PhotoKind::Plate, 8_000), (PhotoKind::Context, 100_000)];
    while drained.is_none() || live.len() < 10 {
        let (outbox, kept) = (pole.outbox.clone(), Instant::now());
        let id = tokio::task::spawn_blocking(move || keep(&outbox, Duration::ZERO, &photos));
        live.push((id.await.unwrap(), kept));
        sleep(Duration::from_millis(250)).await;
        most = most.max(resident_mib());
        let backlog = pole.health.metrics.uplink_backlog_events.get();
        drained = drained.or((backlog >= waiting).then(|| start.elapsed()));
        assert!(start.elapsed() < LIMIT + Duration::from_millis(20) * waiting as u32, "{backlog}");
    }
    until("the outbox is empty", LIMIT, || pole.outbox.is_empty()).await;
    pole.stop().await;

    let log = std::mem::take(&mut *server.log.lock().unwrap());
    let mut delays: Vec<Duration> =
        live.iter().map(|(id, kept)| log.reads[id].at.duration_since(*kept)).collect();
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    println!(
        "{waiting} waited; drained in {:?}, {:.0} a second; {} live reads meanwhile, kept to received \
         p50 {:?} p95 {:?} p99 {:?} max {:?}; resident {before:.0} MiB before, {most:.0} at most",
        drained.unwrap(),
        waiting as f64 / drained.unwrap().as_secs_f64(),
        delays.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
    );
    assert!(at(1.0) < LIVE_LIMIT);
    let old: Vec<u64> = log
        .order
        .iter()
        .map(|id| &log.reads[id])
        .filter(|r| r.historical)
        .map(|r| r.sequence)
        .collect();
    let waited = FIRST_ENTRIES + 1..=FIRST_ENTRIES + waiting;
    assert!(old.iter().copied().eq(waited), "the backlog in order, marked as such");
    assert_eq!(log.reads.len() as u64, waiting + (fresh.len() + live.len()) as u64);
    assert_eq!(log.twice, 0);
    let place = |id| log.order.iter().position(|o| o == id).unwrap();
    assert!(place(&fresh[39]) < place(&fresh[0]), "while behind, the newest goes first");
    server.stop.cancel();
    server.task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_of_a_short_outage_is_there_before_every_read_that_came_after_it() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "max_queued_messages 10000");
    let server = server(&broker).await;
    let health: Arc<Health> = Arc::default();
    let outbox = open(scratch.path(), &health);
    let captured_at = Timestamp::now() - SignedDuration::from_secs(120);
    let alert = Alert { captured_at, boot_time: None, ..examples::alert().data };
    let alert_id = alert.alert_id;
    outbox.keep(Entry::alert(root().source(), alert)).unwrap();
    for _ in 0..300 {
        keep(&outbox, Duration::from_secs(60), &[]);
    }
    let pole = pole_of(
        &settings(scratch.path()).directory,
        outbox.clone(),
        health.clone(),
        broker.uplink(),
    );
    until("everything", LIMIT, || server.log.lock().unwrap().order.len() == 301).await;
    assert_eq!(server.log.lock().unwrap().order[0], alert_id);
    pole.stop().await;
    server.stop.cancel();
    server.task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_cap_of_context_photos_holds_back_no_read_and_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "");
    let server = server(&broker).await;
    let health: Arc<Health> = Arc::default();
    let outbox = open(scratch.path(), &health);
    let uplink = config::Uplink {
        caps: config::Caps { contexts: Some(10_000), ..config::Caps::default() },
        resend_after: Duration::from_secs(1),
        ..broker.uplink()
    };
    let photos = [(PhotoKind::Plate, 500), (PhotoKind::Context, 5_000)];
    for _ in 0..30 {
        keep(&outbox, Duration::ZERO, &photos);
    }
    let pole = pole_of(&settings(scratch.path()).directory, outbox.clone(), health.clone(), uplink);
    until("every read", LIMIT, || server.log.lock().unwrap().reads.len() == 30).await;
    let metrics = &pole.health.metrics;
    until("what is held back is counted", LIMIT, || {
        let (close_ups, held) =
            (&metrics.uplink_close_up_bytes, &metrics.uplink_held_back_messages);
        close_ups.get() > 30 * 500 && held.get() == 29
    })
    .await;
    assert_eq!(metrics.uplink_held_back_bytes.get(), 29 * SEALED_CONTEXT);
    until("the cap is named", LIMIT, || {
        let check = pole.health.checks()[&Component::Uplink].clone();
        check.status == Status::Pass && check.output.contains("context_bytes_per_hour")
    })
    .await;
    // Past two resends: what waits only for its photo is not sent again.
    sleep(Duration::from_secs(3)).await;
    assert_eq!(server.log.lock().unwrap().twice, 0);
    assert_eq!(metrics.uplink_resent.get(), 0);
    pole.stop().await;
    server.stop.cancel();
    server.task.await.unwrap();
}

/// A forwarder to the broker that passes so many bytes a second towards it.
async fn slow_line(port: u16, bytes_per_s: usize) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let to = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((mut up, mut down), (mut back, mut on)) = (from.into_split(), to.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut back, &mut down).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; bytes_per_s / 20];
                while let Ok(n @ 1..) = up.read(&mut bytes).await {
                    sleep(Duration::from_secs_f64(n as f64 / bytes_per_s as f64)).await;
                    if on.write_all(&bytes[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    here
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_slow_line_a_new_read_does_not_wait_for_the_backlogs_photos() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "");
    let server = server(&broker).await;
    let health: Arc<Health> = Arc::default();
    let outbox = open(scratch.path(), &health);
    for _ in 0..120 {
        keep(&outbox, Duration::from_secs(3600), &[(PhotoKind::Context, 50_000)]);
    }
    // 512 kbit/s: the backlog's photos alone take a minute and a half.
    let port = slow_line(broker.address().port, 64_000).await;
    let uplink = config::Uplink {
        broker: format!("localhost:{port}"),
        resend_after: Duration::from_secs(600),
        ..broker.uplink()
    };
    let pole = pole_of(&settings(scratch.path()).directory, outbox.clone(), health.clone(), uplink);
    let mut delays = Vec::new();
    for _ in 0..10 {
        sleep(Duration::from_secs(1)).await;
        let (outbox, kept) = (pole.outbox.clone(), Instant::now());
        let id = tokio::task::spawn_blocking(move || keep(&outbox, Duration::ZERO, &[]));
        let id = id.await.unwrap();
        until("the new read", LIMIT, || server.log.lock().unwrap().reads.contains_key(&id)).await;
        delays.push(server.log.lock().unwrap().reads[&id].at.duration_since(kept));
    }
    println!("on a slow line, kept to received: {delays:?}");
    assert!(pole.outbox.len() > 10, "there was a backlog all the time");
    assert!(*delays.iter().max().unwrap() < LIVE_LIMIT);
    pole.stop().await;
    server.stop.cancel();
    server.task.await.unwrap();
}
