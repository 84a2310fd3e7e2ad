//! A pole, a bad line, a real broker and a central server, with reads kept all the time.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use harness::{
    broker::Broker,
    pole::{Pole, Server, pole, server},
    proxy::Proxy,
};
use milepost::{config, health::Component, uplink::central::Summary};
use tokio::{task::JoinHandle, time::sleep};
use uuid::Uuid;

use crate::child::read;

/// Pause between two reads.
const PAUSE: Duration = Duration::from_millis(80);
/// For everything to arrive once all is well.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);
/// How often something is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A rig, running.
pub struct Rig {
    /// The broker.
    pub broker: Broker,
    /// The line to it.
    pub proxy: Proxy,
    /// Who sends.
    pub pole: Pole,
    server: Server,
    kept: Arc<Mutex<BTreeSet<Uuid>>>,
    pause: Arc<AtomicBool>,
    keeper: JoinHandle<()>,
}

impl Rig {
    /// Starts one below `folder`.
    pub async fn start(folder: &Path) -> Self {
        let broker = tokio::task::block_in_place(|| Broker::start(folder, ""));
        let proxy = Proxy::start(broker.address()).await;
        let server = server(&broker, true);
        let uplink = config::Uplink { broker: proxy.address(), ..broker.uplink() };
        let pole = pole(folder, uplink);
        let (kept, pause) = (Arc::default(), Arc::default());
        let keeper = tokio::spawn(keep(pole.outbox.clone(), Arc::clone(&kept), Arc::clone(&pause)));
        Self { broker, proxy, pole, server, kept, pause, keeper }
    }

    /// Connections that the pole has made.
    pub fn connections(&self) -> u64 {
        self.pole.health.metrics.uplink_connections.get()
    }

    /// Waits until the pole has made more than `connections` and the broker acknowledges on the
    /// present one; how long that took. `None` after `limit`.
    pub async fn live_again(&self, connections: u64, limit: Duration) -> Option<Duration> {
        let metrics = &self.pole.health.metrics;
        let start = Instant::now();
        let mut before = None;
        loop {
            if start.elapsed() > limit {
                return None;
            }
            let published = metrics.uplink_published.get();
            let connected = metrics.uplink_connected.get() == 1;
            match before {
                _ if !connected || self.connections() <= connections => before = None,
                None => before = Some(published),
                Some(before) if published > before => return Some(start.elapsed()),
                Some(_) => {}
            }
            sleep(LOOK).await;
        }
    }

    /// What the pole says of its uplink.
    pub fn word(&self) -> String {
        self.pole.health.checks()[&Component::Uplink].output.clone()
    }

    /// Deletes the newest record as if it were delivered, for the control.
    pub fn forget_newest(&self) {
        let last = self.pole.outbox.position().last_sequence;
        let _ = self.pole.outbox.delivered(vec![last]);
    }

    /// Stops keeping, waits until everything has arrived and gives what did not hold.
    pub async fn finish(self) -> (Vec<String>, Arrived) {
        self.pause.store(true, Ordering::SeqCst);
        let _ = self.keeper.await;
        let mut wrong = Vec::new();
        let start = Instant::now();
        while !self.pole.outbox.is_empty() {
            if start.elapsed() > DRAIN_LIMIT {
                wrong.push(format!(
                    "{} records were still there {} s after the last fault; the pole says: {}",
                    self.pole.outbox.len(),
                    DRAIN_LIMIT.as_secs(),
                    self.pole.health.checks()[&Component::Uplink].output
                ));
                break;
            }
            sleep(LOOK).await;
        }
        self.pole.stop().await;
        let log =
            std::mem::take(&mut *self.server.log.lock().unwrap_or_else(PoisonError::into_inner));
        let summary = self.server.stop().await;
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let lost = kept.iter().filter(|id| !log.reads.contains_key(id)).count();
        let bare = kept.iter().filter(|id| !log.complete.contains(id)).count();
        let invented = log.reads.keys().filter(|id| !kept.contains(id)).count();
        let Summary { distinct, duplicates, gaps, bad_photos, bad, .. } = summary;
        for (count, what) in [
            (lost as u64, "kept and never came"),
            (bare as u64, "came without their photos"),
            (invented as u64, "came and were never kept"),
            (gaps, "numbers that nothing accounts for"),
            (bad_photos, "photos with a wrong hash"),
            (bad, "messages that are not of the contract"),
            (
                (kept.len() as u64).abs_diff(distinct),
                "more or fewer different reads than were kept",
            ),
        ] {
            if count > 0 {
                wrong.push(format!("{count} {what}"));
            }
        }
        let lost = lost as u64;
        (wrong, Arrived { kept: kept.len() as u64, duplicates, lost })
    }
}

/// What came in the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrived {
    /// Reads kept.
    pub kept: u64,
    /// Messages that came again.
    pub duplicates: u64,
    /// Reads that never came.
    pub lost: u64,
}

async fn keep(
    outbox: milepost::outbox::Outbox,
    kept: Arc<Mutex<BTreeSet<Uuid>>>,
    pause: Arc<AtomicBool>,
) {
    while !pause.load(Ordering::SeqCst) {
        let (id, size) = (Uuid::now_v7(), rand::random_range(1_000..20_000));
        let outbox = outbox.clone();
        let keep = move || outbox.keep(read(id, jiff::Timestamp::now(), size));
        let done = tokio::task::spawn_blocking(keep).await;
        done.expect("no panic").expect("a good disk keeps");
        kept.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        sleep(PAUSE).await;
    }
}
