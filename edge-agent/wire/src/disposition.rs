//! What became of an alert, as the server says it to the pole: the pole counts how often its alerts are
//! false, and which characters it takes for which.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    schema,
    topics::{TopicError, TopicLevel},
};

/// Largest disposition that is read, in bytes.
pub const MAX_DISPOSITION_BYTES: usize = 4 * 1024;

/// What a person found out about an alert, on `dispositions`. Sent twice, it counts once; a later one of
/// the same alert, by `at`, stands in the place of the one before.
///
/// The pole is told no more than it needs: nobody's name, and a plate only where the read was wrong.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disposition {
    /// Which alert.
    #[schemars(schema_with = "schema::uuid")]
    pub alert_id: Uuid,
    /// The name of its list.
    #[schemars(extend("pattern" = "^[A-Za-z0-9-]{1,64}$"))]
    pub list: String,
    /// What was found.
    pub verdict: Verdict,
    /// When that was said, by the server's clock.
    #[schemars(schema_with = "schema::date_time")]
    pub at: Timestamp,
    /// Of an incorrect read: the alert's `plate_text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("pattern" = "^[0-9A-Z]{1,16}$"))]
    pub plate_read: Option<String>,
    /// Of an incorrect read: what a person reads on the photo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("pattern" = "^[0-9A-Z]{1,16}$"))]
    pub plate_shown: Option<String>,
}

/// Without its plates: they go into no log.
impl std::fmt::Debug for Disposition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { alert_id, list, verdict, .. } = self;
        write!(f, "Disposition({alert_id}, {list}, {verdict:?})")
    }
}

/// What a person found out about an alert.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Plate and state are those of the entry, and the entry holds.
    Correct,
    /// The plate is of another state than the entry's.
    WrongState,
    /// The photo shows another plate than was read.
    IncorrectRead,
    /// The entry no longer holds: the database has cleared it.
    StaleEntry,
    /// Nobody found out: it says nothing of the alert.
    Dismissed,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Correct, Self::WrongState, Self::IncorrectRead, Self::StaleEntry, Self::Dismissed];

    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::WrongState => "wrong_state",
            Self::IncorrectRead => "incorrect_read",
            Self::StaleEntry => "stale_entry",
            Self::Dismissed => "dismissed",
        }
    }

    /// Whether the alert was false; `None` where nobody found out.
    #[must_use]
    pub const fn is_false(self) -> Option<bool> {
        match self {
            Self::Correct => Some(false),
            Self::WrongState | Self::IncorrectRead | Self::StaleEntry => Some(true),
            Self::Dismissed => None,
        }
    }
}

/// What is wrong with a disposition. It does not repeat a plate.
#[derive(Debug, thiserror::Error)]
pub enum DispositionError {
    /// Larger than [`MAX_DISPOSITION_BYTES`].
    #[error("disposition of {0} bytes; at most {MAX_DISPOSITION_BYTES} are read")]
    TooLarge(usize),
    /// Not JSON, or not of this shape.
    #[error("not a disposition: line {} column {}", .0.line(), .0.column())]
    Json(#[from] serde_json::Error),
    /// No list has such a name.
    #[error("`list`: {0}")]
    List(#[from] TopicError),
    /// `plate_read` or `plate_shown`.
    #[error("`{0}` must have 1 to 16 of 0-9 and A-Z")]
    Plate(&'static str),
}

impl Disposition {
    /// Reads and checks one.
    ///
    /// # Errors
    /// Whatever is wrong first.
    pub fn from_json(json: &[u8]) -> Result<Self, DispositionError> {
        if json.len() > MAX_DISPOSITION_BYTES {
            return Err(DispositionError::TooLarge(json.len()));
        }
        let disposition: Self = serde_json::from_slice(json)?;
        TopicLevel::new(&disposition.list)?;
        let Self { plate_read, plate_shown, .. } = &disposition;
        for (name, plate) in [("plate_read", plate_read), ("plate_shown", plate_shown)] {
            let fits = |plate: &String| {
                (1..=16).contains(&plate.len())
                    && plate.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
            };
            if !plate.as_ref().is_none_or(fits) {
                return Err(DispositionError::Plate(name));
            }
        }
        Ok(disposition)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::examples;

    proptest! {
        #[test]
        fn no_bytes_make_reading_a_disposition_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = Disposition::from_json(&bytes);
        }

        #[test]
        fn a_plate_is_taken_only_as_one_and_is_in_no_error(plate in "[ -~]{0,20}") {
            let mut disposition = examples::disposition();
            disposition.plate_shown = Some(plate.clone());
            let json = serde_json::to_vec(&disposition).unwrap();
            let fits = !plate.is_empty() && plate.len() <= 16
                && plate.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
            match Disposition::from_json(&json) {
                Ok(back) => prop_assert!(fits && back == disposition),
                Err(error) => {
                    prop_assert!(!fits);
                    prop_assert_eq!(
                        error.to_string(), "`plate_shown` must have 1 to 16 of 0-9 and A-Z",
                    );
                }
            }
        }
    }

    #[test]
    fn a_disposition_comes_back_as_it_was_and_what_is_wrong_with_one_is_named() {
        let disposition = examples::disposition();
        for verdict in Verdict::ALL {
            let disposition = Disposition { verdict, ..disposition.clone() };
            let json = serde_json::to_string(&disposition).unwrap();
            assert!(json.contains(&format!("\"{}\"", verdict.name())), "{json}");
            assert_eq!(Disposition::from_json(json.as_bytes()).unwrap(), disposition);
        }
        let plate = disposition.plate_shown.clone().unwrap();
        assert!(!format!("{disposition:?}").contains(&plate));
        let json = serde_json::to_string(&disposition).unwrap();
        let e = |json: &str| Disposition::from_json(json.as_bytes()).unwrap_err().to_string();
        assert!(e(&json.replace("\"svs\"", "\"a/b\"")).contains("`list`"));
        let wrong = e(&json.replace("\"incorrect_read\"", &format!("\"{plate}\"")));
        assert!(wrong.contains("line 1") && !wrong.contains(&plate), "{wrong}");
        assert!(e(&" ".repeat(MAX_DISPOSITION_BYTES + 1)).contains("at most 4096"));
    }
}
