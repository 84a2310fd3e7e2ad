//! What the server asks: carried out one at a time, each answered.

use std::sync::Arc;

use jiff::Timestamp;
use milepost_wire::{Action, Command, Event, Leaf, Outcome, Response, Source};
use rumqttc::v5::mqttbytes::QoS;
use uuid::Uuid;

use super::{Cause, Session, Tag};
use crate::{
    list_store::{ListStore, mutes::MuteError},
    lists::mute,
    outbox::{HoldRequest, ManifestRequest, Outbox, OutboxError},
    suspension::{Ask, Order, Suspension, SuspensionError},
};

/// Commands waiting to be carried out; more are refused, and the server asks again.
pub(super) const MAX_WAITING: usize = 8;

impl Session<'_> {
    /// Takes a command in, or counts what is none.
    pub(super) fn command(&mut self, payload: &[u8]) {
        let metrics = &self.line.health.metrics;
        match Command::from_json(payload) {
            Ok(command) if self.commands.len() < MAX_WAITING => self.commands.push_back(command),
            Ok(_) => {
                tracing::warn!("too many commands at once: one was ignored");
                metrics.commands_ignored.inc();
            }
            Err(error) => {
                tracing::warn!(%error, bytes = payload.len(), "command ignored");
                metrics.commands_ignored.inc();
            }
        }
    }

    /// Carries out the next command, once the answer to the one before is with the broker.
    pub(super) async fn obey(&mut self) -> Result<(), Cause> {
        if self.answering {
            return Ok(());
        }
        let Some(command) = self.commands.pop_front() else { return Ok(()) };
        let command_id = command.command_id;
        tracing::info!(%command_id, "command");
        let pole = Pole {
            outbox: self.line.outbox.clone(),
            suspension: self.line.suspension.clone(),
            lists: self.line.lists.as_ref().map(|link| link.store.clone()),
            source: self.line.root.source(),
        };
        let carry_out = move || carry_out(&pole, command);
        let done = tokio::task::spawn_blocking(carry_out).await;
        let response = match done {
            Ok(Ok((sequence, why))) => {
                Response { command_id, outcome: Outcome::Done, why, sequence }
            }
            Ok(Err(NotDone::Refused(why))) => {
                Response { command_id, outcome: Outcome::Refused, why: Some(why), sequence: None }
            }
            Ok(Err(NotDone::Unanswered(why))) => return Err(Cause::Outbox(why)),
            Err(error) => return Err(Cause::Outbox(error.to_string())),
        };
        self.line.health.metrics.commands.inc();
        let source = self.line.root.source();
        let event = Event::new(Uuid::now_v7(), source, Timestamp::now(), None, response);
        let event = event.to_json().map_err(|e| Cause::Protocol(e.to_string()))?;
        self.answering = true;
        self.publish(Leaf::Responses, QoS::AtLeastOnce, false, event, Tag::Response)
    }
}

/// Why a command is not done.
enum NotDone {
    /// Nothing was.
    Refused(String),
    /// Neither done nor refused would be true: the server asks again.
    Unanswered(String),
}

impl From<OutboxError> for NotDone {
    fn from(error: OutboxError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<SuspensionError> for NotDone {
    fn from(error: SuspensionError) -> Self {
        match error {
            SuspensionError::Unentered(_) => Self::Unanswered(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<MuteError> for NotDone {
    fn from(error: MuteError) -> Self {
        match error {
            MuteError::Untold(_) => Self::Unanswered(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// What commands are about.
struct Pole {
    outbox: Outbox,
    suspension: Arc<Suspension>,
    lists: Option<Arc<ListStore>>,
    source: Source,
}

/// The ledger's entry that came of it, and what could not be done.
type Done = (Option<u64>, Option<String>);

fn carry_out(pole: &Pole, command: Command) -> Result<Done, NotDone> {
    let Pole { outbox, suspension, .. } = pole;
    let Command { command_id, by, reason, case_number, action } = command;
    match action {
        Action::Hold { ids } => {
            hold(outbox, HoldRequest { held: true, ids, by, reason, case_number, command_id })
        }
        Action::Release { ids } => {
            hold(outbox, HoldRequest { held: false, ids, by, reason, case_number, command_id })
        }
        Action::Manifest { epoch, .. } if epoch != outbox.position().epoch => {
            Err(NotDone::Refused(format!("this pole's ledger is {}", outbox.position().epoch)))
        }
        Action::Manifest { from, to, .. } => {
            let request = ManifestRequest { from, to, command_id: Some(command_id) };
            Ok((Some(outbox.manifest(request)?), None))
        }
        Action::Suspend { from, until } => {
            let ask = Ask::Suspend { from, until };
            let order = Order { command_id, by, reason, case_number, ask };
            Ok((Some(suspension.obey(&order, outbox)?), None))
        }
        Action::Resume => {
            let order = Order { command_id, by, reason, case_number, ask: Ask::Resume };
            Ok((Some(suspension.obey(&order, outbox)?), None))
        }
        Action::Mute { list, entry_id, until } => {
            let until = Some(until);
            mute(pole, &mute::Order { command_id, by, reason, case_number, list, entry_id, until })
        }
        Action::Unmute { list, entry_id } => {
            let until = None;
            mute(pole, &mute::Order { command_id, by, reason, case_number, list, entry_id, until })
        }
    }
}

fn mute(pole: &Pole, order: &mute::Order) -> Result<Done, NotDone> {
    let no_lists = || NotDone::Refused("alert lists can't be used on this pole".into());
    let lists = pole.lists.as_ref().ok_or_else(no_lists)?;
    Ok((Some(lists.mute(order, &pole.outbox, &pole.source)?), None))
}

fn hold(outbox: &Outbox, request: HoldRequest) -> Result<Done, NotDone> {
    let done = outbox.hold(request)?;
    if done.sequence.is_none() {
        return Err(NotDone::Refused("none of these records is here (any more)".into()));
    }
    let missing = done.missing.len();
    let why = (missing > 0).then(|| format!("{missing} of them are not here (any more)"));
    Ok((done.sequence, why))
}
