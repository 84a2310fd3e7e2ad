//! Capture suspended by the server for a time: who, why and when is in the ledger, and it ends by
//! itself.
//!
//! [`Suspension`] is one handle for all who have to do with it: the uplink has an order carried out
//! ([`Suspension::obey`]), the vision thread looks at no frame while [`Suspension::is_in_force`], a
//! thread begins and ends what is due ([`Suspension::watch`]), and the keep thread enters into the
//! ledger what came of that ([`Suspension::enter`]). The law is [`state`], which is pure.
//!
//! What is in force lies in `<outbox.directory>/suspension.json`, durable before a command is
//! answered, so that a restart stays suspended. It has no names: who asked, and why, goes into the sealed
//! ledger before anything is done.
//!
//! How it fails: while the file can't be read, capture waits and the health page says why; a damaged
//! one is set aside, the ledger says that what it knew is lost, and capture goes on. One that can't be
//! written makes an order refused, and ends no later what is due to end.

pub mod state;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use milepost_wire as wire;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::{Discipline, kernel::Moment},
    durable,
    health::{Component, Health, Status},
    outbox::{self, Outbox, OutboxError},
    sealing::{Clock, PoleClock},
};
pub use state::{Ask, Order, OrderError};
use state::{Memory, Now, Window};

/// The file in the outbox's folder.
const FILE: &str = "suspension.json";
/// How often it is looked whether one is to begin or to end.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What the fact on the health page is called.
const FACT: &str = "Suspension of capture";

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SuspensionError {
    /// It can't be.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// What is in force is not known.
    #[error("what was ordered before can't be read: {0}: check outbox.directory")]
    Unknown(String),
    /// Who asked could not be entered, so nothing was done.
    #[error("the ledger can't take it: {0}")]
    Ledger(OutboxError),
    /// It would not outlive a restart, so nothing was done.
    #[error("{path} can't be written: {why}: check the disk and its free space")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// It is carried out, and what came of it is not in the ledger yet: no answer is right.
    #[error("it is done, but not yet in the ledger: {0}")]
    Unentered(OutboxError),
}

/// What is known once the file was read.
struct Known {
    clock: Arc<dyn Clock>,
    memory: Memory,
    /// The file is older than the memory.
    unsaved: bool,
    /// Where a damaged file was set aside at this start.
    aside: Option<PathBuf>,
}

impl Known {
    fn now(&self) -> Now {
        now(&*self.clock)
    }
}

fn now(clock: &dyn Clock) -> Now {
    let moment = Moment::now();
    Now {
        wall: moment.utc,
        synchronised: Discipline::ask().is_ok_and(|d| d.synchronised),
        own: clock.now(),
        boot_time: moment.boot_time(),
    }
}

/// The suspension of one pole's capture.
pub struct Suspension {
    path: PathBuf,
    sealing: PathBuf,
    source: wire::Source,
    health: Arc<Health>,
    in_force: AtomicBool,
    known: Mutex<Result<Known, String>>,
}

impl fmt::Debug for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Suspension({}, in force: {})", self.path.display(), self.is_in_force())
    }
}

impl Suspension {
    /// What an outbox's folder says is in force; where that can't be read, something is until it can.
    #[must_use]
    pub fn open(directory: &Path, source: wire::Source, health: Arc<Health>) -> Self {
        let suspension = Self {
            path: directory.join(FILE),
            sealing: directory.join(outbox::KEYS),
            source,
            health,
            in_force: AtomicBool::new(true),
            known: Mutex::new(Err("not read yet".into())),
        };
        suspension.look();
        suspension
    }

    /// Whether nothing may be captured. Asked after a frame is taken and before it is looked at, so that
    /// what was exposed after the beginning that the ledger names never is.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        self.in_force.load(Ordering::SeqCst)
    }

    /// Waits for its end, or the agent's, and says on the health page why nothing is captured.
    pub fn wait(&self, stop: &CancellationToken) {
        while self.is_in_force() && !stop.is_cancelled() {
            let (status, output) = match &*self.known() {
                Ok(Known { memory: Memory { window: Some(window), .. }, .. }) => (
                    Status::Warn,
                    format!(
                        "suspended by command of the central server until {}: nothing is captured; \
                         it ends by itself",
                        window.until
                    ),
                ),
                Ok(_) => return,
                Err(why) => (
                    Status::Fail,
                    format!(
                        "capture waits, as it is not known whether it is suspended: {why}: check \
                         outbox.directory"
                    ),
                ),
            };
            self.health.set(Component::Capture, status, output);
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Begins and ends what is due, until `stop`. `nudge` has somebody call [`Self::enter`].
    pub fn watch(&self, stop: &CancellationToken, nudge: impl Fn()) {
        while !stop.is_cancelled() {
            self.look();
            if self.known().as_ref().is_ok_and(|known| !known.memory.to_enter.is_empty()) {
                nudge();
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Carries an order out; the number of the last entry that came of it. One that was carried out
    /// before is answered as it was then.
    ///
    /// # Errors
    /// Nothing was done, but for [`SuspensionError::Unentered`]: then ask again.
    pub fn obey(&self, order: &Order, outbox: &Outbox) -> Result<u64, SuspensionError> {
        let mut known = self.known();
        let known = known.as_mut().map_err(|why| SuspensionError::Unknown(why.clone()))?;
        let command_id = order.command_id;
        if known.memory.answered(command_id).is_none() {
            self.enter_all(known, outbox).map_err(SuspensionError::Ledger)?;
            // Who and why first, if it can be done at all.
            let now = known.now();
            let said = known.memory.clone().carry_out(order, &now)?;
            let (id, source, ordered) = (Uuid::now_v7(), self.source.clone(), said.clone());
            let entry = outbox::Entry::ledger(id, source, now.wall, said);
            let sequence = outbox.keep(entry).map_err(SuspensionError::Ledger)?;
            let mut next =
                self.after(known, |memory, now| memory.carry_out(order, now).map(drop))?;
            next.answer(command_id, sequence);
            if let Err(why) = self.save(&next) {
                self.show(&known.memory, None);
                if let wire::Suspension::Ordered { suspension_id, .. } = ordered {
                    self.enter_refused(suspension_id, &now, outbox);
                }
                return Err(SuspensionError::Write { path: self.path.clone(), why });
            }
            self.take(known, next);
            tracing::info!(%command_id, in_force = self.is_in_force(), "suspension of capture");
        }
        self.enter_all(known, outbox).map_err(SuspensionError::Unentered)?;
        Ok(known.memory.answered(command_id).unwrap_or_default())
    }

    /// What was ordered is in the ledger and never held.
    fn enter_refused(&self, suspension_id: Uuid, now: &Now, outbox: &Outbox) {
        let (suspension_id, command_id) = (Some(suspension_id), Some(suspension_id));
        let (cause, told) = (wire::SuspensionEnd::Refused, now.told());
        let said = wire::Suspension::Ended { suspension_id, cause, command_id, told };
        let entry = outbox::Entry::ledger(Uuid::now_v7(), self.source.clone(), now.wall, said);
        if let Err(error) = outbox.keep(entry) {
            tracing::error!(%error, "that a suspension was refused is not in the ledger");
        }
    }

    /// Enters into the ledger what is to be; what can't be now waits for the next call.
    pub fn enter(&self, outbox: &Outbox) {
        if let Ok(known) = &mut *self.known()
            && let Err(error) = self.enter_all(known, outbox)
        {
            tracing::warn!(%error, "a suspension can't be entered into the ledger; tried again");
        }
    }

    fn known(&self) -> MutexGuard<'_, Result<Known, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file where it was not, and begins and ends what is due.
    fn look(&self) {
        let mut known = self.known();
        if let Err(before) = &*known {
            let read = self.read();
            match &read {
                Ok(known) => self.show(&known.memory, known.aside.as_deref()),
                Err(why) if why == before => {}
                Err(why) => tracing::error!(why, "whether capture is suspended can't be read"),
            }
            *known = read;
        }
        let Ok(known) = &mut *known else { return };
        let Ok(next) = self.after(known, |memory, now| {
            memory.look(now);
            Ok::<_, OrderError>(())
        }) else {
            return;
        };
        if known.unsaved || next != known.memory {
            self.keep(known, next);
        }
    }

    /// What the memory becomes by `work`. Where that begins a suspension, the flag goes up first: what
    /// the vision thread still looks at was exposed before the time that is then entered.
    fn after<E>(
        &self,
        known: &Known,
        work: impl Fn(&mut Memory, &Now) -> Result<(), E>,
    ) -> Result<Memory, E> {
        let attempt = || {
            let mut next = known.memory.clone();
            work(&mut next, &known.now()).map(|()| next)
        };
        let next = attempt()?;
        if !next.in_force() || self.is_in_force() {
            return Ok(next);
        }
        self.in_force.store(true, Ordering::SeqCst);
        attempt().inspect_err(|_| self.show(&known.memory, None))
    }

    /// Saves what has become of the memory, and takes it all the same: nothing is kept in force by a
    /// disk that can't be written.
    fn keep(&self, known: &mut Known, next: Memory) {
        let saved = self.save(&next);
        if let (Err(error), false) = (&saved, known.unsaved) {
            let path = self.path.display();
            tracing::error!(%error, %path, "a suspension's state can't be written; tried again");
        }
        self.take(known, next);
        known.unsaved = saved.is_err();
    }

    fn save(&self, memory: &Memory) -> io::Result<()> {
        durable::write(&self.path, &serde_json::to_vec(memory)?)
    }

    fn take(&self, known: &mut Known, next: Memory) {
        self.show(&next, known.aside.as_deref());
        known.memory = next;
        known.unsaved = false;
    }

    /// Puts up what all others see.
    fn show(&self, memory: &Memory, aside: Option<&Path>) {
        let in_force = memory.in_force();
        self.in_force.store(in_force, Ordering::SeqCst);
        self.health.metrics.capture_suspended.set(in_force.into());
        let fact = match &memory.window {
            None => aside.map_or("none".into(), |aside| {
                let aside = aside.display();
                format!("none; what was known of one is damaged, and now {aside}: order it again")
            }),
            Some(Window { until, .. }) if in_force => format!("until {until}"),
            Some(Window { from, until, .. }) => format!("from {from} until {until}"),
        };
        self.health.fact(FACT, fact);
    }

    fn enter_all(&self, known: &mut Known, outbox: &Outbox) -> Result<(), OutboxError> {
        let mut next = known.memory.clone();
        let mut result = Ok(());
        while let Some(state::Entry { id, at, said }) = next.to_enter.front().cloned() {
            let entry = outbox::Entry::ledger(id, self.source.clone(), at, said);
            match outbox.keep(entry) {
                Ok(sequence) => next.entered(Some(sequence)),
                Err(error) if error.is_final() => {
                    tracing::error!(%error, "an entry of a suspension is given up");
                    next.entered(None);
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        // Lost in a power cut, they are entered again under their ids, which is once.
        if next != known.memory {
            self.keep(known, next);
        }
        result
    }

    fn read(&self) -> Result<Known, String> {
        let said = |path: &Path, e: &dyn fmt::Display| format!("{}: {e}", path.display());
        durable::make_folder(&self.sealing).map_err(|e| said(&self.sealing, &e))?;
        let clock = PoleClock::open(&self.sealing).map_err(|e| e.to_string())?;
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let bytes = match durable::read(&self.path) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Known { clock, memory: Memory::default(), unsaved: false, aside: None });
            }
            // Larger than any of ours, or gone bad.
            Err(e) if e.raw_os_error().is_none() || durable::is_bad_medium(&e) => None,
            Err(e) => return Err(said(&self.path, &e)),
        };
        if let Some(memory) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(Known { clock, memory, unsaved: false, aside: None });
        }
        let now = now(&*clock);
        let aside = durable::set_aside(&self.path, now.wall).map_err(|e| said(&self.path, &e))?;
        tracing::error!(aside = %aside.display(), "what was known of a suspension is damaged; capture goes on");
        Ok(Known { clock, memory: Memory::lost(&now), unsaved: true, aside: Some(aside) })
    }
}

#[cfg(test)]
mod tests;
