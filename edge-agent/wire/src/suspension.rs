//! Suspension of capture: what the pole enters into its ledger when the server has it stop looking
//! for a time.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{event::Data, schema, time::BootTime};

/// Longest that one command suspends capture, and furthest ahead that a suspension may begin.
pub const MAX_SUSPENSION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One step of a suspension. The event's `time` says when, by the pole's clock.
///
/// No frame that was exposed from `begun`'s time to `ended`'s was looked at, whatever else the ledger
/// says in between (the agent's restarts, say). Who and why stands in `ordered` and `recalled`, entered
/// before anything is done; the rest belongs to these by `suspension_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Suspension {
    /// The server has ordered it.
    Ordered {
        /// The command's id, which is the suspension's from here on.
        #[schemars(schema_with = "schema::uuid")]
        suspension_id: Uuid,
        /// From when; where the command did not say, the moment at which it was taken.
        #[schemars(schema_with = "schema::date_time")]
        from: Timestamp,
        /// Until when.
        #[schemars(schema_with = "schema::date_time")]
        until: Timestamp,
        /// Who asked.
        by: String,
        /// Why.
        reason: String,
        /// The case.
        case_number: Option<String>,
    },
    /// The server has ordered that it end before its time.
    Recalled {
        /// Which.
        #[schemars(schema_with = "schema::uuid")]
        suspension_id: Uuid,
        /// The command.
        #[schemars(schema_with = "schema::uuid")]
        command_id: Uuid,
        /// Who asked.
        by: String,
        /// Why.
        reason: String,
        /// The case.
        case_number: Option<String>,
    },
    /// Nothing is captured from here on.
    Begun {
        /// Which.
        #[schemars(schema_with = "schema::uuid")]
        suspension_id: Uuid,
        /// As ordered.
        #[schemars(schema_with = "schema::date_time")]
        from: Timestamp,
        /// As ordered.
        #[schemars(schema_with = "schema::date_time")]
        until: Timestamp,
        /// How its time was told.
        told: Told,
    },
    /// It holds no more. One that had not begun never will.
    Ended {
        /// Which; null where the pole does not know it any more.
        #[schemars(with = "Option<String>")]
        suspension_id: Option<Uuid>,
        /// Why.
        cause: SuspensionEnd,
        /// The command that ended it, where one did.
        #[schemars(with = "Option<String>")]
        command_id: Option<Uuid>,
        /// How its time was told.
        told: Told,
    },
}

impl Data for Suspension {
    const TYPE: &'static str = "org.milepost.alpr.suspension.v1";
    const IN_LEDGER: bool = true;
}

/// How the pole told the time of a beginning or an end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// Whether the kernel called its clock synchronised.
    pub synchronised: bool,
    /// The same moment on the machine's own clock, by which a `time_correction` tells the true one.
    pub boot_time: Option<BootTime>,
}

/// Why a suspension ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuspensionEnd {
    /// Its time was over.
    Expired,
    /// The server ordered it.
    Resumed,
    /// A later suspension stands in its place.
    Replaced,
    /// What the pole knew of it was damaged on its disk: capture goes on, and the server has to ask
    /// again.
    Lost,
    /// The pole could not keep it on its disk, so it never held: the command is answered as refused.
    Refused,
}
