//! A plate of which only some characters are known, as bulletins describe it: `7AB?123`, `*C123`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::entry::{MAX_PLATE, significant};
use crate::look_alikes;

/// Fewer known characters would match vehicle after vehicle.
pub const MIN_KNOWN: usize = 3;

/// Known characters, `?` for one that is not known and `*` for any number of them, none included.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern(String);

/// What is wrong with a pattern. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// More than [`MAX_PLATE`] characters.
    #[error("a plate of {0} characters; at most {MAX_PLATE} are taken")]
    TooLong(usize),
    /// Something that stands on no plate.
    #[error("a plate with a character other than 0-9, A-Z, ? and *")]
    Character,
    /// Fewer than [`MIN_KNOWN`] are known.
    #[error("a plate with {0} known characters; at least {MIN_KNOWN} are needed")]
    TooOpen(usize),
}

/// A text beside a pattern: for each of its characters the known one, `None` where it is open.
pub type Alignment = Vec<Option<char>>;

impl Pattern {
    /// What stands for characters that are not known.
    pub const OPEN: [char; 2] = ['?', '*'];

    /// From a text as people write it.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut pattern = significant(text);
        // Two in a row say no more than one.
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        let is_known = |c: char| c.is_ascii_digit() || c.is_ascii_uppercase();
        if !pattern.chars().all(|c| is_known(c) || Self::OPEN.contains(&c)) {
            return Err(PatternError::Character);
        }
        if pattern.len() > MAX_PLATE {
            return Err(PatternError::TooLong(pattern.len()));
        }
        match pattern.chars().filter(|c| is_known(*c)).count() {
            known if known < MIN_KNOWN => Err(PatternError::TooOpen(known)),
            _ => Ok(Self(pattern)),
        }
    }

    /// As it stands in the list, but for spaces and the like.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The way to lay a text along it with the fewest look-alikes, and how many those are; `None` where
    /// some known character is neither there nor looks like what is.
    #[must_use]
    pub fn align(&self, text: &str) -> Option<(usize, Alignment)> {
        let (text, pattern): (Vec<char>, Vec<char>) =
            (text.chars().collect(), self.0.chars().collect());
        // Fewest look-alikes of the text from `i` on along the pattern from `j` on.
        let mut fewest = vec![vec![None; pattern.len() + 1]; text.len() + 1];
        fewest[text.len()][pattern.len()] = Some(0);
        for i in (0..=text.len()).rev() {
            for j in (0..pattern.len()).rev() {
                let next = |i: usize, j: usize| fewest.get(i).and_then(|row| row[j]);
                fewest[i][j] = match (pattern[j], text.get(i)) {
                    ('*', _) => next(i, j + 1).into_iter().chain(next(i + 1, j)).min(),
                    (_, None) => None,
                    ('?', _) => next(i + 1, j + 1),
                    (known, Some(&c)) => {
                        cost(known, c).and_then(|cost| Some(next(i + 1, j + 1)? + cost))
                    }
                };
            }
        }
        let total = fewest[0][0]?;
        let (mut i, mut j, mut aligned) = (0, 0, Vec::with_capacity(text.len()));
        while i < text.len() {
            match pattern[j] {
                '*' if fewest[i][j + 1] == fewest[i][j] => {
                    j += 1;
                    continue;
                }
                '*' => aligned.push(None),
                '?' => {
                    aligned.push(None);
                    j += 1;
                }
                known => {
                    aligned.push(Some(known));
                    j += 1;
                }
            }
            i += 1;
        }
        Some((total, aligned))
    }
}

/// A pattern with its known characters folded: tells at once whether a text can be laid along it at all.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob(Vec<u8>);

impl Glob {
    /// Of this pattern.
    #[must_use]
    pub fn of(pattern: &Pattern) -> Self {
        Self(look_alikes::fold(&pattern.0).into_bytes())
    }

    /// Whether [`Pattern::align`] has a way for a text, of which this is the folded one.
    #[must_use]
    pub fn fits(&self, folded: &str) -> bool {
        let (glob, text) = (&self.0, folded.as_bytes());
        let (mut g, mut t) = (0, 0);
        // The last star, and how far the text was then.
        let mut back = None;
        while t < text.len() {
            match glob.get(g) {
                Some(b'*') => {
                    back = Some((g, t));
                    g += 1;
                }
                Some(c) if *c == b'?' || *c == text[t] => (g, t) = (g + 1, t + 1),
                // The star takes one character more.
                _ => match &mut back {
                    Some((star, from)) => {
                        *from += 1;
                        (g, t) = (*star + 1, *from);
                    }
                    None => return false,
                },
            }
        }
        glob[g..].iter().all(|c| *c == b'*')
    }
}

/// Not its text, as that of its pattern.
impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({} characters)", self.0.len())
    }
}

/// What taking one character for another costs; `None` where it can't be.
fn cost(known: char, read: char) -> Option<usize> {
    if known == read { Some(0) } else { look_alikes::are_alike(known, read).then_some(1) }
}

/// Not its text: a plate goes into no log.
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({} characters)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fewest(pattern: &str, text: &str) -> Option<usize> {
        Pattern::parse(pattern).unwrap().align(text).map(|(fewest, _)| fewest)
    }

    #[test]
    fn known_characters_are_where_they_stand_and_open_ones_are_anything() {
        assert_eq!(fewest("7AB?123", "7ABX123"), Some(0));
        assert_eq!(fewest("7AB?123", "7AB123"), None);
        assert_eq!(fewest("7AB*", "7AB"), Some(0));
        assert_eq!(fewest("*C123", "7ABC123"), Some(0));
        assert_eq!(fewest("7A*3", "7A12345"), None);
        assert_eq!(fewest("7A0*", "7AO55"), Some(1));
        let aligned = Pattern::parse("7A0*9").unwrap().align("7AO559").unwrap().1;
        assert_eq!(aligned, [Some('7'), Some('A'), Some('0'), None, None, Some('9')]);
    }

    #[test]
    fn a_pattern_that_would_match_everything_is_refused() {
        assert_eq!(Pattern::parse("*"), Err(PatternError::TooOpen(0)));
        assert_eq!(Pattern::parse("A?B*"), Err(PatternError::TooOpen(2)));
        assert_eq!(Pattern::parse("AB%1*"), Err(PatternError::Character));
        assert_eq!(Pattern::parse("???????????123"), Err(PatternError::TooLong(14)));
        assert_eq!(Pattern::parse(" a**b-c").unwrap().as_str(), "A*BC");
    }

    /// By trying every way to lay the text along the pattern.
    fn oracle(pattern: &[char], text: &[char]) -> Option<usize> {
        match (pattern, text) {
            ([], []) => Some(0),
            ([], _) => None,
            (['*', rest @ ..], _) => {
                (0..=text.len()).filter_map(|n| oracle(rest, &text[n..])).min()
            }
            (_, []) => None,
            (['?', rest @ ..], [_, text @ ..]) => oracle(rest, text),
            ([known, rest @ ..], [c, text @ ..]) => Some(cost(*known, *c)? + oracle(rest, text)?),
        }
    }

    proptest! {
        #[test]
        fn no_way_with_fewer_look_alikes_is_missed(
            pattern in "[0OA1?*]{0,10}", text in "[0OA1B]{0,10}",
        ) {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let chars = |s: &str| s.chars().collect::<Vec<_>>();
                let aligned = pattern.align(&text);
                let fits = Glob::of(&pattern).fits(&look_alikes::fold(&text));
                prop_assert_eq!(fits, aligned.is_some());
                prop_assert_eq!(
                    aligned.as_ref().map(|(fewest, _)| *fewest),
                    oracle(&chars(pattern.as_str()), &chars(&text)),
                );
                if let Some((fewest, aligned)) = aligned {
                    prop_assert_eq!(aligned.len(), text.len());
                    let known = aligned.iter().zip(text.chars()).filter_map(|(k, c)| Some((*k.as_ref()?, c)));
                    prop_assert_eq!(known.filter_map(|(k, c)| cost(k, c)).sum::<usize>(), fewest);
                }
            }
        }
    }
}
