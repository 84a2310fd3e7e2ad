//! What the server asks of a pole, and the pole's answer. A command is plain JSON, not an event, so
//! that any server can write one.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    event::Data,
    mute::MAX_ENTRY_ID,
    schema,
    topics::{TopicError, TopicLevel},
};

/// Largest command that is read, in bytes.
pub const MAX_COMMAND_BYTES: usize = 16 * 1024;
/// Most records that one command names.
pub const MAX_COMMAND_IDS: usize = 100;
/// Longest text of a person's in a command, in characters.
pub const MAX_COMMAND_TEXT: usize = 200;

/// A command, on `commands`. Sent twice, it is carried out twice, which does no harm; of those about
/// suspension and mutes the pole knows the last ones again and answers as before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// The server's name for it; stands in the answer.
    #[schemars(schema_with = "schema::uuid")]
    pub command_id: Uuid,
    /// Who asks: a person or a service, as the server knows them.
    #[schemars(length(min = 1, max = 200))]
    pub by: String,
    /// Why.
    #[schemars(length(min = 1, max = 200))]
    pub reason: String,
    /// The case it belongs to, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 200))]
    pub case_number: Option<String>,
    /// What is asked.
    #[serde(flatten)]
    pub action: Action,
}

/// What is asked of a pole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Sign for a stretch of the ledger; the manifest comes on `ledger`.
    Manifest {
        /// The ledger that the stretch is of.
        #[schemars(schema_with = "schema::uuid")]
        epoch: Uuid,
        /// First sequence.
        #[schemars(range(min = 1))]
        from: u64,
        /// Last one.
        #[schemars(range(min = 1))]
        to: u64,
    },
    /// Keep these records, and their photos, beyond their receipt and their time on the pole, for two years at most.
    Hold {
        /// Ids of events; those that the pole does not have are named in the answer.
        #[schemars(length(min = 1, max = 100), schema_with = "schema::uuids")]
        ids: Vec<Uuid>,
    },
    /// End a hold.
    Release {
        /// Ids of events.
        #[schemars(length(min = 1, max = 100), schema_with = "schema::uuids")]
        ids: Vec<Uuid>,
    },
    /// Capture nothing in this time, at most [`MAX_SUSPENSION`](crate::MAX_SUSPENSION) long. In place of
    /// the suspension that is in force or to come, if there is one.
    Suspend {
        /// From when; left out: from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(schema_with = "schema::date_time")]
        from: Option<Timestamp>,
        /// Until when.
        #[schemars(schema_with = "schema::date_time")]
        until: Timestamp,
    },
    /// End the suspension that is in force or to come.
    Resume,
    /// Give no alert by this entry until then, at most [`MAX_MUTE`](crate::MAX_MUTE) ahead. In place of
    /// the entry's mute that is in force, if there is one; a new version of the list does not end it.
    Mute {
        /// Which list.
        #[schemars(extend("pattern" = "^[A-Za-z0-9-]{1,64}$"))]
        list: String,
        /// Which entry: the `entry.id` of its alerts.
        #[schemars(length(min = 1, max = 64))]
        entry_id: String,
        /// Until when.
        #[schemars(schema_with = "schema::date_time")]
        until: Timestamp,
    },
    /// Let a muted entry give alerts again.
    Unmute {
        /// Which list.
        #[schemars(extend("pattern" = "^[A-Za-z0-9-]{1,64}$"))]
        list: String,
        /// Which entry.
        #[schemars(length(min = 1, max = 64))]
        entry_id: String,
    },
}

/// What is wrong with a command. Nothing of a wrong one is done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Larger than [`MAX_COMMAND_BYTES`].
    #[error("command of {0} bytes; at most {MAX_COMMAND_BYTES} are read")]
    TooLarge(usize),
    /// Not JSON, or not of this shape.
    #[error("not a command: {0}")]
    Json(#[from] serde_json::Error),
    /// Names none or too many.
    #[error("command that names {0} records; 1 to {MAX_COMMAND_IDS} are taken: split it")]
    Ids(usize),
    /// `by`, `reason` or `case_number`.
    #[error("`{0}` must have 1 to {MAX_COMMAND_TEXT} characters")]
    Text(&'static str),
    /// No list has such a name.
    #[error("`list`: {0}")]
    List(#[from] TopicError),
    /// No entry has such an id.
    #[error("`entry_id` must have 1 to {MAX_ENTRY_ID} bytes")]
    EntryId,
}

impl Command {
    /// Reads and checks one.
    ///
    /// # Errors
    /// Whatever is wrong first.
    pub fn from_json(json: &[u8]) -> Result<Self, CommandError> {
        if json.len() > MAX_COMMAND_BYTES {
            return Err(CommandError::TooLarge(json.len()));
        }
        let command: Self = serde_json::from_slice(json)?;
        if let Action::Hold { ids } | Action::Release { ids } = &command.action
            && !(1..=MAX_COMMAND_IDS).contains(&ids.len())
        {
            return Err(CommandError::Ids(ids.len()));
        }
        if let Action::Mute { list, entry_id, .. } | Action::Unmute { list, entry_id } =
            &command.action
        {
            TopicLevel::new(list)?;
            if !(1..=MAX_ENTRY_ID).contains(&entry_id.len()) {
                return Err(CommandError::EntryId);
            }
        }
        let case = command.case_number.as_deref().unwrap_or("-");
        for (name, text) in
            [("by", command.by.as_str()), ("reason", &command.reason), ("case_number", case)]
        {
            if !(1..=MAX_COMMAND_TEXT).contains(&text.chars().count()) {
                return Err(CommandError::Text(name));
            }
        }
        Ok(command)
    }
}

/// A pole's answer, on `responses`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// Of the command.
    #[schemars(schema_with = "schema::uuid")]
    pub command_id: Uuid,
    /// Done or refused.
    pub outcome: Outcome,
    /// Why it was refused, or what of it could not be done.
    pub why: Option<String>,
    /// The ledger's entry that came of it.
    pub sequence: Option<u64>,
}

impl Data for Response {
    const TYPE: &'static str = "org.milepost.alpr.response.v1";
    const IN_LEDGER: bool = false;
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done.
    Done,
    /// Nothing was done.
    Refused,
}

/// Records were put on hold, or a hold was ended: who asked and why is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// On hold from here on, or not any more.
    pub held: bool,
    /// Which records: of those that the command named, the ones that were there.
    #[schemars(length(min = 1, max = 100), schema_with = "schema::uuids")]
    pub ids: Vec<Uuid>,
    /// Until when the pole keeps them at the latest; null where a hold was ended.
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Who asked.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The case.
    pub case_number: Option<String>,
    /// The command.
    #[schemars(schema_with = "schema::uuid")]
    pub command_id: Uuid,
}

impl Data for Hold {
    const TYPE: &'static str = "org.milepost.alpr.hold.v1";
    const IN_LEDGER: bool = true;
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::examples;

    proptest! {
        #[test]
        fn no_bytes_make_reading_a_command_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = Command::from_json(&bytes);
        }
    }

    #[test]
    fn a_command_comes_back_as_it_was_and_what_is_wrong_with_one_is_named() {
        let command = examples::command();
        let json = serde_json::to_vec(&command).unwrap();
        assert_eq!(Command::from_json(&json).unwrap(), command);
        let entry = || ("svs".to_owned(), "2026-014237".to_owned());
        let ((list, entry_id), mute) = (entry(), examples::mute_command().action);
        let unmute = Action::Unmute { list, entry_id };
        for action in [examples::suspend().action, Action::Resume, mute, unmute] {
            let command = Command { action, ..command.clone() };
            let json = serde_json::to_vec(&command).unwrap();
            assert_eq!(Command::from_json(&json).unwrap(), command);
        }
        let e = |command: Command| {
            Command::from_json(&serde_json::to_vec(&command).unwrap()).unwrap_err().to_string()
        };
        let ids = vec![Uuid::nil(); MAX_COMMAND_IDS + 1];
        assert!(e(Command { action: Action::Hold { ids }, ..command.clone() }).contains("split"));
        assert!(e(Command { reason: String::new(), ..command.clone() }).contains("`reason`"));
        assert!(e(Command { by: "x".repeat(201), ..command }).contains("`by`"));
        let unmute = |(list, entry_id)| Command {
            action: Action::Unmute { list, entry_id },
            ..examples::command()
        };
        assert!(e(unmute(("a/b".into(), entry().1))).contains("`list`"));
        assert!(e(unmute((entry().0, "x".repeat(MAX_ENTRY_ID + 1)))).contains("`entry_id`"));
        assert!(e(unmute((entry().0, String::new()))).contains("`entry_id`"));
        assert!(Command::from_json(b"{\"action\":\"reboot\"}").is_err());
        assert!(Command::from_json(&vec![b' '; MAX_COMMAND_BYTES + 1]).is_err());
    }
}
