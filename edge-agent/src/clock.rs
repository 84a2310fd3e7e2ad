//! Exposure time: pipeline clock → UTC, with where it comes from and how far off it may be.

use std::time::Duration;

/// What disciplines the clock that an exposure time was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockSource {
    /// The kernel says that its clock is disciplined (NTP or PTP; the kernel does not say which).
    Kernel,
    /// The kernel's clock is not disciplined: the uncertainty is not known.
    Unsynchronised,
    /// A recorded clip: the time is the clip's start plus the position in it.
    Recording,
}

/// When a frame was exposed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExposureTime {
    /// Middle of the exposure, UTC.
    pub utc: jiff::Timestamp,
    /// Half-width of the interval that holds the true time; `None` where it is not known.
    pub uncertainty: Option<Duration>,
    /// Where the time comes from.
    pub source: ClockSource,
}
