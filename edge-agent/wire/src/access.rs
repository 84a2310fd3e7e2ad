//! Who looked at what on a pole.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{event::Data, schema};

/// A person looked at something of others on the pole itself. Written down before it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Access {
    /// Who, as they named themselves.
    #[schemars(length(min = 1, max = 200))]
    pub by: String,
    /// The account on the pole that it was done from.
    pub account: String,
    /// What was looked at.
    pub what: Accessed,
    /// The plate that was looked up.
    #[schemars(length(min = 1, max = 16))]
    pub plate_text: String,
    /// Why.
    #[schemars(length(min = 1, max = 200))]
    pub reason: String,
    /// The case or work order, where there is one.
    #[schemars(length(max = 200))]
    pub case_number: Option<String>,
    /// When, by the pole's clock.
    #[schemars(schema_with = "schema::date_time")]
    pub at: Timestamp,
    /// What was found: entries of lists.
    pub found: u64,
}

impl Data for Access {
    const TYPE: &'static str = "org.milepost.alpr.access.v1";
    const IN_LEDGER: bool = true;
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accessed {
    /// A plate was looked up in the alert lists in force.
    ListMatch,
}
