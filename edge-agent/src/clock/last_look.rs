//! The last look at the clock, kept in a file for the next process of this boot: the clock may be set while
//! no agent runs.
//!
//! It need not survive a power cut, after which nothing says how long the machine was off: no fsync.

use std::{
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ClockSource, kernel::Moment};
use crate::durable;

/// The file, in the outbox's folder.
pub const FILE: &str = "clock-last-look";
/// How often it is written while nothing happens: what may be slewed grows with its age.
const EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    boot_id: Uuid,
    utc: Timestamp,
    boottime: Duration,
    since_boot: Duration,
    source: ClockSource,
}

/// The file of the last look.
#[derive(Debug)]
pub struct LastLook {
    path: PathBuf,
    boot_id: Option<Uuid>,
    written: Option<Duration>,
}

impl LastLook {
    /// The one at `path`, on a machine with this boot id.
    #[must_use]
    pub const fn new(path: PathBuf, boot_id: Option<Uuid>) -> Self {
        Self { path, boot_id, written: None }
    }

    /// What it says; `None` where it is of another boot, or there is none.
    pub(super) fn read(&self) -> Option<(Moment, ClockSource)> {
        let bytes = match durable::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "whether the clock was set while no agent ran can't be told");
                return None;
            }
        };
        // Half of one is none.
        let Written { boot_id, utc, boottime, since_boot, source } =
            serde_json::from_slice(&bytes).ok()?;
        (Some(boot_id) == self.boot_id).then_some((Moment { utc, boottime, since_boot }, source))
    }

    /// Writes a look where that is due; `now`: whatever was written before.
    pub(super) fn note(&mut self, look: Moment, source: ClockSource, now: bool) {
        let Some(boot_id) = self.boot_id else { return };
        let fresh = self.written.is_some_and(|at| look.boottime.saturating_sub(at) < EVERY);
        if fresh && !now {
            return;
        }
        let Moment { utc, boottime, since_boot } = look;
        match self.write(&Written { boot_id, utc, boottime, since_boot, source }) {
            Ok(()) => self.written = Some(boottime),
            // Its folder comes with the outbox.
            Err(error) => tracing::debug!(%error, "the last look at the clock was not written"),
        }
    }

    fn write(&self, written: &Written) -> io::Result<()> {
        let unfinished = self.path.with_extension(durable::UNFINISHED);
        fs::write(&unfinished, serde_json::to_vec(written)?)?;
        fs::rename(&unfinished, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(s: u64) -> Moment {
        let at = Duration::from_secs(s);
        Moment { utc: Timestamp::from_second(1_772_349_300).unwrap(), boottime: at, since_boot: at }
    }

    #[test]
    fn a_process_of_the_same_boot_finds_the_last_look_and_no_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let boot = Some(Uuid::from_u128(1));
        let mut look = LastLook::new(path.clone(), boot);
        assert_eq!(look.read(), None);
        look.note(moment(10), ClockSource::Ntp, false);
        assert_eq!(LastLook::new(path.clone(), boot).read(), Some((moment(10), ClockSource::Ntp)));
        assert_eq!(LastLook::new(path.clone(), Some(Uuid::nil())).read(), None);
        assert_eq!(LastLook::new(path.clone(), None).read(), None);
        look.note(moment(69), ClockSource::Ntp, false);
        assert_eq!(look.read().unwrap().0, moment(10), "not written every second");
        look.note(moment(69), ClockSource::Ntp, true);
        assert_eq!(look.read().unwrap().0, moment(69));
        look.note(moment(129), ClockSource::Ntp, false);
        assert_eq!(look.read().unwrap().0, moment(129));
        fs::write(&path, "{").unwrap();
        assert_eq!(look.read(), None);
    }
}
