//! Characters that may be struck or seen alike: O and 0, B and 8. Pure.
//!
//! The reader weighs them against each other, tracks are joined over them, and alert lists are matched
//! across them: one table for all three.

/// Characters of one group may be struck or seen alike. No character is in two groups, so being alike
/// is an equivalence and [`fold`] names its classes.
pub const GROUPS: [&str; 6] = ["0ODQ", "1I", "8B", "5S", "2Z", "6G"];

/// The group of `c`, itself included; `None` where nothing looks like it.
#[must_use]
pub fn group(c: char) -> Option<&'static str> {
    GROUPS.into_iter().find(|group| group.contains(c))
}

/// Whether two characters look alike; not whether they are the same.
#[must_use]
pub fn are_alike(a: char, b: char) -> bool {
    a != b && group(a).is_some_and(|group| group.contains(b))
}

/// `text` with every character replaced by the first of its group: equal for texts that look alike.
#[must_use]
pub fn fold(text: &str) -> String {
    let first = |c| group(c).and_then(|group| group.chars().next()).unwrap_or(c);
    text.chars().map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_in_two_groups() {
        let mut all: Vec<char> = GROUPS.iter().flat_map(|group| group.chars()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn texts_that_look_alike_fold_to_the_same() {
        assert_eq!(fold("7OBZ5"), fold("7D8Z5"));
        assert_ne!(fold("7ABC"), fold("7ABX"));
        assert!(are_alike('0', 'Q') && !are_alike('0', '0') && !are_alike('0', '8'));
    }
}
