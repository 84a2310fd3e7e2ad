//! Lines of fixed columns.

use std::ops::Range;

/// The characters of some columns, from 0; what a short line lacks is empty. Columns are characters:
/// a line with others than ASCII still has its columns where they are.
pub(super) fn columns(line: &str, columns: Range<usize>) -> &str {
    let place = |n: usize| line.char_indices().nth(n).map_or(line.len(), |(i, _)| i);
    &line[place(columns.start)..place(columns.end)]
}

/// Columns up to the end of the line.
pub(super) fn rest(line: &str, from: usize) -> &str {
    columns(line, from..usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_short_line_are_empty_and_none_is_cut_within_a_character() {
        assert_eq!(
            (columns("abcdef", 2..4), columns("ab", 1..9), columns("ab", 5..9)),
            ("cd", "b", "")
        );
        assert_eq!((columns("aÄc", 1..2), rest("aÄc", 2)), ("Ä", "c"));
    }
}
