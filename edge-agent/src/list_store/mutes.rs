//! The mutes of one pole: ordered by the server, asked at each match, kept through restarts.
//!
//! What an order says goes into the ledger first, then to the disk, then it holds, then it is answered.
//! The law is [`crate::lists::mute`], which is pure.
//!
//! How it fails: a damaged file is set aside and said on the health page; nothing is muted then, and the
//! server orders again. Where the ledger or the file can't be written, an order is refused.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use milepost_wire::{Mute, Source};
use uuid::Uuid;

use super::kept::Kept;
use crate::{
    lists::mute::{Memory, Now, Order, OrderError},
    outbox::{Entry, Outbox, OutboxError},
    sealing::Keyring,
};

/// The file in the lists' folder.
const FILE: &str = "mutes.sealed";

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum MuteError {
    /// It can't be.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// There is no such list.
    #[error("no version of the list {0} is in force on this pole")]
    NoList(String),
    /// Who asked could not be entered, so nothing was done.
    #[error("the ledger can't take it: {0}")]
    Ledger(OutboxError),
    /// It would not outlive a restart, so nothing was done; the ledger has that as well.
    #[error("{path} can't be written: {why}: check the disk and its free space")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// The ledger has an order that was not carried out, and can't be told so.
    #[error("it can't be written, and the ledger can't be told so: {0}")]
    Untold(OutboxError),
}

/// The muted entries.
pub(super) struct Mutes {
    kept: Mutex<Kept<Memory>>,
    keyring: Keyring,
}

impl Mutes {
    /// Those in the lists' folder.
    pub fn open(folder: &Path, keyring: &Keyring) -> io::Result<Self> {
        let kept = Mutex::new(Kept::open(folder.join(FILE), keyring)?);
        Ok(Self { kept, keyring: keyring.clone() })
    }

    /// As [`Self::open`], beside an agent: nothing is changed.
    pub fn open_to_read(folder: &Path, keyring: &Keyring) -> Self {
        let kept = Mutex::new(Kept::open_to_read(folder.join(FILE), keyring));
        Self { kept, keyring: keyring.clone() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<Memory>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now<'_> {
        Now { wall: Timestamp::now(), own: &**self.keyring.clock() }
    }

    /// Whether an entry gives no alert.
    pub fn is_muted(&self, list: &str, entry_id: &str) -> bool {
        self.kept().value.is_muted(list, entry_id, &self.now())
    }

    /// How many entries of a list give none.
    pub fn count(&self, list: &str) -> usize {
        self.kept().value.count(list)
    }

    /// What is to be said of a file that was damaged.
    pub fn damage(&self) -> Option<String> {
        let kept = self.kept();
        let aside = kept.aside.as_ref()?.display();
        Some(format!("which entries were muted is lost ({aside}): mute them again"))
    }

    /// Forgets what is over; whether anything was.
    pub fn look(&self) -> bool {
        let mut kept = self.kept();
        let mut next = kept.value.clone();
        next.look(&self.now());
        let changed = next != kept.value;
        if changed {
            // It is over all the same: what can't be written is forgotten again after a restart.
            kept.value = next;
            if let Err(error) = kept.write_out() {
                tracing::warn!(%error, "that a mute is over can't be written; it is all the same");
            }
        }
        changed
    }

    /// Carries an order out; the number of its entry in the ledger. One that was carried out before is
    /// answered as it was then.
    pub fn obey(&self, order: &Order, outbox: &Outbox, source: &Source) -> Result<u64, MuteError> {
        let mut kept = self.kept();
        if let Some(sequence) = kept.value.answered(order.command_id) {
            return Ok(sequence);
        }
        let mut next = kept.value.clone();
        next.carry_out(order, &self.now())?;
        let enter = |said: Mute| {
            let now = Timestamp::now();
            outbox.keep(Entry::ledger(Uuid::now_v7(), source.clone(), now, said))
        };
        let sequence = enter(order.said()).map_err(MuteError::Ledger)?;
        next.answer(order.command_id, sequence);
        if let Err(why) = kept.save(next) {
            let until = kept.value.until(&order.list, &order.entry_id, &self.now());
            enter(Order { until, ..order.clone() }.said()).map_err(MuteError::Untold)?;
            return Err(MuteError::Write { path: kept.path().into(), why });
        }
        Ok(sequence)
    }
}
