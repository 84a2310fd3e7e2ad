//! What the server says of the pole's alerts: counted, said on the health page, kept through restarts.
//!
//! How it fails: what is no disposition is counted and left out; a damaged file is set aside and what is
//! remembered begun anew, which the health page says. A power cut costs the last seconds of it.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use milepost_wire::{Disposition, DispositionError};

use super::kept::Kept;
use crate::{
    health::Health,
    lists::disposition::{TooManyLists, Window},
    sealing::Keyring,
};

/// The file in the lists' folder.
const FILE: &str = "dispositions.sealed";
/// What the fact on the health page is called.
const FACT: &str = "What became of alerts";
/// Many that come together are written together: so often at most.
const WRITE_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum Ignored {
    #[error(transparent)]
    Disposition(#[from] DispositionError),
    #[error(transparent)]
    List(#[from] TooManyLists),
    #[error("it is of a list that is not in force here")]
    Unknown,
}

/// The dispositions of one pole's alerts.
pub(super) struct Dispositions {
    kept: Kept<Window>,
    health: Arc<Health>,
    written: Option<Instant>,
    unwritten: bool,
}

impl Dispositions {
    /// Those in the lists' folder.
    pub fn open(folder: &Path, keyring: &Keyring, health: Arc<Health>) -> io::Result<Self> {
        let kept = Kept::open(folder.join(FILE), keyring)?;
        let dispositions = Self { kept, health, written: None, unwritten: false };
        dispositions.say(None);
        Ok(dispositions)
    }

    /// Takes one in.
    pub fn take(&mut self, json: &[u8], is_ours: impl Fn(&str) -> bool) {
        match self.try_take(json, is_ours) {
            Ok(true) => {
                self.unwritten = true;
                self.say(None);
            }
            Ok(false) => {}
            Err(why) => {
                tracing::warn!(%why, bytes = json.len(), "disposition ignored");
                self.health.metrics.dispositions_ignored.inc();
            }
        }
    }

    fn try_take(&mut self, json: &[u8], is_ours: impl Fn(&str) -> bool) -> Result<bool, Ignored> {
        let said = Disposition::from_json(json)?;
        if !is_ours(&said.list) {
            return Err(Ignored::Unknown);
        }
        let Some(judged) = self.kept.value.take(&said)? else { return Ok(false) };
        let metrics = &self.health.metrics;
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let labels = vec![label("list", &said.list), label("verdict", judged.verdict.name())];
        metrics.dispositions.get_or_create(&labels).inc();
        for (read, shown) in &judged.confused {
            let labels = vec![label("read", &read.to_string()), label("shown", &shown.to_string())];
            metrics.confusions.get_or_create(&labels).inc();
        }
        Ok(true)
    }

    /// Writes what is not on the disk, where it is time.
    pub fn write(&mut self) {
        let waits = self.written.is_some_and(|written| written.elapsed() < WRITE_EVERY);
        if !self.unwritten || waits {
            return;
        }
        self.written = Some(Instant::now());
        match self.kept.write_out() {
            Ok(()) => self.unwritten = false,
            Err(error) => {
                tracing::warn!(%error, "dispositions can't be written; tried again");
                self.say(Some(&error));
            }
        }
    }

    fn say(&self, unwritten: Option<&io::Error>) {
        let mut words = vec![self.kept.value.words()];
        if let Some(aside) = &self.kept.aside {
            words
                .push(format!("what was known before was damaged, and is now {}", aside.display()));
        }
        if let Some(error) = unwritten {
            let path = self.kept.path().display();
            words.push(format!("{path} can't be written: {error}: check the disk"));
        }
        self.health.fact(FACT, words.join("; "));
    }
}
