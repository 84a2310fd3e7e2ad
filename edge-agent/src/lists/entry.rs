//! One entry of an alert list.

use std::fmt;

use jiff::civil::Date;
use milepost_wire::ListedVehicle;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{blind::Hidden, pattern::Pattern};
use crate::digest::hex;

/// Longest plate of an entry, in characters.
pub const MAX_PLATE: usize = 10;
/// Longest of its other texts, in bytes.
pub const MAX_TEXT: usize = milepost_wire::mute::MAX_ENTRY_ID;
/// Of the SHA-256 of an entry: none of ten million has another's name by chance.
const DIGEST_BYTES: usize = 10;

/// The text of a plate as lists are matched by: `0-9A-Z`, 1 to [`MAX_PLATE`] characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Plate(String);

/// What is wrong with a text that should be a plate. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlateError {
    /// Nothing is left of it.
    #[error("there is no plate")]
    Empty,
    /// More than [`MAX_PLATE`] characters.
    #[error("a plate of {0} characters; at most {MAX_PLATE} are taken")]
    TooLong(usize),
    /// Something that stands on no plate.
    #[error("a plate with a character other than 0-9 and A-Z")]
    Character,
}

impl Plate {
    /// From a text as people and tables write it: small letters, spaces, dashes and dots are as nothing.
    ///
    /// # Errors
    /// [`PlateError`].
    pub fn parse(text: &str) -> Result<Self, PlateError> {
        let plate = significant(text);
        if !plate.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
            return Err(PlateError::Character);
        }
        match plate.len() {
            0 => Err(PlateError::Empty),
            1..=MAX_PLATE => Ok(Self(plate)),
            length => Err(PlateError::TooLong(length)),
        }
    }

    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Small letters as capitals, without what people put between a plate's characters.
pub(super) fn significant(text: &str) -> String {
    let significant = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.'));
    significant.map(|c| c.to_ascii_uppercase()).collect()
}

/// Not its text: a plate goes into no log.
impl fmt::Debug for Plate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plate({} characters)", self.0.len())
    }
}

/// What an entry looks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// A whole plate.
    Plate(Plate),
    /// A plate of which only some characters are known.
    Pattern(Pattern),
    /// A whole plate, of which a blind list has only keyed hashes.
    Hidden(Hidden),
}

impl Wanted {
    /// As it stands in the list, but for spaces and the like; `None` where it is hidden.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Plate(plate) => Some(plate.as_str()),
            Self::Pattern(pattern) => Some(pattern.as_str()),
            Self::Hidden(_) => None,
        }
    }
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The list's own name for it; where it has none, a digest of what it says ([`Entry::digest`]).
    pub id: String,
    /// What it looks for.
    pub wanted: Wanted,
    /// Its state as it stands in the list, two letters; `None` where the list does not say.
    pub state: Option<String>,
    /// What it is wanted for, as it stands in the list.
    pub kind: Option<String>,
    /// When it was entered.
    pub date: Option<Date>,
    /// The vehicle.
    pub vehicle: ListedVehicle,
}

impl Entry {
    /// A name made of what it says: that of the same entry in every version of its list, wherever it
    /// stands, and another as soon as it says something else.
    #[must_use]
    pub fn digest(&self) -> String {
        let Self { id: _, wanted, state, kind, date, vehicle } = self;
        let ListedVehicle { year, make, model, colour } = vehicle;
        let mut hash = Sha256::new();
        let date = date.map(|date| date.to_string());
        let wanted = wanted.as_str();
        let others = [state, kind, &date, year, make, model, colour].map(Option::as_deref);
        for text in std::iter::once(wanted).chain(others) {
            // None of them has such a byte.
            hash.update(text.unwrap_or_default());
            hash.update([0]);
        }
        hex(&hash.finalize()[..DIGEST_BYTES])
    }
}

/// Without what it says: an entry goes into no log.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// A text of an entry: trimmed; `None` where nothing is left; cut at [`MAX_TEXT`] bytes.
#[must_use]
pub fn text(raw: &str) -> Option<String> {
    let trimmed = raw.trim();
    let cut = &trimmed[..trimmed.floor_char_boundary(MAX_TEXT)];
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// An entry's own name: empty where it has none; `None` where it is longer than [`MAX_TEXT`] bytes, as two
/// cut ones could be the same.
#[must_use]
pub fn id(raw: &str) -> Option<String> {
    let id = raw.trim();
    (id.len() <= MAX_TEXT).then(|| id.to_owned())
}

/// A day as `20261127` or `2026-11-27`.
#[must_use]
pub fn date(raw: &str) -> Option<Date> {
    let raw = raw.trim();
    raw.parse().ok().or_else(|| Date::strptime("%Y%m%d", raw).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plate_is_read_as_people_write_it() {
        assert_eq!(Plate::parse("7 abc-123").unwrap().as_str(), "7ABC123");
        assert_eq!(Plate::parse(" -. "), Err(PlateError::Empty));
        assert_eq!(Plate::parse("ÄB 1"), Err(PlateError::Character));
        assert_eq!(Plate::parse("12345678901"), Err(PlateError::TooLong(11)));
    }

    #[test]
    fn no_plate_is_in_a_debug_text() {
        let plate = Plate::parse("7ABC123").unwrap();
        assert!(!format!("{plate:?}").contains("7ABC"));
    }

    #[test]
    fn days_are_read_in_both_shapes_and_nothing_else() {
        let day = jiff::civil::date(2026, 11, 27);
        assert_eq!((date("20261127"), date(" 2026-11-27 ")), (Some(day), Some(day)));
        for bad in ["", "20261327", "112726", "today"] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_plate_or_an_error(raw in ".{0,40}") {
            if let Ok(plate) = Plate::parse(&raw) {
                prop_assert_eq!(Plate::parse(plate.as_str()), Ok(plate));
            }
            let _ = (text(&raw), date(&raw));
        }
    }
}
