//! Alert lists altered on the way that they come: announcement, signature, what is signed, key, parts and
//! deltas, over the pole's own thread for lists and into its ledger.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{broker, pole::root};
use jiff::SignedDuration;
use milepost::{
    health::Health,
    identity::Identity,
    list_store::{
        ListStore,
        intake::{self, FromServer, Link},
    },
    outbox::Outbox,
};
use milepost_wire::{Event, ListAnnouncement, ListChange, ListFormat, ListKey, ListVersion};
use rand::{RngExt, rngs::StdRng};
use tokio::runtime::Runtime;

use crate::{
    child::{self, Options},
    lists::{ENTRIES, found, in_force, keyring, text, version},
};

/// Longest that the thread may take for one message.
const LIMIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(1);

/// What came of it.
pub struct Announced {
    /// Reasons that the ledger has; it has the first twenty refusals of an hour.
    pub reasons: usize,
}

/// Who signs.
struct Signers {
    /// Whom the pole believes.
    lists: Identity,
    /// Of the authority of servers and poles.
    server: Identity,
}

struct Scene {
    link: Link,
    outbox: Outbox,
    health: Arc<Health>,
    signers: Signers,
    runtime: Runtime,
}

/// What is sent: the announcement, and what of the list for each request.
struct Sent {
    what: &'static str,
    announcement: Vec<u8>,
    list: Option<Vec<u8>>,
}

/// Sends so many altered lists after a good one, which must stay in force whole.
pub fn altered(folder: &Path, runs: u32, choices: &mut StdRng) -> Result<Announced, String> {
    let scene = Scene::begin(folder)?;
    let good = text(1).into_bytes();
    let first = announced(&scene.signers.lists, &version(1, &good), None);
    scene.send(&Sent { what: "a good list", announcement: first, list: Some(good) })?;
    scene.until("the good list is in force", || found(&scene.link.store, 1) as u64 == ENTRIES)?;
    for run in 1..=runs {
        let sent = alteration(choices, &scene.signers);
        let before = scene.health.metrics.lists_refused.get();
        scene.send(&sent)?;
        let refused = || scene.health.metrics.lists_refused.get() > before;
        scene.until(&format!("{} is refused", sent.what), refused)?;
        if !in_force(&scene.link.store, 1, run) {
            return Err(format!("{}: the version in force is not what it was", sent.what));
        }
    }
    match scene.reasons().len() {
        0 => Err("no reason is in the ledger".into()),
        reasons => Ok(Announced { reasons }),
    }
}

fn announced(signer: &Identity, version: &ListVersion, key: Option<&str>) -> Vec<u8> {
    let jws = signer.sign_jws(ListVersion::JWS_TYPE, version).expect("it can be signed");
    let key = key.map(|key| ListKey(key.to_owned()));
    serde_json::to_vec(&ListAnnouncement { jws, key }).expect("JSON")
}

fn alteration(choices: &mut StdRng, signers: &Signers) -> Sent {
    let good = text(2).into_bytes();
    let said = version(2, &good);
    let sent = |what, said: &ListVersion| {
        let announcement = announced(&signers.lists, said, None);
        Sent { what, announcement, list: None }
    };
    match choices.random_range(0..11) {
        0 => {
            let mut sent = sent("a signature altered in one character", &said);
            // `{"jws":"` before it, `"}` behind it.
            let at = choices.random_range(8..sent.announcement.len() - 2);
            let other = if sent.announcement[at] == b'Q' { b'R' } else { b'Q' };
            sent.announcement[at] = other;
            sent
        }
        1 => {
            let mut sent = sent("a cut announcement", &said);
            sent.announcement.truncate(choices.random_range(0..sent.announcement.len()));
            sent
        }
        2 => Sent {
            what: "signed by another authority",
            announcement: announced(&signers.server, &said, None),
            list: None,
        },
        3 => {
            let jws = signers.lists.sign_jws("milepost-manifest+jws", &said).expect("signed");
            let announcement = serde_json::to_vec(&ListAnnouncement { jws, key: None });
            let announcement = announcement.expect("JSON");
            Sent { what: "signed as something else", announcement, list: None }
        }
        4 => sent("for other poles", &ListVersion { audience: "other".into(), ..said }),
        5 => {
            let hours = SignedDuration::from_hours(choices.random_range(1..1000));
            sent("expired", &ListVersion { expires_at: said.source_at - hours, ..said })
        }
        6 => sent("an older version", &ListVersion { version: choices.random_range(0..2), ..said }),
        7 => {
            let key_sha256 = Some("0".repeat(64));
            let said = ListVersion { format: ListFormat::Blind, key_sha256, ..said };
            let key = "A".repeat(43);
            let key = choices.random::<bool>().then_some(key.as_str());
            let announcement = announced(&signers.lists, &said, key);
            Sent { what: "blind, without its key", announcement, list: None }
        }
        8 => sent("a delta against another version", &ListVersion { base: Some(7), ..said }),
        9 => {
            let delta = format!("{{\"remove\":\"{}\"}}\n", ENTRIES + choices.random_range(0..1000));
            let delta = delta.into_bytes();
            let format = ListFormat::Jsonl;
            let said = ListVersion { base: Some(1), format, ..version(2, &delta) };
            Sent { list: Some(delta), ..sent("a delta that removes what is not there", &said) }
        }
        _ => {
            let mut list = good;
            let at = choices.random_range(0..list.len());
            list[at] ^= 1 << choices.random_range(0..8);
            Sent { list: Some(list), ..sent("a part altered in one bit", &said) }
        }
    }
}

impl Scene {
    fn begin(folder: &Path) -> Result<Self, String> {
        let pki = folder.join("pki");
        fs::create_dir_all(&pki).map_err(|e| e.to_string())?;
        broker::pki(&pki);
        let identity = |name: &str| {
            let (certificate, key) =
                (pki.join(format!("{name}.crt")), pki.join(format!("{name}.key")));
            Identity::load(&certificate, &key).map_err(|e| e.to_string())
        };
        let signers = Signers { lists: identity("lists")?, server: identity("server")? };
        let health: Arc<Health> = Arc::default();
        let directory = folder.join("outbox");
        let settings = child::settings(&Options::new(directory.clone()));
        let outbox = Outbox::open(child::setup(settings, &health)).map_err(|e| e.to_string())?;
        let store = ListStore::open(folder.join("lists"), keyring(folder)?, 0, health.clone());
        let store = Arc::new(store.map_err(|e| e.to_string())?);
        let root = milepost_wire::Root { agency: "demo-pd".parse().expect("a level"), ..root() };
        let authority = Some(pki.join("lists-ca.crt"));
        let link = intake::start(store, authority, root, outbox.clone(), directory);
        let link = link.map_err(|e| e.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        Ok(Self { link, outbox, health, signers, runtime })
    }

    /// Announces, and gives what is asked for.
    fn send(&self, sent: &Sent) -> Result<(), String> {
        self.link.give(FromServer::Announcement(sent.announcement.clone()));
        let Some(list) = &sent.list else { return Ok(()) };
        let request = async { tokio::time::timeout(LIMIT, self.link.request()).await };
        let request = self.runtime.block_on(request);
        let request = request.map_err(|_| format!("{}: nothing is asked for", sent.what))?;
        let part = |bytes: &[u8]| FromServer::Part {
            request_id: request.request_id,
            part: request.first_part,
            bytes: bytes.to_vec(),
        };
        // One of another length is none of it.
        self.link.give(part(&list[..list.len() / 2]));
        self.link.give(part(list));
        Ok(())
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
        let until = Instant::now() + LIMIT;
        while !holds() {
            if Instant::now() > until {
                return Err(format!("never came: {what}; {:?}", self.reasons()));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Why lists were refused, as the ledger has it.
    fn reasons(&self) -> BTreeSet<String> {
        let records = self.outbox.records(0, usize::MAX).unwrap_or_default();
        let changes = records.iter().filter_map(|r| Event::<ListChange>::from_json(&r.body).ok());
        changes.filter_map(|change| change.data.why).collect()
    }
}
