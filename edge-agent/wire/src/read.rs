//! A read, an unread pass and their parts.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{event::Data, schema, time::BootTime};

/// The one result of a pass: what was on the plate, how sure that is, when, where, and the proof.
///
/// Advisory: a read is what a machine made of an image, and every confidence is below 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Read {
    /// UUID version 7; the same as the event's `id`.
    #[schemars(schema_with = "schema::uuid")]
    pub read_id: Uuid,
    /// Best text, `0-9A-Z`, without spaces and separators.
    #[schemars(extend("pattern" = "^[0-9A-Z]{1,16}$"))]
    pub plate_text: String,
    /// The text by the pictures alone, before the serial formats of the states weighed look-alikes such
    /// as `O` and `0` against each other; mostly the same as `plate_text`.
    #[schemars(extend("pattern" = "^[0-9A-Z]{1,16}$"))]
    pub raw_text: String,
    /// How sure the whole text is.
    #[schemars(schema_with = "schema::unit_interval")]
    pub confidence: f32,
    /// Place by place, left to right.
    #[schemars(length(max = 16))]
    pub characters: Vec<Character>,
    /// Other texts that the plate may have, most probable first, without `plate_text`.
    #[schemars(length(max = 16))]
    pub alternatives: Vec<TextAlternative>,
    /// State of origin; null where the reader has no opinion.
    pub state: Option<State>,
    /// Which way the vehicle went.
    pub direction: Direction,
    /// Exposure of the best frame, the one that the evidence is cut from.
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
    /// First frame of the pass.
    #[schemars(schema_with = "schema::date_time")]
    pub first_seen_at: Timestamp,
    /// Last frame of the pass.
    #[schemars(schema_with = "schema::date_time")]
    pub last_seen_at: Timestamp,
    /// Frames in which the plate was found.
    pub frames_seen: u32,
    /// Frames in which it was read and voted.
    pub frames_read: u32,
    /// Where the camera is and looks.
    pub position: Position,
    /// The plate's corners in the best frame, clockwise from top left as the plate is read,
    /// `[x, y]` in pixels of the full frame.
    pub plate_corners_px: [[f32; 2]; 4],
    /// Width of the full frame.
    pub frame_width_px: u32,
    /// Height of the full frame.
    pub frame_height_px: u32,
    /// The two photos.
    pub evidence: Evidence,
    /// What read it.
    pub models: Models,
    /// What the models ran on, e.g. `cpu`, `cuda`, `tensorrt`.
    pub execution_provider: String,
}

impl Data for Read {
    const TYPE: &'static str = "org.milepost.alpr.read.v1";
    const IN_LEDGER: bool = true;
}

/// One place of the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Character {
    /// One character, `0-9A-Z`.
    #[schemars(extend("pattern" = "^[0-9A-Z]$"))]
    pub text: String,
    /// How sure it is.
    #[schemars(schema_with = "schema::unit_interval")]
    pub probability: f32,
    /// The next most probable, best first.
    #[schemars(length(max = 8))]
    pub alternatives: Vec<TextAlternative>,
}

/// A text that it may be instead, with its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TextAlternative {
    /// The text.
    pub text: String,
    /// How sure it is.
    #[schemars(schema_with = "schema::unit_interval")]
    pub probability: f32,
}

/// State of origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// ISO 3166-2, e.g. `US-CA`.
    #[schemars(extend("pattern" = "^[A-Z]{2}-[A-Z0-9]{1,3}$"))]
    pub code: String,
    /// How sure it is.
    #[schemars(schema_with = "schema::unit_interval")]
    pub confidence: f32,
}

/// Which way the vehicle went, as the camera sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Towards the camera.
    Approaching,
    /// Away from it.
    Receding,
    /// Not known: too few frames, or it stood still.
    Unknown,
}

impl Direction {
    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approaching => "approaching",
            Self::Receding => "receding",
            Self::Unknown => "unknown",
        }
    }
}

/// What disciplined the clock that the time was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// The Precision Time Protocol (IEEE 1588).
    Ptp,
    /// The Network Time Protocol.
    Ntp,
    /// A satellite receiver on the pole.
    Gps,
    /// The kernel says that its clock is disciplined; by what is not known.
    Kernel,
    /// It is not: the uncertainty is not known. A `time_correction` may follow.
    Unsynchronised,
    /// A recorded clip: its start plus the position in it.
    Recording,
}

impl TimeSource {
    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ptp => "ptp",
            Self::Ntp => "ntp",
            Self::Gps => "gps",
            Self::Kernel => "kernel",
            Self::Unsynchronised => "unsynchronised",
            Self::Recording => "recording",
        }
    }
}

/// Where the camera is and looks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// WGS 84, degrees north.
    #[schemars(range(min = -90.0, max = 90.0))]
    pub latitude_deg: f64,
    /// WGS 84, degrees east.
    #[schemars(range(min = -180.0, max = 180.0))]
    pub longitude_deg: f64,
    /// Degrees clockwise from north.
    #[schemars(range(min = 0.0, max = 360.0))]
    pub heading_deg: f64,
}

/// The photos of a read, both cut from the frame of `captured_at`. The JPEGs themselves go to
/// `evidence/<read id>/<plate|context>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The plate close-up.
    pub plate: Option<PhotoInfo>,
    /// The vehicle's front or rear.
    pub context: Option<PhotoInfo>,
    /// Why a photo is missing: a photo that can't be bound to its read is withheld, not guessed.
    pub withheld_reason: Option<String>,
}

impl Evidence {
    /// The photo of one kind.
    #[must_use]
    pub fn photo(&self, kind: PhotoKind) -> Option<&PhotoInfo> {
        match kind {
            PhotoKind::Plate => self.plate.as_ref(),
            PhotoKind::Context => self.context.as_ref(),
        }
    }
}

/// What is known of a photo before it arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhotoInfo {
    /// SHA-256 of the JPEG's bytes, lower-case hexadecimal.
    #[schemars(schema_with = "schema::sha256")]
    pub sha256: String,
    /// Width.
    pub width_px: u32,
    /// Height.
    pub height_px: u32,
    /// Size of the JPEG.
    pub bytes: u64,
}

/// Which of a read's two photos.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PhotoKind {
    /// The plate close-up.
    Plate,
    /// The vehicle's front or rear.
    Context,
}

impl PhotoKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plate, Self::Context];

    /// Its word in topics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plate => "plate",
            Self::Context => "context",
        }
    }

    /// From its word in topics.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// The versions of what read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Models {
    /// The plate detector's version.
    pub detector: String,
    /// The version of what finds its corners.
    pub aligner: String,
    /// The plate reader's version.
    pub reader: String,
}

/// A vehicle whose plate could not be read. It is counted, and no text is invented for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadPass {
    /// UUID version 7; the same as the event's `id`.
    #[schemars(schema_with = "schema::uuid")]
    pub pass_id: Uuid,
    /// Why.
    pub reason: UnreadReason,
    /// Which way the vehicle went.
    pub direction: Direction,
    /// Exposure of the best frame.
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
    /// First frame of the pass.
    #[schemars(schema_with = "schema::date_time")]
    pub first_seen_at: Timestamp,
    /// Last frame of the pass.
    #[schemars(schema_with = "schema::date_time")]
    pub last_seen_at: Timestamp,
    /// Frames in which a plate was found.
    pub frames_seen: u32,
    /// Frames in which reading it was tried.
    pub frames_read: u32,
    /// Confidence of the best text that was not good enough; null where there was none.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub best_confidence: Option<f32>,
    /// Where the camera is and looks.
    pub position: Position,
}

impl Data for UnreadPass {
    const TYPE: &'static str = "org.milepost.alpr.unread_pass.v1";
    const IN_LEDGER: bool = true;
}

/// Why a pass is unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnreadReason {
    /// The plate was never wide enough in pixels.
    TooSmall,
    /// Motion or focus: no frame was sharp enough.
    TooBlurred,
    /// Too dark, or blown out by light.
    BadExposure,
    /// Seen from too far aside.
    TooOblique,
    /// Texts were read but none was sure enough.
    LowConfidence,
    /// Nothing on it could be made out as characters.
    NoCharacters,
    /// Lettering that is no plate: too long or too short for one.
    NoPlate,
    /// The pass was over before enough frames were seen.
    TooBrief,
    /// The reader failed; the health page says how.
    ReaderFailed,
}

impl UnreadReason {
    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooSmall => "too_small",
            Self::TooBlurred => "too_blurred",
            Self::BadExposure => "bad_exposure",
            Self::TooOblique => "too_oblique",
            Self::LowConfidence => "low_confidence",
            Self::NoCharacters => "no_characters",
            Self::NoPlate => "no_plate",
            Self::TooBrief => "too_brief",
            Self::ReaderFailed => "reader_failed",
        }
    }
}
