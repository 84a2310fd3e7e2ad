//! An alert: a read that matches an entry of a list, with what is needed to verify it.

use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    event::Data,
    read::{Direction, Evidence, Position, State, TextAlternative, TimeSource},
    schema,
    time::BootTime,
};

/// The verification packet. It asserts nothing: a person compares the photo with the text, the state with
/// the entry's, and asks the database, before anything is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// UUID version 7; the same as the event's `id`.
    #[schemars(schema_with = "schema::uuid")]
    pub alert_id: Uuid,
    /// The read that matched; its photos are on `evidence/<read id>/<plate|context>`.
    #[schemars(schema_with = "schema::uuid")]
    pub read_id: Uuid,
    /// The vehicle was still in view when this was made: the read with this `read_id`, and the alerts right
    /// before it, take its place, and its photos come with them. Where no alert stands there, the read is
    /// another now.
    #[serde(default)]
    pub preview: bool,
    /// Always true.
    #[schemars(extend("const" = true))]
    pub advisory: bool,
    /// What a person has to check before anything is done.
    #[schemars(length(min = 3, max = 3))]
    pub checks: [Check; 3],
    /// By which list.
    pub list: AlertList,
    /// By which entry of it.
    pub entry: AlertEntry,
    /// Read and listed plate side by side.
    pub comparison: Comparison,
    /// Whether the states agree.
    pub state: StateComparison,
    /// The read's best text; never altered by a match.
    #[schemars(extend("pattern" = "^[0-9A-Z]{1,16}$"))]
    pub plate_text: String,
    /// The read's text by the pictures alone.
    #[schemars(extend("pattern" = "^[0-9A-Z]{1,16}$"))]
    pub raw_text: String,
    /// How sure the read's whole text is.
    #[schemars(schema_with = "schema::unit_interval")]
    pub confidence: f32,
    /// Other texts that the plate may have.
    #[schemars(length(max = 16))]
    pub alternatives: Vec<TextAlternative>,
    /// Exposure of the frame that the photos are cut from.
    #[schemars(schema_with = "schema::date_time")]
    pub captured_at: Timestamp,
    /// What disciplined the clock.
    pub time_source: TimeSource,
    /// Half-width of the interval that holds the true time; null where it is not known.
    #[schemars(range(min = 0.0))]
    pub time_uncertainty_s: Option<f64>,
    /// `captured_at` on the machine's own clock, which nothing sets; null where there is none.
    #[serde(default)]
    pub boot_time: Option<BootTime>,
    /// Which way the vehicle went.
    pub direction: Direction,
    /// Where the camera is and looks.
    pub position: Position,
    /// The read's two photos.
    pub evidence: Evidence,
}

impl Alert {
    /// What the policy asks for before anything is done.
    pub const CHECKS: [Check; 3] =
        [Check::ReadCorrect, Check::StateConsistent, Check::StatusConfirmed];
}

impl Data for Alert {
    const TYPE: &'static str = "org.milepost.alpr.alert.v1";
    const IN_LEDGER: bool = true;
}

/// What a person has to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Does the photo show what was read?
    ReadCorrect,
    /// Is the plate of the state that the entry names?
    StateConsistent,
    /// Does the database say so now?
    StatusConfirmed,
}

/// The list that an alert is by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertList {
    /// Its name.
    pub name: String,
    /// Its version in force at the match.
    pub version: u64,
    /// The agency that answers for it.
    pub agency: String,
    /// What it is for.
    pub purpose: String,
    /// When its entries were taken from their source.
    #[schemars(schema_with = "schema::date_time")]
    pub source_at: Timestamp,
    /// Its age at `captured_at`; null where the pole's clock was not kept, or was before `source_at`.
    pub age_s: Option<f64>,
    /// Its age by its own limits.
    pub freshness: Freshness,
}

/// A list's age by its own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// As new as the list promises.
    Fresh,
    /// Older than that.
    Aging,
    /// Too old to be relied on, or of unknown age.
    Stale,
}

/// The entry that matched, as it stands in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertEntry {
    /// The list's own name for it.
    pub id: String,
    /// What it is wanted for.
    pub kind: Option<String>,
    /// When it was entered.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub entered_on: Option<Date>,
    /// The vehicle that it describes.
    pub vehicle: ListedVehicle,
}

/// What an entry says of the vehicle.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListedVehicle {
    /// Model year.
    pub year: Option<String>,
    /// Make, e.g. a code of NCIC's such as `TOYT`.
    pub make: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Colour.
    pub colour: Option<String>,
}

/// Read and listed plate side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// How they agree.
    pub agreement: Agreement,
    /// Which of the read's texts was compared: the one that is nearer to the entry.
    pub compared: ComparedText,
    /// The plate as it stands in the list; `?` is any character, `*` any number of them.
    #[schemars(length(min = 1, max = 16))]
    pub listed_plate: String,
    /// Characters that are not the listed ones but look alike.
    #[schemars(range(max = 2))]
    pub substitutions: u8,
    /// Probability, by the reader's own figures, that the plate says what is listed.
    #[schemars(schema_with = "schema::unit_interval")]
    pub probability: f32,
    /// Place by place of the read.
    #[schemars(length(max = 16))]
    pub places: Vec<ComparedPlace>,
}

/// How a read agrees with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Every character.
    Exact,
    /// Some are others that look alike.
    LookAlike,
    /// The entry leaves some open.
    Partial,
}

/// One of the read's two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparedText {
    /// `plate_text`.
    PlateText,
    /// `raw_text`.
    RawText,
}

/// One place of the read beside the list's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparedPlace {
    /// What was read.
    pub read: String,
    /// What is listed; null where the entry leaves it open.
    pub listed: Option<String>,
    /// Probability, by the reader's own figures, of what is listed; of what was read where that is open.
    #[schemars(schema_with = "schema::unit_interval")]
    pub probability: f32,
}

/// Read and listed state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateComparison {
    /// Whether they agree.
    pub verdict: StateVerdict,
    /// The read's; null where the reader has no opinion.
    pub read: Option<State>,
    /// The entry's as it stands in the list; null where it names none.
    pub listed: Option<String>,
}

/// Whether two states agree. A mismatch is shown, and hides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateVerdict {
    /// They are the same.
    Match,
    /// They are not.
    Mismatch,
    /// One of them is not known.
    Unknown,
}
