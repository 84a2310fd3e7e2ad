//! Entries that are no plate: fillers that stand in real lists and would match every misread of theirs.

use serde::Serialize;

/// Why an entry is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Junk {
    /// Nothing stands there.
    Empty,
    /// Nothing but zeros.
    Zeros,
    /// One character again and again, e.g. `XXXX`.
    Repeated,
    /// A word that says that there is no plate.
    Word,
}

impl Junk {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Zeros => "nothing but zeros",
            Self::Repeated => "one character repeated",
            Self::Word => "a word that stands for no plate",
        }
    }
}

/// Words that people enter where there is no plate. A personal plate may say one of them: it is then not
/// found, and the report says how many were skipped.
const WORDS: [&str; 14] = [
    "NONE", "NOPLATE", "NOPLATES", "NOTAG", "NA", "NULL", "UNK", "UNKN", "UNKNOWN", "BLANK",
    "VOID", "TEST", "MISSING", "PAPER",
];
/// So many of one character are no plate.
const REPEATED: usize = 4;

/// Whether a raw text of a list is junk.
#[must_use]
pub fn junk(raw: &str) -> Option<Junk> {
    let significant = raw.chars().filter(|c| c.is_alphanumeric());
    let text: String = significant.map(|c| c.to_ascii_uppercase()).collect();
    let first = text.chars().next();
    let one = text.chars().all(|c| Some(c) == first);
    match first {
        None => Some(Junk::Empty),
        Some('0') if one => Some(Junk::Zeros),
        Some(c) if one && c.is_alphabetic() && text.len() >= REPEATED => Some(Junk::Repeated),
        _ => WORDS.contains(&text.as_str()).then_some(Junk::Word),
    }
}

/// Whether what is known beside open characters is junk. Three zeros may be known of a plate, four are a
/// filler.
#[must_use]
pub fn junk_beside(raw: &str) -> Option<Junk> {
    let known = raw.chars().filter(|c| c.is_alphanumeric()).count();
    junk(raw).filter(|junk| match junk {
        Junk::Zeros => known >= REPEATED,
        Junk::Repeated | Junk::Word => true,
        // Said of it as of a pattern.
        Junk::Empty => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fillers_are_junk_beside_open_characters_too() {
        for (raw, expected) in [
            ("UNKNOWN?", Some(Junk::Word)),
            ("0000*", Some(Junk::Zeros)),
            ("XXXX?", Some(Junk::Repeated)),
            ("*000", None),
            ("7AB?123", None),
            ("*", None),
        ] {
            assert_eq!(junk_beside(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn fillers_are_junk_and_plates_are_not() {
        for (raw, expected) in [
            ("", Some(Junk::Empty)),
            (" - ", Some(Junk::Empty)),
            ("0", Some(Junk::Zeros)),
            ("00", Some(Junk::Zeros)),
            ("XXXXXXX", Some(Junk::Repeated)),
            ("no plate", Some(Junk::Word)),
            ("UNK", Some(Junk::Word)),
            ("7ABC123", None),
            ("1111111", None),
            ("XXX", None),
            ("0A0", None),
        ] {
            assert_eq!(junk(raw), expected, "{raw:?}");
        }
    }
}
