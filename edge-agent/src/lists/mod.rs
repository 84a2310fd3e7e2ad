//! Alert lists: what is wanted, read from the formats in which it comes. Pure: no I/O, no clock.
//!
//! - [`entry`]: one line of a list; [`junk`]: lines that are no plate;
//! - [`format`]: the formats, through one trait, with a report of what was taken and what not.
//!
//! Nothing here writes a plate into an error, a log or a report: a bad line is named by its number.

pub mod entry;
pub mod format;
pub mod junk;

pub use entry::{Entry, Plate, Vehicle};
pub use format::{Format, Report};
