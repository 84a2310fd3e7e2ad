//! Mutes: entries of alert lists that give no alert for a time, as the server ordered it.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{event::Data, schema};

/// Furthest ahead that a mute may end.
pub const MAX_MUTE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Longest id of an entry, in bytes.
pub const MAX_ENTRY_ID: usize = 64;

/// An entry of a list was muted, or gives alerts again before its time: who asked and why. It ends at
/// `until` without another word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mute {
    /// Gives no alert from here on, or gives alerts again.
    pub muted: bool,
    /// Which list.
    pub list: String,
    /// Which entry: the `entry.id` of its alerts.
    pub entry_id: String,
    /// Until when; null where it gives alerts again.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
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

impl Data for Mute {
    const TYPE: &'static str = "org.milepost.alpr.mute.v1";
    const IN_LEDGER: bool = true;
}
