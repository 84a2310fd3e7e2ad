//! Alert lists on the disk and in force: sealed, taken as a whole or not at all, there again after a power
//! cut.
//!
//! ```text
//! lists/<list>/<version>/{head,index,entries}     the version in force, whole by its name
//! lists/<list>/<version>.tmp/                     one that is being written
//! lists/<list>/highest                            the highest version that was ever in force
//! lists/{mutes,dispositions}.sealed               entries that give no alert; what became of alerts
//! ```
//!
//! A version is in force when its folder has its name, which is one rename: a power cut leaves the one
//! before it or this one. Then the one before is deleted.
//!
//! - `rules`, `error`: what is taken, and why a version is not; `layout`, `shelf`, `sealed_file`, `merge`: its files; `incoming`, `intake`: how it comes;
//! - `matching`: a read against all of them; `report`: what is said of them; `mutes`, `dispositions`, `kept`: what the
//!   server says of entries and alerts.
//!
//! How it fails: a version that is refused leaves the one in force as it is ([`ListError`] says why). A
//! list of which no version can be opened after a start is reported on the health page, kept, tried again twice a
//! minute, and replaced by the next that the server sends, which may be the same.

#[cfg(test)]
mod blind_tests;
#[cfg(test)]
mod delta_tests;
mod dispositions;
mod error;
pub mod hashed;
pub mod incoming;
pub mod intake;
mod kept;
mod layout;
mod matching;
mod merge;
pub mod mutes;
mod report;
pub mod rules;
#[cfg(test)]
mod said_tests;
mod sealed_file;
mod shelf;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use jiff::Timestamp;
use milepost_wire::{ListFormat, ListVersion, Source};

pub use error::{ListError, checked};
pub use incoming::Incoming;
use layout::{names, paths, remove, tidy, versions};
pub use matching::Matched;
use mutes::{MuteError, Mutes};
pub use shelf::Shelf;

use crate::{
    durable,
    health::Health,
    lists::{Report, blind::Key, mute},
    outbox::Outbox,
    sealing::Keyring,
};

/// Name of the lists' folder in the outbox's.
pub const FOLDER: &str = "lists";
/// Most lists at once.
pub const MAX_LISTS: usize = 64;
/// Largest list, in bytes.
pub const MAX_LIST_BYTES: u64 = 2 << 30;

const HIGHEST: &str = "highest";
/// In a version's folder: the ledger has it.
const TOLD: &str = "told";

/// The lists in force.
pub struct ListStore {
    folder: PathBuf,
    keyring: Keyring,
    /// Bytes of the disk.
    least_free: u64,
    health: Arc<Health>,
    in_force: RwLock<Arc<BTreeMap<String, Arc<Shelf>>>>,
    /// Versions that can't be opened, with the reason.
    broken: Mutex<BTreeMap<String, String>>,
    /// One is taken in at a time.
    taking: Mutex<()>,
    mutes: Mutes,
}

impl ListStore {
    /// Opens what is there; a list that can't be opened is told by health and no error. `least_free` bytes of
    /// the disk are left to others.
    ///
    /// # Errors
    /// Where the folder can't be read or made.
    pub fn open(
        folder: PathBuf,
        keyring: Keyring,
        least_free: u64,
        health: Arc<Health>,
    ) -> io::Result<Self> {
        durable::make_folder(&folder)?;
        for list in names(&folder)? {
            tidy(&folder.join(list))?;
        }
        let mutes = Mutes::open(&folder, &keyring)?;
        let store = Self::open_to_read(folder, keyring, health)?;
        let store = Self { least_free, mutes, ..store };
        for (list, shelf) in &*store.in_force() {
            store.remove_older(list, shelf.list.version.version);
        }
        store.report(Timestamp::now());
        Ok(store)
    }

    /// As [`Self::open`], beside an agent that has it open: nothing is changed.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn open_to_read(
        folder: PathBuf,
        keyring: Keyring,
        health: Arc<Health>,
    ) -> io::Result<Self> {
        let (mut in_force, mut broken) = (BTreeMap::new(), BTreeMap::new());
        for list in names(&folder)? {
            let (shelf, why) = newest(&folder.join(&list), &keyring, &list)?;
            shelf.map(|shelf| in_force.insert(list.clone(), Arc::new(shelf)));
            if let Some(why) = why {
                tracing::error!(list, why, "an alert list can't be opened");
                broken.insert(list, why);
            }
        }
        let mutes = Mutes::open_to_read(&folder, &keyring);
        Ok(Self {
            folder,
            keyring,
            least_free: 0,
            health,
            in_force: RwLock::new(Arc::new(in_force)),
            broken: Mutex::new(broken),
            taking: Mutex::default(),
            mutes,
        })
    }

    /// Tries again to open the lists of which no version could be: what was in the way may be gone. Answers
    /// those that are in force now and that the ledger may not have.
    pub fn open_again(&self) -> Vec<ListVersion> {
        let (in_force, mut opened) = (self.in_force(), Vec::new());
        let shut: Vec<String> =
            self.troubles().keys().filter(|list| !in_force.contains_key(*list)).cloned().collect();
        for list in shut {
            let _one = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
            let found = newest(&self.folder.join(&list), &self.keyring, &list);
            let Ok((Some(shelf), newer)) = found else { continue };
            tracing::info!(list, version = shelf.list.version.version, "it can be opened now");
            self.put_in_force(shelf);
            newer.map(|why| self.troubles().insert(list.clone(), why));
            opened.push(list);
        }
        if opened.is_empty() {
            return Vec::new();
        }
        self.report(Timestamp::now());
        self.untold().into_iter().filter(|version| opened.contains(&version.list)).collect()
    }

    /// From here on this version is searched, and nothing is wrong with its list.
    fn put_in_force(&self, shelf: Shelf) {
        let list = shelf.list.version.list.clone();
        let mut in_force = BTreeMap::clone(&self.in_force());
        in_force.insert(list.clone(), Arc::new(shelf));
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
        self.troubles().remove(&list);
    }

    /// Deletes what a version replaced; what can't be is left until the next start.
    fn remove_older(&self, list: &str, version: u64) {
        let place = self.folder.join(list);
        let removed = versions(&place).and_then(|all| {
            let mut older = all.into_iter().filter(|v| *v < version);
            older.try_for_each(|v| remove(&place.join(v.to_string())))
        });
        if let Err(error) = removed {
            tracing::warn!(list, %error, "what a version replaced is left until the next start");
        }
    }

    /// Takes a version in: when this returns, it is in force and stays so after a power cut.
    ///
    /// # Errors
    /// [`ListError`]; the version that was in force still is.
    pub fn install(
        &self,
        version: &ListVersion,
        now: Timestamp,
        input: &mut dyn Read,
    ) -> Result<Report, ListError> {
        self.take_in(version, None, now, input)
    }

    /// As [`Self::install`], with the key of a blind list: without it, it waits for it.
    fn take_in(
        &self,
        version: &ListVersion,
        key: Option<&Key>,
        now: Timestamp,
        input: &mut dyn Read,
    ) -> Result<Report, ListError> {
        let _one = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        self.may_take(version, now)?;
        let place = self.folder.join(&version.list);
        durable::make_folder(&place)?;
        let (path, unfinished) = paths(&place, version.version);
        remove(&unfinished)?;
        let base = self.base(version)?;
        let written = shelf::write(&unfinished, &self.keyring, version, base.as_deref(), input);
        let report = written.inspect_err(|_| {
            let _ = remove(&unfinished);
        })?;
        // Before it is in force: no older one may come after it, whatever becomes of it.
        durable::write(&place.join(HIGHEST), version.version.to_string().as_bytes())?;
        // One of this version that could not be opened.
        remove(&path)?;
        fs::rename(&unfinished, &path)?;
        durable::sync_folder(&place)?;
        // What was written is what is in force: it is read from there.
        let opened = Shelf::open(&path, &self.keyring, &version.list, version.version);
        let shelf = opened.inspect_err(|_| {
            let _ = remove(&path);
        })?;
        key.map(|key| shelf.unlock(key));
        self.put_in_force(shelf);
        self.remove_older(&version.list, version.version);
        self.report(now);
        Ok(report)
    }

    /// Begins to take a list in that comes part by part, or goes on with it.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn begin(&self, version: ListVersion, jws: &str) -> io::Result<Incoming> {
        let place = self.folder.join(&version.list);
        Incoming::begin(version, jws, &place, &self.keyring)
    }

    /// As [`Self::install`], of a list whose parts are all here.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub fn install_incoming(
        &self,
        incoming: &mut Incoming,
        now: Timestamp,
    ) -> Result<Report, ListError> {
        let version = incoming.version.clone();
        incoming.attempt()?;
        let mut whole = incoming.open(&self.keyring)?;
        self.take_in(&version, incoming.key.clone().as_ref(), now, &mut whole)
    }

    /// Deletes what is here of a version that will not be taken.
    pub fn forget_incoming(&self, version: &ListVersion) {
        incoming::forget(&self.folder.join(&version.list), version.version);
    }

    /// Whether this very version is in force and whole.
    #[must_use]
    pub fn has(&self, version: &ListVersion) -> bool {
        let in_force = self.in_force();
        let same = |shelf: &Arc<Shelf>| {
            let here = &shelf.list.version;
            (here.version, &here.sha256) == (version.version, &version.sha256)
                && !shelf.waits_for_key()
        };
        in_force.get(&version.list).is_some_and(same)
            && !self.troubles().contains_key(&version.list)
    }

    /// Opens the blind list that waits for this key, and says which it is.
    ///
    /// The key proves itself: its digest stands in what the list's authority signed, sealed beside the list.
    pub fn unlock(&self, key: &Key, now: Timestamp) -> Option<ListVersion> {
        let in_force = self.in_force();
        let shelf = in_force.values().find(|shelf| shelf.unlock(key))?;
        self.report(now);
        Some(shelf.list.version.clone())
    }

    /// Announcements of lists that were on their way when the agent ended.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn unfinished(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for list in names(&self.folder)? {
            found.extend(incoming::unfinished(&self.folder.join(list))?);
        }
        Ok(found)
    }

    /// Versions in force that the ledger may not have.
    #[must_use]
    pub fn untold(&self) -> Vec<ListVersion> {
        let in_force = self.in_force();
        let matched = in_force.values().filter(|shelf| !shelf.waits_for_key());
        let untold = |v: &ListVersion| !self.mark(&v.list, v.version).exists();
        matched.map(|shelf| shelf.list.version.clone()).filter(untold).collect()
    }

    /// The ledger has the version of this list that is in force.
    pub fn told(&self, list: &str) {
        let in_force = self.in_force();
        let Some(shelf) = in_force.get(list) else { return };
        if let Err(error) = durable::write(&self.mark(list, shelf.list.version.version), b"") {
            tracing::warn!(list, %error, "the ledger may be told twice that a list is in force");
        }
    }

    fn mark(&self, list: &str, version: u64) -> PathBuf {
        self.folder.join(list).join(version.to_string()).join(TOLD)
    }

    /// Whether any list is in force.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.in_force().is_empty()
    }

    /// How many entries of a list are in force.
    #[must_use]
    pub fn entries(&self, list: &str) -> Option<u64> {
        Some(self.in_force().get(list)?.entries() as u64)
    }

    /// Has an entry give no alert for a time, or alerts again; the number of the order's entry in the
    /// ledger, which has it before it holds.
    ///
    /// # Errors
    /// [`MuteError`].
    pub fn mute(
        &self,
        order: &mute::Order,
        outbox: &Outbox,
        source: &Source,
    ) -> Result<u64, MuteError> {
        // Most likely misspelt: it would hold, and do nothing.
        if order.until.is_some() && !self.in_force().contains_key(&order.list) {
            return Err(MuteError::NoList(order.list.clone()));
        }
        let sequence = self.mutes.obey(order, outbox, source)?;
        self.report(Timestamp::now());
        Ok(sequence)
    }

    /// Counts a version that was refused.
    pub fn count_refused(&self) {
        self.health.metrics.lists_refused.inc();
    }

    /// Whether a version would be taken, but for its entries.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn may_take(&self, version: &ListVersion, now: Timestamp) -> Result<(), ListError> {
        checked(version)?;
        let known = self.folder.join(&version.list).exists();
        if !known && names(&self.folder)?.len() >= MAX_LISTS {
            return Err(ListError::Limit(format!("more than {MAX_LISTS} lists")));
        }
        let in_force = self.in_force().get(&version.list).map(|s| s.list.version.version);
        let highest = in_force.max(self.highest(&version.list)).unwrap_or(0);
        // One that can't be read may come again.
        let again =
            in_force == Some(version.version) && !self.troubles().contains_key(&version.list);
        if version.version < highest || again {
            return Err(ListError::Rollback { came: version.version, highest });
        }
        if version.expires_at <= now {
            return Err(ListError::Expired(version.expires_at));
        }
        // Its parts as they come, and what is made of them, beside the version in force.
        let base = self.base(version)?.map_or(0, |base| base.bytes());
        let here = incoming::bytes(&self.folder.join(&version.list), version.version);
        let needed = version.bytes.saturating_mul(3).saturating_add(base).saturating_sub(here);
        let needed = needed.saturating_add(self.least_free);
        let free = durable::free_bytes(&self.folder)?;
        if free < needed {
            return Err(ListError::Limit(format!(
                "{free} bytes are free on the disk; it needs {needed}"
            )));
        }
        Ok(())
    }

    /// The version that a delta is against; `None` of a whole list.
    fn base(&self, version: &ListVersion) -> Result<Option<Arc<Shelf>>, ListError> {
        let Some(base) = version.base else { return Ok(None) };
        let shelf = self.in_force().get(&version.list).cloned();
        let here = shelf.as_ref().map(|shelf| shelf.list.version.version);
        match shelf {
            Some(shelf) if shelf.list.version.format == ListFormat::Blind => {
                Err(ListError::Version("a blind list takes no delta: send the whole list".into()))
            }
            Some(shelf) if here == Some(base) => Ok(Some(shelf)),
            _ => Err(ListError::Base { base, here }),
        }
    }

    fn highest(&self, list: &str) -> Option<u64> {
        let bytes = durable::read(&self.folder.join(list).join(HIGHEST)).ok()?;
        str::from_utf8(&bytes).ok()?.parse().ok()
    }

    fn in_force(&self) -> Arc<BTreeMap<String, Arc<Shelf>>> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What seals them.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Lists of which something can't be read, with the reason.
    #[must_use]
    pub fn broken(&self) -> BTreeMap<String, String> {
        self.troubles().clone()
    }

    fn troubles(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said of the versions in force.
    #[must_use]
    pub fn versions(&self) -> Vec<ListVersion> {
        self.in_force().values().map(|shelf| shelf.list.version.clone()).collect()
    }
}

/// The newest version of a list that can be opened, and why a newer one, or any, can't be.
fn newest(
    place: &Path,
    keyring: &Keyring,
    list: &str,
) -> io::Result<(Option<Shelf>, Option<String>)> {
    let mut why = None;
    for version in versions(place)?.into_iter().rev() {
        match Shelf::open(&place.join(version.to_string()), keyring, list, version) {
            Ok(shelf) => return Ok((Some(shelf), why)),
            Err(error) => why = Some(format!("version {version}: {error}")),
        }
    }
    Ok((None, why))
}
