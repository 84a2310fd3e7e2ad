//! One version of a list on the disk: a folder with three sealed files.
//!
//! - `head`: what is said of the version, its key (a blind list's is in memory alone), its open entries, where each part of `entries` is;
//! - `index`: plates as keyed numbers, read into memory whole;
//! - `entries`: the entries themselves, [`CHUNK`] at a time, read where a read matches.
//!
//! Written under another name, then renamed: a folder of this name is whole.

use std::{
    io::{self, BufReader, Read},
    path::Path,
    sync::OnceLock,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use milepost_wire::{ListFormat, ListVersion};
use serde::{Deserialize, Serialize};

use super::{
    ListError,
    hashed::Hashed,
    merge, rules,
    sealed_file::{Chunks, ReadableChunks, Reader, Writer},
};
use crate::{
    durable,
    lists::{
        Entry, List, Report,
        blind::Key,
        fingerprint::{Fingerprints, KEY_BYTES},
        format::{self, FormatError},
        index::Index,
        search::{Builder, TooMany},
    },
    sealing::Keyring,
};

/// Shape of the files; a version with another is asked for anew.
const FORMAT: u32 = 1;
/// Entries that are sealed together.
const CHUNK: usize = 16;

const HEAD: &str = "head";
const INDEX: &str = "index";
const ENTRIES: &str = "entries";

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    version: ListVersion,
    /// Base64; a blind list's is not here.
    key: Option<String>,
    patterns: Vec<Entry>,
    /// Lengths of the parts of `entries`.
    chunks: Vec<u32>,
}

/// A version that can be searched.
#[derive(Debug)]
pub struct Shelf {
    /// What is in memory of it.
    pub list: List,
    entries: ReadableChunks,
    keyring: Keyring,
}

/// What a file of a version is, for its seal.
fn name(version: &ListVersion, file: &str) -> String {
    named(&version.list, version.version, file)
}

fn named(list: &str, version: u64, file: &str) -> String {
    format!("{list} {version} {file}")
}

/// Takes entries in and writes their parts.
struct Taking<'a> {
    keyring: &'a Keyring,
    builder: Builder,
    chunks: Chunks,
    waiting: Vec<Vec<u8>>,
    /// The first that went wrong; what comes after it is not taken.
    failed: Option<ListError>,
}

impl Taking<'_> {
    fn take(&mut self, entry: Entry) {
        if self.failed.is_some() {
            return;
        }
        let taken = self.builder.push(entry).map_err(|e: TooMany| ListError::Limit(e.to_string()));
        let done = taken.and_then(|entry| {
            if let Some(entry) = entry {
                self.waiting.push(postcard::to_stdvec(&entry).map_err(io::Error::other)?);
            }
            if self.waiting.len() == CHUNK { self.write() } else { Ok(()) }
        });
        self.failed = done.err();
    }

    fn write(&mut self) -> Result<(), ListError> {
        let plain = postcard::to_stdvec(&self.waiting).map_err(io::Error::other)?;
        self.chunks.push(self.keyring, &plain)?;
        self.waiting.clear();
        Ok(())
    }
}

/// Reads a list, or a delta against `base`, and writes its folder, which must not be there; not durable by its name yet.
///
/// # Errors
/// [`ListError`]; what was written of it must be deleted.
pub fn write(
    folder: &Path,
    keyring: &Keyring,
    version: &ListVersion,
    base: Option<&Shelf>,
    input: &mut dyn Read,
) -> Result<Report, ListError> {
    durable::make_folder(folder)?;
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
    let mut taking = Taking {
        keyring,
        builder: Builder::new(Fingerprints::new(&key)),
        chunks: Chunks::create(&folder.join(ENTRIES), &name(version, ENTRIES))?,
        waiting: Vec::with_capacity(CHUNK),
        failed: None,
    };
    let mut input = Hashed::new(input);
    let mut base_failed = None;
    let report = match base {
        None => format::read(version.format, &mut input, |entry| taking.take(entry)),
        Some(base) => merge::read(base, &mut input, &mut base_failed, |entry| taking.take(entry)),
    };
    if !matches!(report, Err(FormatError::Unreadable { .. })) {
        // What is wrong with the bytes says more than what is wrong with the lines that they seem to be.
        let (came, hash) = input.finish()?;
        if came != version.bytes {
            return Err(ListError::Size { expected: version.bytes, came });
        }
        if hash != version.sha256 {
            return Err(ListError::Hash);
        }
    }
    let report = report?;
    match base {
        None => rules::accept(version.format, &report)?,
        Some(_) => rules::accept_lines(&report)?,
    }
    if report.key_sha256 != version.key_sha256 {
        return Err(ListError::OtherKey);
    }
    if let Some(error) = base_failed {
        return Err(error);
    }
    if !taking.waiting.is_empty() && taking.failed.is_none() {
        taking.failed = taking.write().err();
    }
    let Taking { builder, chunks, failed, .. } = taking;
    if let Some(error) = failed {
        return Err(error);
    }
    let chunks = chunks.finish()?;
    let list = builder.build(version.clone());
    let mut index = Writer::create(&folder.join(INDEX), keyring, &name(version, INDEX))?;
    list.index.write(&mut index)?;
    index.finish()?;
    let head = Head {
        format: FORMAT,
        version: version.clone(),
        key: (version.format != ListFormat::Blind).then(|| STANDARD.encode(key)),
        patterns: list.patterns.into_iter().map(|(_, entry)| entry).collect(),
        chunks,
    };
    let mut file = Writer::create(&folder.join(HEAD), keyring, &name(version, HEAD))?;
    serde_json::to_writer(&mut file, &head).map_err(io::Error::from)?;
    file.finish()?;
    durable::sync_folder(folder)?;
    Ok(report)
}

impl Shelf {
    /// Opens a version's folder.
    ///
    /// # Errors
    /// Where a file is missing, damaged or of another version, or can't be unsealed.
    pub fn open(folder: &Path, keyring: &Keyring, list: &str, version: u64) -> io::Result<Self> {
        let name = |file| named(list, version, file);
        let head = Reader::open(&folder.join(HEAD), keyring, &name(HEAD))?;
        let head: Head = serde_json::from_reader(BufReader::new(head)).map_err(io::Error::from)?;
        if head.format != FORMAT {
            return Err(io::Error::other("it was written by another version of the agent"));
        }
        let fingerprints = OnceLock::new();
        if let Some(key) = &head.key {
            let key = STANDARD.decode(key).ok().and_then(|key| key.try_into().ok());
            let key: [u8; KEY_BYTES] = key.ok_or_else(|| io::Error::other("its key is damaged"))?;
            let _ = fingerprints.set(Fingerprints::new(&key));
        }
        let mut index = Reader::open(&folder.join(INDEX), keyring, &name(INDEX))?;
        let index = Index::read(&mut index).map_err(io::Error::other)?;
        let entries = ReadableChunks::open(&folder.join(ENTRIES), &name(ENTRIES), &head.chunks)?;
        let list = List::new(head.version, index, fingerprints, head.patterns);
        Ok(Self { list, entries, keyring: keyring.clone() })
    }

    /// Whether it is blind and its key is not here yet.
    #[must_use]
    pub fn waits_for_key(&self) -> bool {
        self.list.fingerprints.get().is_none()
    }

    /// Opens a list that waits for this key; whether it did.
    pub fn unlock(&self, key: &Key) -> bool {
        let is_its = self.list.version.key_sha256.as_deref() == Some(&*key.digest());
        is_its && self.list.fingerprints.set(key.fingerprints()).is_ok()
    }

    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.list.index.len() + self.list.patterns.len()
    }

    /// Bytes of the disk that it takes, nearly.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.bytes() + self.list.index.bytes() as u64
    }

    /// All entries: whole plates in the order of the list, then open ones.
    ///
    /// # Errors
    /// Where one can't be read or unsealed; those before it were given.
    pub fn each(&self, mut take: impl FnMut(Entry)) -> io::Result<()> {
        for chunk in 0..self.entries.len() {
            let chunk = self.entries.get(&self.keyring, chunk)?;
            let entries: Vec<&[u8]> = postcard::from_bytes(&chunk).map_err(io::Error::other)?;
            for entry in entries {
                take(postcard::from_bytes(entry).map_err(io::Error::other)?);
            }
        }
        self.list.patterns.iter().map(|(_, entry)| entry.clone()).for_each(take);
        Ok(())
    }

    /// The entry at a place of the index.
    ///
    /// # Errors
    /// Where it can't be read or unsealed.
    pub fn entry(&self, place: u32) -> io::Result<Entry> {
        let place = place as usize;
        let chunk = self.entries.get(&self.keyring, place / CHUNK)?;
        let entries: Vec<&[u8]> = postcard::from_bytes(&chunk).map_err(io::Error::other)?;
        let none = || io::Error::other("the index names an entry that is not there");
        let entry = entries.get(place % CHUNK).ok_or_else(none)?;
        postcard::from_bytes(entry).map_err(io::Error::other)
    }
}

/// The head of a version as it is sealed.
#[cfg(test)]
pub(super) fn plain_head(
    folder: &Path,
    keyring: &Keyring,
    list: &str,
    version: u64,
) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    Reader::open(&folder.join(HEAD), keyring, &named(list, version, HEAD))?
        .read_to_end(&mut plain)?;
    Ok(plain)
}
