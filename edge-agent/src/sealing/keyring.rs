//! The data keys of one folder: sealing with the current one, unsealing with any that is left.
//!
//! A new key is made when the current one has sealed for its [`KeyUse::life`] or
//! [`MAX_MESSAGES_PER_KEY`], and after a restart of the machine. A key whose file was destroyed, by whichever process, is forgotten at its
//! next use: memory does not outlive the file.
//!
//! Invariants: a key's file is durable before it seals; a key never seals at an age at which it may be
//! destroyed. How it fails: where a new key can't be written, the old one goes on for [`KEY_GRACE`];
//! after that sealing fails, and with it keeping.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{aead::RandomizedNonceKey, rand};
use jiff::Timestamp;

use super::{
    Clock, KEY_GRACE, Kek, KeyId, KeyUse, MAX_MESSAGES_PER_KEY, PoleClock, PoleTime, Protection,
    SealingError, blob,
    key_file::{self, DataKey, KeyFile, Label, NoKey},
};
use crate::{config, durable};

/// What can be told of a data key.
pub type KeyInfo = Label;

/// The data keys of one folder; clones share them.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
}

struct State {
    kek: Kek,
    keys: HashMap<KeyId, Arc<Key>>,
}

struct Key {
    label: Label,
    cipher: RandomizedNonceKey,
    sealed: AtomicU64,
}

impl Key {
    fn new(label: Label, key: &DataKey) -> Result<Arc<Self>, SealingError> {
        let cipher = blob::cipher(key.as_slice())?;
        Ok(Arc::new(Self { label, cipher, sealed: AtomicU64::new(0) }))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.0.folder.display())
    }
}

impl Keyring {
    /// Opens the keys of a folder, making it (mode 0700) and the first data key where there are none.
    ///
    /// # Errors
    /// [`SealingError::Kek`], [`SealingError::WrongKek`], [`SealingError::Io`]. Single key files that
    /// can't be used are no error here: see [`Self::unusable`].
    pub fn open(config: &config::Sealing, folder: &Path) -> Result<Self, SealingError> {
        durable::make_folder(folder).map_err(SealingError::io(folder))?;
        Self::open_by(config, folder, Arc::new(PoleClock::open(folder)?))
    }

    /// As [`Self::open`], with the clock given.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_by(
        config: &config::Sealing,
        folder: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SealingError> {
        durable::make_folder(folder).map_err(SealingError::io(folder))?;
        let fresh = key_file::list(folder)?.0.is_empty();
        Self::open_with(Kek::load(config, fresh)?, folder, clock)
    }

    /// The keys that are there, to unseal with: nothing is made and nothing is swept.
    ///
    /// # Errors
    /// [`SealingError::Kek`], [`SealingError::KekLost`], [`SealingError::Io`].
    pub fn open_to_read(config: &config::Sealing, folder: &Path) -> Result<Self, SealingError> {
        let kek = Kek::load(config, false)?;
        let (ids, _) = key_file::list(folder)?;
        let keys = ids.into_iter().filter_map(|id| Some((id, load(folder, id, &kek).ok()?)));
        let state = RwLock::new(State { kek: kek.clone(), keys: keys.collect() });
        let clock = Arc::new(super::ManualClock::default());
        Ok(Self(Arc::new(Inner { folder: folder.into(), clock, state })))
    }

    /// As [`Self::open`], with the key-encryption key and the clock given.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(kek: Kek, folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, SealingError> {
        durable::make_folder(folder).map_err(SealingError::io(folder))?;
        key_file::sweep(folder)?;
        let (ids, _) = key_file::list(folder)?;
        let mut keys = HashMap::new();
        let mut others = 0;
        for id in ids {
            match load(folder, id, &kek) {
                Ok(key) => drop(keys.insert(id, key)),
                // Destroyed just now.
                Err(Refused::Error(SealingError::KeyGone { .. })) => {}
                Err(refused) => {
                    others += usize::from(matches!(refused, Refused::OtherKek));
                    let error = refused.of(id);
                    tracing::error!(%error, "what was sealed with this data key can't be read");
                }
            }
        }
        if keys.is_empty() && others > 0 {
            return Err(SealingError::WrongKek {
                folder: folder.into(),
                files: others,
                source_name: kek.protection().source_name(),
            });
        }
        let ring = Self(Arc::new(Inner {
            folder: folder.into(),
            clock,
            state: RwLock::new(State { kek, keys }),
        }));
        match ring.current(KeyUse::Data) {
            // What is there can be read, sent and deleted on a full disk too.
            Err(error) if !ring.keys().is_empty() => {
                tracing::warn!(%error, "no new data key yet");
            }
            made => drop(made?),
        }
        Ok(ring)
    }

    /// The key files that are there and can't be used, each with its reason. What was sealed with one that is
    /// damaged is lost; with another it may be readable again.
    #[must_use]
    pub fn unusable(&self) -> Vec<SealingError> {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        let Ok((ids, _)) = key_file::list(&self.0.folder) else { return Vec::new() };
        let unknown = ids.into_iter().filter(|id| !state.keys.contains_key(id));
        unknown
            .filter_map(|id| Some(load(&self.0.folder, id, &state.kek).err()?.of(id)))
            .filter(|error| {
                matches!(error, SealingError::KeyUnusable { .. } | SealingError::KeyDamaged { .. })
            })
            .collect()
    }

    /// The clock that the keys' ages are measured with.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Where the key files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// How well the key-encryption key is protected.
    #[must_use]
    pub fn protection(&self) -> Protection {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        state.kek.protection().clone()
    }

    /// Seals with the current data key. `context` says what it is (e.g. `record`, epoch, sequence);
    /// it must be given again to unseal.
    ///
    /// # Errors
    /// [`SealingError::TooLarge`]; [`SealingError::Io`] where a new key is due and can't be written.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealingError> {
        self.seal_for(KeyUse::Data, context, plain)
    }

    /// As [`Self::seal`], for a use.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_for(
        &self,
        key_use: KeyUse,
        context: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealingError> {
        let key = self.current(key_use)?;
        key.sealed.fetch_add(1, Ordering::Relaxed);
        blob::seal(&key.cipher, key.label.id, context, plain)
    }

    /// Seals again what was sealed `under` a key: under the same where that is there and of this use,
    /// so that its time on the pole does not begin anew.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_under(
        &self,
        under: Option<KeyId>,
        key_use: KeyUse,
        context: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealingError> {
        let same = under.and_then(|id| self.find(id).ok());
        match same.filter(|key| key.label.key_use == key_use) {
            Some(key) => {
                key.sealed.fetch_add(1, Ordering::Relaxed);
                blob::seal(&key.cipher, key.label.id, context, plain)
            }
            None => self.seal_for(key_use, context, plain),
        }
    }

    /// Unseals what was sealed in the same context.
    ///
    /// # Errors
    /// [`SealingError::KeyGone`] where its key was destroyed, [`SealingError::KeyUnusable`],
    /// [`SealingError::KeyDamaged`], [`SealingError::Damaged`].
    pub fn unseal(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealingError> {
        let id = blob::key_of(sealed)?;
        let key = self.find(id)?;
        blob::unseal(&key.cipher, id, context, sealed)
    }

    /// Which key a blob was sealed with; its first [`blob::HEAD_BYTES`] are enough.
    ///
    /// # Errors
    /// [`SealingError::Damaged`] for what was never sealed here.
    pub fn key_of(sealed: &[u8]) -> Result<KeyId, SealingError> {
        blob::key_of(sealed)
    }

    /// Makes a new data key where the current one has sealed long enough; says which. Sealing does
    /// this by itself.
    ///
    /// # Errors
    /// [`SealingError::Io`].
    pub fn rotate_if_due(&self) -> Result<Option<KeyId>, SealingError> {
        let before = self.newest(KeyUse::Data).map(|key| key.label.id);
        let now = self.current(KeyUse::Data)?.label.id;
        Ok((before != Some(now)).then_some(now))
    }

    /// Whether a key is there, by its file.
    #[must_use]
    pub fn has(&self, id: KeyId) -> bool {
        key_file::path(&self.0.folder, id).exists()
    }

    /// How old a key is; `None` where it is gone.
    #[must_use]
    pub fn age(&self, id: KeyId) -> Option<Duration> {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        Some(self.0.clock.age(state.keys.get(&id)?.label.made))
    }

    /// Every key that is left, oldest first.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyInfo> {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        let labels = state.keys.values().map(|key| key.label);
        let mut keys: Vec<_> =
            labels.filter(|label| key_file::path(&self.0.folder, label.id).exists()).collect();
        keys.sort_by_key(|label| (label.made, label.id));
        keys
    }

    /// Destroys keys, and with them everything sealed under them. Unknown ones are ignored.
    ///
    /// # Errors
    /// [`SealingError::Io`]: some may be left.
    pub fn destroy(&self, keys: &[KeyId]) -> Result<(), SealingError> {
        let mut state = self.write();
        for id in keys {
            state.keys.remove(id);
        }
        key_file::destroy(&self.0.folder, keys)
    }

    /// Destroys every key that has reached its age ([`KeyUse::max_age`]); says which.
    ///
    /// # Errors
    /// As [`Self::destroy`].
    pub fn destroy_aged(&self, max_age: Duration) -> Result<Vec<KeyId>, SealingError> {
        let destroyed = key_file::destroy_aged(&self.0.folder, &*self.0.clock, max_age)?;
        self.write().keys.retain(|id, _| !destroyed.contains(id));
        Ok(destroyed)
    }

    /// Wraps every data key with another key-encryption key. Each file can be opened with the old key
    /// until all can be opened with the new one, so this may be cut off at any moment and done again
    /// (see [`Self::open_between`]).
    ///
    /// # Errors
    /// [`SealingError::KeyUnusable`] where a file can't be unwrapped: nothing was changed for the
    /// others that the old key can't open.
    pub fn rewrap(&self, new: &Kek) -> Result<usize, SealingError> {
        self.rewrap_until(new, usize::MAX)
    }

    /// As [`Self::rewrap`], giving up after so many writes: the crash of a test.
    pub(super) fn rewrap_until(&self, new: &Kek, writes: usize) -> Result<usize, SealingError> {
        let mut state = self.write();
        let folder = &self.0.folder;
        let failed = SealingError::io(folder);
        let mut left = writes;
        let mut write = |file: &KeyFile| match left.checked_sub(1) {
            Some(rest) => {
                left = rest;
                file.write(folder).map_err(&failed)
            }
            None => Err(SealingError::Crypto("an interrupted change of keys")),
        };
        let (ids, _) = key_file::list(folder)?;
        let mut rewrapped = Vec::new();
        for id in ids {
            let Some(mut file) = key_file::read(folder, id)? else { continue };
            let key = match file.open(&state.kek) {
                Err(NoKey::OtherKek) => file.open(new),
                opened => opened,
            };
            let key = key.map_err(|why| Refused::from(why).of(id))?;
            file.add(&key, new)?;
            write(&file)?;
            rewrapped.push(file);
        }
        for file in &mut rewrapped {
            if file.keep_only(new) {
                write(file)?;
            }
        }
        state.kek = new.clone();
        Ok(rewrapped.len())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest key of a use whose file is there.
    fn newest(&self, key_use: KeyUse) -> Option<Arc<Key>> {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        newest(&state, &self.0.folder, key_use)
    }

    /// The key to seal with, made where it is due.
    fn current(&self, key_use: KeyUse) -> Result<Arc<Key>, SealingError> {
        // None from before a restart: how long the machine was off may be known only later, and
        // then that key is suddenly old.
        let may_seal = |key: &Key, grace: Duration| {
            key.label.made > self.0.clock.began()
                && self.0.clock.age(key.label.made) < key_use.life() + grace
        };
        let fresh = |key: &Key| {
            may_seal(key, Duration::ZERO)
                && key.sealed.load(Ordering::Relaxed) < MAX_MESSAGES_PER_KEY
        };
        if let Some(key) = self.newest(key_use).filter(|key| fresh(key)) {
            return Ok(key);
        }
        let mut state = self.write();
        // Another thread may have made it.
        let old = newest(&state, &self.0.folder, key_use);
        if let Some(key) = old.as_ref().filter(|key| fresh(key)) {
            return Ok(key.clone());
        }
        match make(&self.0.folder, &state.kek, key_use, self.0.clock.now()) {
            Ok(key) => {
                // Hourly: memory does not outlive the files of keys that nobody asks for.
                state.keys.retain(|id, _| key_file::path(&self.0.folder, *id).exists());
                state.keys.insert(key.label.id, key.clone());
                Ok(key)
            }
            Err(error) => match old.filter(|key| may_seal(key, KEY_GRACE)) {
                Some(key) => {
                    tracing::warn!(%error, "no new data key: the old one goes on for a while");
                    Ok(key)
                }
                None => Err(error),
            },
        }
    }

    fn find(&self, id: KeyId) -> Result<Arc<Key>, SealingError> {
        {
            let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(key) = state.keys.get(&id)
                && key_file::path(&self.0.folder, id).exists()
            {
                return Ok(key.clone());
            }
        }
        let mut state = self.write();
        state.keys.remove(&id);
        let key = load(&self.0.folder, id, &state.kek).map_err(|refused| refused.of(id))?;
        state.keys.insert(id, key.clone());
        Ok(key)
    }
}

fn newest(state: &State, folder: &Path, key_use: KeyUse) -> Option<Arc<Key>> {
    let keys = state.keys.values().filter(|key| key.label.key_use == key_use);
    let newest = keys.max_by_key(|key| (key.label.made, key.label.id))?;
    key_file::path(folder, newest.label.id).exists().then(|| newest.clone())
}

/// Why a key file can't be loaded.
enum Refused {
    OtherKek,
    Damaged,
    Error(SealingError),
}

impl From<NoKey> for Refused {
    fn from(why: NoKey) -> Self {
        match why {
            NoKey::OtherKek => Self::OtherKek,
            NoKey::Damaged => Self::Damaged,
            NoKey::Failed(error) => Self::Error(error),
        }
    }
}

impl Refused {
    fn of(self, key: KeyId) -> SealingError {
        let why = match self {
            Self::OtherKek => {
                "it was made with another key-encryption key: restore that one, or finish `milepost rekey`"
            }
            Self::Damaged => return SealingError::KeyDamaged { key },
            Self::Error(error) => return error,
        };
        SealingError::KeyUnusable { key, why: why.into() }
    }
}

fn load(folder: &Path, id: KeyId, kek: &Kek) -> Result<Arc<Key>, Refused> {
    let file = key_file::read_named(folder, id).map_err(Refused::Error)?;
    let file = file.ok_or(Refused::Error(SealingError::KeyGone { key: id }))?;
    // A name that was damaged does not open.
    let key = file.open(kek)?;
    if file.label.id != id {
        return Err(Refused::Error(key_file::another_key(id)));
    }
    Key::new(file.label, &key).map_err(Refused::Error)
}

fn make(
    folder: &Path,
    kek: &Kek,
    key_use: KeyUse,
    made: PoleTime,
) -> Result<Arc<Key>, SealingError> {
    let mut key = DataKey::default();
    rand::fill(key.as_mut_slice()).map_err(|_| SealingError::Crypto("random numbers"))?;
    let label = Label { id: KeyId::random()?, key_use, made, made_at: Timestamp::now() };
    KeyFile::new(label, &key, kek)?.write(folder).map_err(SealingError::io(folder))?;
    tracing::info!(key = %label.id, ?key_use, "new data key");
    Key::new(label, &key)
}
