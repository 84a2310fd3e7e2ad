//! A pole without a camera (outbox and uplink) and a central server, both inside the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use milepost::{
    config,
    digest::sha256_hex,
    health::{Component, Health},
    outbox::{Entry, Kind, Outbox, Photo, Setup, Signer},
    suspension::Suspension,
    uplink::{
        self,
        central::{Seen, Summary},
        viewer::{self, Notice},
    },
};
use milepost_wire::{LedgerEvent, PhotoInfo, PhotoKind, RestartCause, Root, StatusState, examples};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::{Broker, ROOT};

/// Generous: what is waited for here takes seconds.
pub const LIMIT: Duration = Duration::from_secs(90);

/// Entries that a new outbox begins its ledger with: the epoch and the start.
pub const FIRST_ENTRIES: u64 = 2;

/// The pole's topics.
#[must_use]
pub fn root() -> Root {
    Root::new(ROOT[0], ROOT[1], ROOT[2]).expect("names that may stand")
}

/// A pole without a camera: outbox and uplink.
#[derive(Debug)]
pub struct Pole {
    /// Its outbox.
    pub outbox: Outbox,
    /// What it says of itself.
    pub health: Arc<Health>,
    /// Its uplink, to be cut off under it.
    pub task: JoinHandle<()>,
    stop: CancellationToken,
}

/// Starts one with its outbox below `folder`.
#[must_use]
pub fn pole(folder: &Path, uplink: config::Uplink) -> Pole {
    pole_with(settings(folder), uplink)
}

/// An outbox below `folder` that is never full.
#[must_use]
pub fn settings(folder: &Path) -> config::Outbox {
    config::Outbox {
        directory: folder.join("outbox"),
        max_records: 100_000,
        max_photo_bytes: 1 << 30,
        max_bytes: 1 << 40,
        min_free_bytes: 0,
    }
}

/// Starts one with these limits; it signs with the key of its uplink.
#[must_use]
pub fn pole_with(settings: config::Outbox, uplink: config::Uplink) -> Pole {
    let health: Arc<Health> = Arc::default();
    let plain = Setup::plain(settings, root().source(), health.clone());
    let signer = Signer {
        certificate_file: uplink.certificate_file.clone(),
        key_file: uplink.key_file.clone(),
    };
    let directory = plain.config.directory.clone();
    let outbox = Outbox::open(Setup { signer: Some(signer), ..plain }).expect("an outbox");
    pole_of(&directory, outbox, health, uplink)
}

/// Starts the uplink of an outbox that is open already, in this folder.
#[must_use]
pub fn pole_of(
    directory: &Path,
    outbox: Outbox,
    health: Arc<Health>,
    uplink: config::Uplink,
) -> Pole {
    let [agency, site, camera] = ROOT.map(String::from);
    let site = config::Site {
        agency,
        site,
        camera,
        latitude_deg: 0.0,
        longitude_deg: 0.0,
        heading_deg: 0.0,
    };
    let stop = CancellationToken::new();
    let suspension = Arc::new(Suspension::open(directory, root().source(), health.clone()));
    let run =
        uplink::run(uplink, site, outbox.clone(), suspension, None, health.clone(), stop.clone());
    let task = tokio::spawn(async move { run.await.expect("usable settings") });
    Pole { outbox, health, stop, task }
}

/// A made-up read; its photos, of the given sizes beyond its id, are bound to it by their hashes.
#[must_use]
pub fn read(
    id: Uuid,
    captured_at: jiff::Timestamp,
    photos: &[(PhotoKind, usize)],
    fill: u8,
) -> Entry {
    let mut read = examples::read().data;
    // No boot's clock speaks for it: its age is by the wall clock.
    (read.read_id, read.captured_at, read.boot_time) = (id, captured_at, None);
    (read.evidence.plate, read.evidence.context) = (None, None);
    if photos.is_empty() {
        read.evidence.withheld_reason = Some("none was taken".into());
    }
    let mut taken = Vec::with_capacity(photos.len());
    for &(kind, bytes) in photos {
        let filled = vec![fill.wrapping_add(kind as u8); bytes];
        let jpeg = [&id.as_bytes()[..], &filled].concat();
        let info = PhotoInfo {
            sha256: sha256_hex(&jpeg),
            width_px: 1,
            height_px: 1,
            bytes: jpeg.len() as u64,
        };
        match kind {
            PhotoKind::Plate => read.evidence.plate = Some(info),
            PhotoKind::Context => read.evidence.context = Some(info),
        }
        taken.push(Photo { kind, jpeg });
    }
    Entry::read(root().source(), read, taken)
}

impl Pole {
    /// Keeps a read with photos of about the given size; its id.
    pub fn keep(&self, n: u32, photo_bytes: usize) -> Uuid {
        let id = Uuid::now_v7();
        let photos = [(PhotoKind::Plate, photo_bytes / 10 + 1), (PhotoKind::Context, photo_bytes)];
        self.outbox.keep(read(id, jiff::Timestamp::now(), &photos, n as u8)).expect("kept");
        id
    }

    /// Ids of the reads that wait for the server.
    #[must_use]
    pub fn reads_left(&self) -> Vec<Uuid> {
        let records = self.outbox.records(0, 100_000).expect("readable");
        records.iter().filter(|r| r.kind == Kind::Read).map(|r| r.id).collect()
    }

    /// Until everything is delivered.
    pub async fn drained(&self) {
        self.until("the outbox is empty", |p| p.outbox.is_empty()).await;
    }

    /// Until `holds`.
    ///
    /// # Panics
    /// After [`LIMIT`].
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(
                start.elapsed() < LIMIT,
                "never came: {what}; {} records left, {:?}",
                self.outbox.len(),
                self.health.checks()[&Component::Uplink]
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether the word on the uplink has `words`.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        self.health.checks()[&Component::Uplink].output.contains(words)
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

/// What a server has seen.
#[derive(Debug, Default)]
pub struct Log {
    /// Times each read came.
    pub reads: BTreeMap<Uuid, u32>,
    /// Reads that came with both photos, their hashes right.
    pub complete: BTreeSet<Uuid>,
    /// Places in the ledger that came.
    pub sequences: BTreeSet<u64>,
    /// Reads that came marked as old.
    pub historical: u32,
    /// Each status: online, unexpected.
    pub statuses: Vec<(bool, bool)>,
    /// Connections made.
    pub connected: u32,
    /// How the agent had ended before each of its starts.
    pub starts: Vec<RestartCause>,
}

/// A central server in the background.
#[derive(Debug)]
pub struct Server {
    /// What it has seen.
    pub log: Arc<Mutex<Log>>,
    stop: CancellationToken,
    task: JoinHandle<Summary>,
}

/// Starts one; with `receipts` it gives them.
#[must_use]
pub fn server(broker: &Broker, receipts: bool) -> Server {
    let options = viewer::Options {
        broker: broker.address(),
        files: broker.files("server"),
        agency: None,
        site: None,
        camera: None,
        receipts,
        save_evidence: None,
        pole_ca: None,
        lists: None,
    };
    let log: Arc<Mutex<Log>> = Arc::default();
    let stop = CancellationToken::new();
    let (shared, token) = (log.clone(), stop.clone());
    let task = tokio::spawn(async move {
        let on = move |notice: Notice<'_>, _: &Summary| {
            let mut log = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match notice {
                Notice::Connected => log.connected += 1,
                Notice::Seen(Seen::Read { event, .. }) => {
                    *log.reads.entry(event.id).or_default() += 1;
                    log.sequences.insert(event.ledger().expect("a place in the ledger").sequence);
                    log.historical += u32::from(event.historical.expect("marked or not"));
                }
                Notice::Seen(Seen::Complete { id, .. }) if log.reads.contains_key(id) => {
                    log.complete.insert(*id);
                }
                Notice::Seen(Seen::Ledger { event, duplicate: false }) => {
                    if let LedgerEvent::Restart(event) = &**event {
                        log.starts.push(event.data.after);
                    }
                }
                Notice::Seen(Seen::Status(event)) => {
                    let online = event.data.state == StatusState::Online;
                    log.statuses.push((online, event.data.unexpected));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        };
        viewer::view(&options, &token, on).await.expect("nothing to save")
    });
    Server { log, stop, task }
}

impl Server {
    /// Until `holds`.
    ///
    /// # Panics
    /// After [`LIMIT`].
    pub async fn until(&self, what: &str, holds: impl Fn(&Log) -> bool) {
        let start = Instant::now();
        while !holds(&self.log.lock().unwrap_or_else(PoisonError::into_inner)) {
            assert!(start.elapsed() < LIMIT, "never came: {what}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it; what it counted.
    pub async fn stop(self) -> Summary {
        self.stop.cancel();
        self.task.await.expect("no panic")
    }
}
