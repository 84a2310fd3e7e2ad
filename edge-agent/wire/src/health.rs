//! Whether the pole is there and how it is. Not in the ledger, never with a plate.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{event::Data, ledger::LedgerPosition, list::ListInForce, schema};

/// Retained on `status`: the birth when the pole connects, an orderly stop, or the Last-Will that
/// the broker publishes for a pole it has lost (its `time` is when that connection was made).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Connected or not.
    pub state: StatusState,
    /// True where the broker lost the pole, false for an orderly stop and a birth.
    pub unexpected: bool,
    /// The agent's version.
    pub software_version: String,
    /// When the connection that this speaks of was made.
    #[schemars(schema_with = "schema::date_time")]
    pub connected_at: Timestamp,
    /// When the agent started.
    #[schemars(schema_with = "schema::date_time")]
    pub started_at: Timestamp,
}

impl Data for Status {
    const TYPE: &'static str = "org.milepost.alpr.status.v1";
    const IN_LEDGER: bool = false;
}

/// Connected or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusState {
    /// Connected.
    Online,
    /// Not connected.
    Offline,
}

/// How the pole is, every 30 s on `health`. Its `ledger` shows a loss at the end of the sequence,
/// which no gap would.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// The worst of the checks.
    pub status: CheckStatus,
    /// One word for each component: capture, vision, outbox, uplink, clock, lamp, sealing, lists.
    pub checks: BTreeMap<String, ComponentCheck>,
    /// The agent's version.
    pub software_version: String,
    /// Since the agent started.
    pub uptime_s: u64,
    /// Where the ledger is.
    pub ledger: LedgerPosition,
    /// Records waiting for a receipt.
    pub outbox_records: u64,
    /// Photos waiting with them.
    pub outbox_photo_bytes: u64,
    /// The versions of alert lists in force.
    #[serde(default)]
    pub lists: Vec<ListInForce>,
    /// Reads since the agent started.
    pub reads_total: u64,
    /// Unread passes since the agent started.
    pub unread_passes_total: u64,
}

impl Data for Heartbeat {
    const TYPE: &'static str = "org.milepost.alpr.heartbeat.v1";
    const IN_LEDGER: bool = false;
}

/// How a component is, in the words of `application/health+json`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// Works as configured.
    Pass,
    /// Works, but not as configured or not for long.
    Warn,
    /// Does not work.
    Fail,
}

/// One component's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentCheck {
    /// How it is.
    pub status: CheckStatus,
    /// What is the matter and what to do; for `pass`, what is in use.
    pub output: String,
    /// Since when it has had this status.
    #[schemars(schema_with = "schema::date_time")]
    pub since: Timestamp,
}
