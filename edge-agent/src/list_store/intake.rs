//! What the server says of lists: an announcement is checked, its list asked for part by part, taken in, and what
//! became of it entered into the ledger; dispositions of alerts are counted.
//!
//! One thread, `lists`: taking in a list of millions takes seconds, and the uplink goes on meanwhile. What
//! comes in while it is busy is dropped where too much waits: parts are asked for again, and a server
//! announces again what a heartbeat shows not to be in force.
//!
//! How it fails: every refusal is an entry of the ledger with its reason ([`ListChange`]), the same one once
//! an hour at most.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use milepost_wire::{
    ListAnnouncement, ListChange, ListKey, ListOutcome, ListRequest, ListVersion, Root,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, mpsc as task};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{ListError, ListStore, dispositions::Dispositions, incoming::Incoming};
use crate::{
    audit::{self, Look},
    identity::{self, IdentityError},
    lists::{
        Report,
        blind::{Key, NoKey},
    },
    outbox::{Entry, Outbox},
};

/// Messages of the server's that wait for the thread: 4 MB of parts.
const WAITING: usize = 64;
/// Requests that wait for the uplink.
const REQUESTS: usize = 16;
/// How often it looks for what is due.
const TICK: Duration = Duration::from_secs(1);
/// How often it says how old the lists are.
const REPORT: Duration = Duration::from_secs(30);
/// The same refusal is entered again after so long.
const REFUSED_AGAIN: Duration = Duration::from_secs(3600);
/// Refusals entered in that time; more are counted only.
const MAX_REFUSED: usize = 20;
/// Longest reason, in characters.
const MAX_WHY: usize = 400;

/// What the uplink hands on.
pub enum FromServer {
    /// It is connected.
    Connected,
    /// What came on `lists`.
    Announcement(Vec<u8>),
    /// What came on `list_parts`.
    Part {
        /// The request that asked for it.
        request_id: Uuid,
        /// Which.
        part: u32,
        /// It.
        bytes: Vec<u8>,
    },
    /// What came on `dispositions`.
    Disposition(Vec<u8>),
}

/// The uplink's end.
pub struct Link {
    /// The lists in force.
    pub store: Arc<ListStore>,
    to: mpsc::SyncSender<FromServer>,
    requests: Mutex<task::Receiver<ListRequest>>,
}

impl Link {
    /// The next thing to be asked of the server; never, once the thread has ended. May be dropped and
    /// called again.
    pub async fn request(&self) -> ListRequest {
        match self.requests.lock().await.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }

    /// Hands a message on; where too much waits it is dropped.
    pub fn give(&self, message: FromServer) {
        let is_disposition = matches!(message, FromServer::Disposition(_));
        if self.to.try_send(message).is_ok() {
            return;
        }
        if is_disposition {
            tracing::warn!("a disposition was dropped: the lists' thread is busy");
            self.store.health.metrics.dispositions_ignored.inc();
        } else {
            tracing::debug!("what the server said of lists was dropped: their thread is busy");
        }
    }
}

/// Why an announced list is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Announcement(#[from] milepost_wire::ListAnnouncementError),
    #[error("{0}")]
    Signature(#[from] IdentityError),
    #[error("no authority for lists is configured: set lists.authority_file")]
    NoAuthority,
    #[error("it is for the poles of {0}")]
    Audience(String),
    #[error("it is blind, and no key came with it: announce it with its key")]
    KeyMissing,
    #[error("{0}")]
    NoKey(#[from] NoKey),
    #[error("its key is not the one that was signed for")]
    OtherKey,
    #[error("{0}")]
    List(#[from] ListError),
}

/// Starts the thread; it ends when the link is dropped. `directory` is the outbox's.
///
/// # Errors
/// Where no thread can be made, or a damaged file not be set aside.
pub fn start(
    store: Arc<ListStore>,
    authority_file: Option<PathBuf>,
    root: Root,
    outbox: Outbox,
    directory: PathBuf,
) -> io::Result<Link> {
    let (to, from_server) = mpsc::sync_channel(WAITING);
    let (asking, requests) = task::channel(REQUESTS);
    let dispositions = Dispositions::open(&store.folder, &store.keyring, store.health.clone())?;
    let intake = Intake {
        store: store.clone(),
        authority_file,
        root,
        outbox,
        directory,
        asking,
        incoming: BTreeMap::new(),
        untold: Vec::new(),
        refused: Vec::new(),
        dispositions,
    };
    thread::Builder::new().name("lists".into()).spawn(move || intake.run(&from_server))?;
    Ok(Link { store, to, requests: Mutex::new(requests) })
}

/// Whether a version came with the key that it names.
fn has_its_key(version: &ListVersion, key: Option<&Key>) -> Result<(), Refusal> {
    match (&version.key_sha256, key) {
        (Some(_), None) => Err(Refusal::KeyMissing),
        (Some(named), Some(key)) if key.digest() != *named => Err(Refusal::OtherKey),
        _ => Ok(()),
    }
}

struct Intake {
    store: Arc<ListStore>,
    authority_file: Option<PathBuf>,
    root: Root,
    outbox: Outbox,
    /// The outbox's.
    directory: PathBuf,
    asking: task::Sender<ListRequest>,
    incoming: BTreeMap<String, Incoming>,
    /// What the ledger does not have yet, each under its id.
    untold: Vec<(Uuid, Timestamp, ListChange)>,
    /// Digests of what was refused, and when.
    refused: Vec<([u8; 32], Instant)>,
    dispositions: Dispositions,
}

impl Intake {
    fn run(mut self, from_server: &mpsc::Receiver<FromServer>) {
        self.go_on();
        let (mut reported, mut looked) = (Instant::now(), Instant::now());
        loop {
            match from_server.recv_timeout(TICK) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.ask();
            self.tell();
            // Not for each part of a list: these look at the disk and at every mute.
            if looked.elapsed() < TICK {
                continue;
            }
            looked = Instant::now();
            self.looks();
            let ended = self.store.mutes.look();
            self.dispositions.write();
            if ended || reported.elapsed() >= REPORT {
                reported = Instant::now();
                for version in self.store.open_again() {
                    self.in_force(&version, None);
                }
                self.store.report(Timestamp::now());
            }
        }
    }

    /// With the lists that were on their way when the agent ended, and tells of one that came in force.
    fn go_on(&mut self) {
        for version in self.store.untold() {
            self.in_force(&version, None);
        }
        match self.store.unfinished() {
            // Their keys come when they are announced again.
            Ok(found) => found.iter().for_each(|jws| self.begin(jws, None, |_, _| Ok(()))),
            Err(error) => {
                tracing::warn!(%error, "lists that were on their way can't be gone on with")
            }
        }
    }

    fn take(&mut self, message: FromServer) {
        match message {
            FromServer::Connected => self.incoming.values_mut().for_each(Incoming::connected),
            FromServer::Announcement(json) => {
                // It may hold a key.
                let json = Zeroizing::new(json);
                match ListAnnouncement::from_json(&json) {
                    Ok(ListAnnouncement { jws, key }) => self.announced(&jws, key),
                    Err(error) => self.refuse(&json, None, &error.into()),
                }
            }
            FromServer::Part { request_id, part, bytes } => self.part(request_id, part, &bytes),
            FromServer::Disposition(json) => {
                let store = &self.store;
                self.dispositions.take(&json, |list| store.entries(list).is_some());
            }
        }
    }

    fn announced(&mut self, jws: &str, key: Option<ListKey>) {
        let key = match key.map(|key| Key::parse(&Zeroizing::new(key.0))).transpose() {
            Ok(key) => key,
            Err(error) => return self.refuse(jws.as_bytes(), None, &error.into()),
        };
        // A list that waits for its key is opened, whatever became of its signer's certificate meanwhile.
        if let Some(key) = &key
            && let Some(version) = self.store.unlock(key, Timestamp::now())
        {
            return self.in_force(&version, None);
        }
        self.begin(jws, key, has_its_key);
    }

    /// Begins to take a list in that may be taken, or goes on with it.
    fn begin(
        &mut self,
        jws: &str,
        key: Option<Key>,
        fits: fn(&ListVersion, Option<&Key>) -> Result<(), Refusal>,
    ) {
        let version = match self.signed(jws) {
            Ok(version) => version,
            Err(refusal) => return self.refuse(jws.as_bytes(), None, &refusal),
        };
        // Announced again before the heartbeat could say so.
        if self.store.has(&version) {
            return;
        }
        if let Some(same) = self.incoming.get_mut(&version.list)
            && same.version == version
        {
            same.key = key.or(same.key.take());
            return self.finish(&version.list);
        }
        let may = self.is_ours(&version).and_then(|()| fits(&version, key.as_ref()));
        let may = may.and_then(|()| Ok(self.store.may_take(&version, Timestamp::now())?));
        if let Err(refusal) = may {
            if let Refusal::List(error) = &refusal
                && error.is_for_good()
                && !self.incoming.contains_key(&version.list)
            {
                self.store.forget_incoming(&version);
            }
            return self.refuse(jws.as_bytes(), Some(&version), &refusal);
        }
        // The last word counts, where the server has changed its mind or signed anew.
        if let Some(before) = self.incoming.remove(&version.list) {
            before.forget();
        }
        match self.store.begin(version.clone(), jws) {
            Ok(mut incoming) => {
                incoming.key = key;
                let (list, number, bytes) = (&version.list, version.version, version.bytes);
                tracing::info!(list, version = number, bytes, "a list was announced");
                self.incoming.insert(version.list.clone(), incoming);
            }
            Err(error) => {
                let refusal = Refusal::List(error.into());
                self.refuse(jws.as_bytes(), Some(&version), &refusal);
            }
        }
        self.finish(&version.list);
    }

    /// The version that an announcement signs for.
    fn signed(&self, jws: &str) -> Result<ListVersion, Refusal> {
        let file = self.authority_file.as_ref().ok_or(Refusal::NoAuthority)?;
        let roots = identity::certificates("lists.authority_file", file)?;
        let signed = identity::verify_jws(jws, ListVersion::JWS_TYPE, &roots, Timestamp::now())?;
        Ok(signed.payload)
    }

    fn is_ours(&self, version: &ListVersion) -> Result<(), Refusal> {
        match version.audience == self.root.agency.as_str() {
            true => Ok(()),
            false => Err(Refusal::Audience(version.audience.clone())),
        }
    }

    fn part(&mut self, request_id: Uuid, part: u32, bytes: &[u8]) {
        let now = Instant::now();
        let taken = self.incoming.iter_mut().find_map(|(list, incoming)| {
            match incoming.part(request_id, part, bytes, now) {
                Ok(false) => None,
                Ok(true) => Some((list.clone(), Ok(()))),
                Err(error) => Some((list.clone(), Err(error))),
            }
        });
        match taken {
            Some((list, Ok(()))) => self.finish(&list),
            Some((list, Err(error))) => self.end(&list, &Refusal::List(error.into())),
            None => {}
        }
    }

    /// Takes a list in that is whole.
    fn finish(&mut self, list: &str) {
        let Some(incoming) = self.incoming.get_mut(list).filter(|i| i.is_ready()) else { return };
        let version = incoming.version.clone();
        match self.store.install_incoming(incoming, Timestamp::now()) {
            Ok(report) => {
                if let Some(incoming) = self.incoming.remove(list) {
                    incoming.forget();
                }
                self.in_force(&version, Some(&report));
            }
            Err(error) => self.end(list, &error.into()),
        }
    }

    fn end(&mut self, list: &str, refusal: &Refusal) {
        let Some(incoming) = self.incoming.remove(list) else { return };
        incoming.forget();
        let key = format!("{} {}", incoming.version.list, incoming.version.sha256);
        self.refuse(key.as_bytes(), Some(&incoming.version), refusal);
    }

    fn in_force(&mut self, version: &ListVersion, report: Option<&Report>) {
        let change = ListChange {
            list: Some(version.list.clone()),
            version: Some(version.version),
            outcome: ListOutcome::InForce,
            why: None,
            entries: self.store.entries(&version.list),
            skipped: report.map(|r| r.junk.values().sum()),
            bad: report.map(|r| r.bad),
        };
        tracing::info!(list = version.list, version = version.version, "a list is in force");
        self.untold.push((Uuid::now_v7(), Timestamp::now(), change));
    }

    fn refuse(&mut self, what: &[u8], version: Option<&ListVersion>, refusal: &Refusal) {
        // Nothing of what came is repeated at length.
        let why: String = refusal.to_string().chars().take(MAX_WHY).collect();
        self.store.count_refused();
        let digest: [u8; 32] = Sha256::digest([what, why.as_bytes()].concat()).into();
        self.refused.retain(|(_, at)| at.elapsed() < REFUSED_AGAIN);
        if self.refused.iter().any(|(known, _)| *known == digest) {
            return;
        }
        tracing::warn!(list = version.map(|v| v.list.as_str()), why, "a list is refused");
        if self.refused.len() == MAX_REFUSED {
            // Counted all the same: whoever floods this topic must not flood the ledger.
            return;
        }
        self.refused.push((digest, Instant::now()));
        let change = ListChange {
            list: version.map(|v| v.list.clone()),
            version: version.map(|v| v.version),
            outcome: ListOutcome::Refused,
            why: Some(why),
            entries: None,
            skipped: None,
            bad: None,
        };
        self.untold.push((Uuid::now_v7(), Timestamp::now(), change));
    }

    /// Asks for the parts that are due.
    fn ask(&mut self) {
        let now = Instant::now();
        for incoming in self.incoming.values_mut() {
            if self.asking.capacity() == 0 {
                return;
            }
            if let Some(request) = incoming.request(now) {
                let _ = self.asking.try_send(request);
            }
        }
    }

    /// Enters who looked a plate up in the lists.
    fn looks(&self) {
        let (outbox, source) = (&self.outbox, self.root.source());
        let enter = |look: Look| {
            let Look { id, at, access } = look;
            outbox.keep(Entry::ledger(id, source.clone(), at, access)).is_ok()
        };
        if let Err(error) = audit::take(&self.directory, self.store.keyring(), enter) {
            tracing::warn!(%error, "looks at the lists are not in the ledger yet");
        }
    }

    /// Enters into the ledger what it does not have.
    fn tell(&mut self) {
        let (outbox, store, source) = (&self.outbox, &self.store, self.root.source());
        self.untold.retain(|(id, at, change)| {
            match outbox.keep(Entry::ledger(*id, source.clone(), *at, change.clone())) {
                Ok(_) => {
                    if let (ListOutcome::InForce, Some(list)) = (change.outcome, &change.list) {
                        store.told(list);
                    }
                    false
                }
                Err(error) => {
                    tracing::warn!(%error, "a change of lists is not in the ledger yet");
                    !error.is_final()
                }
            }
        });
    }
}
