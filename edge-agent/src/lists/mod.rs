//! Alert lists: what is wanted, read from the formats in which it comes, and found. Pure: no I/O, no clock.
//!
//! - [`entry`] and [`pattern`]: one line of a list; [`junk`]: lines that are no plate;
//! - [`format`]: the formats, through one trait, with a report of what was taken and what not;
//! - [`fingerprint`] and [`index`]: plates as keyed numbers, and which entries a number may belong to;
//! - [`blind`]: lists that are nothing but keyed hashes;
//! - [`compare`]: a read beside an entry: do they agree, how far, how sure is that;
//! - [`search`]: a read against a list, and the alerts that come of it;
//! - [`mute`]: entries that give none for a time; [`disposition`]: what became of the alerts.
//!
//! Nothing here writes a plate into an error, a log or a report: a bad line is named by its number.

pub mod blind;
pub mod compare;
pub mod disposition;
pub mod entry;
pub mod fingerprint;
pub mod format;
pub mod index;
pub mod junk;
pub mod mute;
pub mod pattern;
pub mod search;

pub use entry::{Entry, Plate, Wanted};
pub use format::{Format, Report};
pub use search::List;
