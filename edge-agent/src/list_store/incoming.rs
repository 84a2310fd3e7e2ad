//! A list on its way: its parts as they come, in order, sealed, so that a cut costs only the last of them.
//!
//! ```text
//! lists/<list>/<version>.announcement     what its authority signed
//! lists/<list>/<version>.incoming         the parts that are here
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use milepost_wire::{
    ListRequest, ListVersion,
    list::{MAX_PARTS, PART_BYTES},
};
use uuid::Uuid;

use super::sealed_file::{Reader, Writer};
use crate::{durable, lists::blind::Key, sealing::Keyring};

/// What does not come for so long is asked for again.
pub const SILENCE: Duration = Duration::from_secs(20);

/// Ending of an announcement's file.
pub(super) const ANNOUNCEMENT: &str = "announcement";
/// Ending of the file of parts.
const PARTS: &str = "incoming";
/// Ending of the file that says how often it was tried to take it in.
const ATTEMPTS: &str = "attempts";
const ENDINGS: [&str; 3] = [PARTS, ANNOUNCEMENT, ATTEMPTS];
/// A list at which the agent ends so often is given up.
const MAX_ATTEMPTS: u32 = 2;

/// A list of which some parts are here.
pub struct Incoming {
    /// What is said of it.
    pub version: ListVersion,
    /// The key of a blind list; not here after a restart, until it is announced again.
    pub key: Option<Key>,
    place: PathBuf,
    /// `None` once all of it is here.
    file: Option<Writer>,
    request_id: Uuid,
    /// Parts that are here.
    here: u32,
    /// Parts that were asked for, from the first on.
    asked: u32,
    asked_at: Option<Instant>,
}

fn parts(version: &ListVersion) -> u32 {
    // Lists are far below 2^32 parts.
    u32::try_from(version.bytes.div_ceil(PART_BYTES as u64)).unwrap_or(u32::MAX)
}

impl Incoming {
    /// Begins a list, or goes on with one that was cut off. `place` is the list's folder.
    ///
    /// # Errors
    /// Where what is here can't be read or written.
    pub fn begin(
        version: ListVersion,
        jws: &str,
        place: &Path,
        keyring: &Keyring,
    ) -> io::Result<Self> {
        durable::make_folder(place)?;
        let request_id = Uuid::now_v7();
        let mut incoming = Self {
            version,
            key: None,
            place: place.into(),
            file: None,
            request_id,
            here: 0,
            asked: 0,
            asked_at: None,
        };
        let announcement = incoming.path(ANNOUNCEMENT);
        // Parts of another announcement of this number, e.g. of a delta, are not parts of this one.
        if fs::read(&announcement).is_ok_and(|before| before != jws.as_bytes()) {
            incoming.forget();
        }
        durable::replace(&announcement, jws.as_bytes())?;
        let file = Writer::resume(&incoming.path(PARTS), keyring, &incoming.name())?;
        incoming.here = u32::try_from(file.frames()).unwrap_or(0).min(parts(&incoming.version));
        (incoming.asked, incoming.file) = (incoming.here, Some(file));
        Ok(incoming)
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.place.join(format!("{}.{ending}", self.version.version))
    }

    fn name(&self) -> String {
        format!("{} {} {PARTS}", self.version.list, self.version.version)
    }

    /// Whether all of it is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.here == parts(&self.version)
    }

    /// Whether it can be taken in: it is whole, and its key is here where it needs one. Without it, it would
    /// put one out of force that can be matched by.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_whole() && (self.version.key_sha256.is_none() || self.key.is_some())
    }

    /// The next request, where one is due: the last was answered, or was not for a while.
    pub fn request(&mut self, now: Instant) -> Option<ListRequest> {
        let silent = self.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= SILENCE);
        if self.is_whole() || (self.here < self.asked && !silent) {
            return None;
        }
        let many = MAX_PARTS.min(parts(&self.version) - self.here);
        (self.asked, self.asked_at) = (self.here + many, Some(now));
        Some(ListRequest {
            request_id: self.request_id,
            list: self.version.list.clone(),
            version: self.version.version,
            base: self.version.base,
            first_part: self.here,
            parts: many,
        })
    }

    /// A new connection: what was asked for on the last one will not come.
    pub fn connected(&mut self) {
        self.asked_at = None;
    }

    /// Takes a part in; `false` where it was not the next one: that is asked for again in time.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn part(
        &mut self,
        request_id: Uuid,
        part: u32,
        bytes: &[u8],
        now: Instant,
    ) -> io::Result<bool> {
        let left = self.version.bytes.saturating_sub(u64::from(self.here) * PART_BYTES as u64);
        let fits = bytes.len() as u64 == left.min(PART_BYTES as u64);
        let next = request_id == self.request_id && part == self.here && !self.is_whole() && fits;
        let Some(file) = self.file.as_mut().filter(|_| next) else { return Ok(false) };
        file.push(bytes)?;
        self.here += 1;
        self.asked_at = Some(now);
        Ok(true)
    }

    /// Notes that it is being taken in.
    ///
    /// # Errors
    /// Where the agent has ended at that [`MAX_ATTEMPTS`] times, or it can't be noted.
    pub fn attempt(&self) -> io::Result<()> {
        let path = self.path(ATTEMPTS);
        let before = durable::read(&path).ok().and_then(|b| str::from_utf8(&b).ok()?.parse().ok());
        let before: u32 = before.unwrap_or(0);
        if before >= MAX_ATTEMPTS {
            return Err(io::Error::other(format!(
                "the agent has ended {before} times while it was taken in: is it too large for this pole?"
            )));
        }
        durable::write(&path, (before + 1).to_string().as_bytes())
    }

    /// The whole list, to be read from its beginning.
    ///
    /// # Errors
    /// Where it can't be read or written.
    pub fn open<'a>(&mut self, keyring: &'a Keyring) -> io::Result<Reader<'a>> {
        if let Some(file) = self.file.take() {
            file.finish()?;
        }
        Reader::open(&self.path(PARTS), keyring, &self.name())
    }

    /// Deletes what is here of it.
    pub fn forget(&self) {
        forget(&self.place, self.version.version);
    }
}

/// Deletes what is here of a version of a list that is not taken in.
pub fn forget(place: &Path, version: u64) {
    for ending in ENDINGS {
        match fs::remove_file(place.join(format!("{version}.{ending}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(version, %error, "parts of a list are left");
            }
            _ => {}
        }
    }
}

/// Deletes what is here of versions up to one that is in force.
///
/// # Errors
/// Where the folder can't be read.
pub fn forget_up_to(place: &Path, highest: u64) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        let is_ours = path.extension().is_some_and(|e| ENDINGS.iter().any(|ending| e == *ending));
        let version = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(version) = version.filter(|v| is_ours && *v <= highest) {
            forget(place, version);
        }
    }
    Ok(())
}

/// Bytes on the disk of a version that is on its way.
#[must_use]
pub fn bytes(place: &Path, version: u64) -> u64 {
    fs::metadata(place.join(format!("{version}.{PARTS}"))).map_or(0, |parts| parts.len())
}

/// Announcements of lists that were on their way when the agent ended.
///
/// # Errors
/// Where the folder can't be read.
pub fn unfinished(place: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == ANNOUNCEMENT) {
            found.push(fs::read_to_string(path)?);
        }
    }
    Ok(found)
}
