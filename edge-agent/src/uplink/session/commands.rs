//! What the server asks: carried out one at a time, each answered.

use jiff::Timestamp;
use milepost_wire::{Action, Command, Event, Leaf, Outcome, Response};
use rumqttc::v5::mqttbytes::QoS;
use uuid::Uuid;

use super::{Cause, Session, Tag};
use crate::outbox::{HoldRequest, ManifestRequest, Outbox, OutboxError};

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
        let outbox = self.line.outbox.clone();
        let done = tokio::task::spawn_blocking(move || carry_out(&outbox, command)).await;
        let response = match done {
            Ok(Ok((sequence, why))) => {
                Response { command_id, outcome: Outcome::Done, why, sequence }
            }
            Ok(Err(why)) => {
                Response { command_id, outcome: Outcome::Refused, why: Some(why), sequence: None }
            }
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

/// The ledger's entry that came of it, and what could not be done; or why it is refused.
fn carry_out(outbox: &Outbox, command: Command) -> Result<(Option<u64>, Option<String>), String> {
    let Command { command_id, by, reason, case_number, action } = command;
    let refused = |e: OutboxError| e.to_string();
    let hold = |held, ids: Vec<Uuid>| {
        let request = HoldRequest { held, ids, by, reason, case_number, command_id };
        let done = outbox.hold(request).map_err(refused)?;
        if done.sequence.is_none() {
            return Err("none of these records is here (any more)".to_owned());
        }
        let missing = done.missing.len();
        let why = (missing > 0).then(|| format!("{missing} of them are not here (any more)"));
        Ok((done.sequence, why))
    };
    match action {
        Action::Hold { ids } => hold(true, ids),
        Action::Release { ids } => hold(false, ids),
        Action::Manifest { epoch, .. } if epoch != outbox.position().epoch => {
            Err(format!("this pole's ledger is {}", outbox.position().epoch))
        }
        Action::Manifest { from, to, .. } => {
            let request = ManifestRequest { from, to, command_id: Some(command_id) };
            outbox.manifest(request).map(|sequence| (Some(sequence), None)).map_err(refused)
        }
    }
}
