//! Text that may not be TOML → text that is, and what was wrong with it.
//!
//! The parser stops at the first fault. To report every problem at once, the statement that holds
//! the fault is blanked out (lines stay where they are) and the rest is parsed again, at most
//! [`MAX_SYNTAX_PROBLEMS`] times. What was blanked is remembered, so that its keys are not
//! reported as missing too.
//!
//! Fails: never; at the limit the rest of the file is given up, and a problem says so.

use std::{borrow::Cow, collections::BTreeSet};

use toml_span::{ErrorKind, Span};

use super::{
    keys::SECTIONS,
    problem::{Place, Problem, shown},
};

/// After this many faults the rest of the file is not looked at.
pub(super) const MAX_SYNTAX_PROBLEMS: usize = 20;

/// How many lines a statement may be back from where its fault is noticed.
const MAX_STATEMENT_LINES: usize = 200;

/// TOML again.
#[derive(Debug)]
pub(super) struct Mended {
    /// Same lines as the original, faulty statements blank; `None` where it was given up.
    pub text: Option<String>,
    /// `table.key` of blanked statements, and `table` where a whole table was.
    pub blanked: BTreeSet<String>,
    /// What was wrong.
    pub problems: Vec<Problem>,
}

/// Place of a byte offset; offsets outside, or inside a character, are moved into bounds.
pub(super) fn place(text: &str, offset: usize) -> Place {
    let offset = text.floor_char_boundary(offset);
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    let column = before[start..].trim_start_matches('\u{feff}').chars().count() + 1;
    Place { line: before.matches('\n').count() + 1, column }
}

/// Blanks out what is no TOML.
pub(super) fn mend(text: &str) -> Mended {
    let mut lines: Vec<Cow<'_, str>> = text.split_inclusive('\n').map(Cow::from).collect();
    let mut mended = Mended { text: None, blanked: BTreeSet::new(), problems: Vec::new() };
    loop {
        let current = lines.concat();
        let error = match toml_span::parse(&current) {
            Ok(_) => {
                mended.text = Some(current);
                return mended;
            }
            Err(error) => error,
        };
        let noticed = place(&current, error.span.start);
        // Past the last line end there is no line; the fault then belongs to the last one.
        let last = lines.iter().rposition(|l| !l.trim().is_empty()).unwrap_or(0);
        let first = statement_start(&lines, (noticed.line - 1).min(last));
        let key = key_at(&lines, first);
        let at = if noticed.line == first + 1 {
            noticed
        } else {
            let indent = lines[first].chars().take_while(|c| c.is_whitespace()).count();
            Place { line: first + 1, column: indent + 1 }
        };
        let (mut message, remedy) = explain(&error.kind, &current);
        if at.line != noticed.line {
            message += &format!(" (noticed on line {})", noticed.line);
        }
        mended.problems.push(Problem { place: at, key: key.clone(), message, remedy });
        if mended.problems.len() == MAX_SYNTAX_PROBLEMS || lines[first].trim().is_empty() {
            mended.problems.push(Problem {
                place: at,
                key: String::new(),
                message: "the rest of the file was not looked at".into(),
                remedy: "mend the lines named here and check again".into(),
            });
            return mended;
        }
        if let Some(header) = repaired(&lines, first) {
            lines[first] = header.into();
            continue;
        }
        mended.blanked.insert(key);
        let end = statement_end(&lines, first, noticed.line - 1);
        for line in &mut lines[first..end] {
            *line = if line.ends_with('\n') { "\n" } else { "" }.into();
        }
    }
}

/// A broken header whose table is known and stands nowhere else, written well: the keys below it
/// can then be checked.
fn repaired(lines: &[Cow<'_, str>], line: usize) -> Option<String> {
    let name = word(&lines[line]);
    let known = SECTIONS.iter().any(|s| s.name == name);
    let elsewhere = |(i, l): (usize, &Cow<'_, str>)| i != line && is_header(l) && word(l) == name;
    let good = format!("[{name}]\n");
    (is_header(&lines[line])
        && known
        && lines[line].trim() != good.trim()
        && !lines.iter().enumerate().any(elsewhere))
    .then_some(good)
}

/// The first line of the statement whose fault was noticed on `line` (both from 0): the last line
/// before which everything parses.
fn statement_start(lines: &[Cow<'_, str>], line: usize) -> usize {
    let earliest = line.saturating_sub(MAX_STATEMENT_LINES);
    (earliest..=line)
        .rev()
        .find(|&l| {
            !lines[l].trim().is_empty() && {
                let head = lines[..l].concat();
                match toml_span::parse(&head) {
                    Ok(_) => true,
                    // Noticed only when the tables are put together: not this line's doing.
                    Err(e) => is_duplicate(&e.kind),
                }
            }
        })
        .unwrap_or(line)
}

fn is_duplicate(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DuplicateTable { .. }
            | ErrorKind::DuplicateKey { .. }
            | ErrorKind::RedefineAsArray
            | ErrorKind::DottedKeyInvalidType { .. }
    )
}

/// One past the last line of a statement whose fault was noticed on line `noticed`: a header takes
/// its table with it, an open list goes on to the next header or key.
fn statement_end(lines: &[Cow<'_, str>], first: usize, noticed: usize) -> usize {
    let header = is_header(&lines[first]);
    let open = ["[]", "{}"].iter().any(|pair| {
        let count = |i: usize| lines[first].matches(&pair[i..=i]).count();
        count(0) > count(1)
    });
    if noticed == first
        && !header
        && !open
        && !["\"\"\"", "'''"].iter().any(|q| lines[first].contains(q))
    {
        return first + 1;
    }
    let next = lines[first + 1..]
        .iter()
        .position(|l| is_header(l) || (!header && is_assignment(l)))
        .map_or(lines.len(), |i| first + 1 + i);
    // Comments and blank lines between statements are no part of the one before.
    (first + 1..next)
        .rev()
        .find(|&l| !matches!(lines[l].trim().bytes().next(), None | Some(b'#')))
        .map_or(first + 1, |l| l + 1)
}

/// Looks like `[table]` or `[[table]]`, closed or not: a bracket and a bare word, and no comma as
/// in a list that goes on.
fn is_header(line: &str) -> bool {
    let rest = line.trim_start_matches('\u{feff}').trim();
    let word = rest.trim_start_matches('[');
    let name = word.trim_start_matches(['"', '\'', ' ']);
    word.len() != rest.len()
        && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && !rest.contains([',', '='])
}

/// Looks like `key = …`.
fn is_assignment(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| {
        let key = key.trim();
        !key.is_empty()
            && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\''))
    })
}

/// The bare word at the start of a line, without brackets and quotes.
fn word(line: &str) -> String {
    let start = |c: char| c == '[' || c == '"' || c == '\'' || c == '\u{feff}' || c.is_whitespace();
    let word: String = line
        .trim_start_matches(start)
        .chars()
        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .collect();
    shown(&word)
}

/// `table.key` of the statement that starts on a line; `table` for a header.
fn key_at(lines: &[Cow<'_, str>], line: usize) -> String {
    let name = word(&lines[line]);
    if is_header(&lines[line]) {
        return name;
    }
    let section = lines[..line].iter().rev().find(|l| is_header(l)).map(|l| word(l));
    match (section, name.is_empty()) {
        (Some(section), true) => section,
        (Some(section), false) => format!("{section}.{name}"),
        (None, _) => name,
    }
}

/// `table.key` of the last line of a text.
pub(super) fn key_of_line(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.split_inclusive('\n').map(Cow::from).collect();
    match text.ends_with('\n') || lines.is_empty() {
        true => String::new(),
        false => key_at(&lines, lines.len() - 1),
    }
}

/// What is wrong, and what to do. Never repeats the line: it may hold a secret.
fn explain(kind: &ErrorKind, text: &str) -> (String, String) {
    let line = |span: &Span| place(text, span.start).line;
    let (message, remedy): (String, &str) = match kind {
        ErrorKind::UnexpectedEof => {
            ("a value is missing or never closed".into(), "write `key = value` and close brackets")
        }
        ErrorKind::ExceededDepthLimit => ("nested too deeply".into(), "remove the brackets"),
        ErrorKind::InvalidCharInString('\n' | '\r') | ErrorKind::UnterminatedString => {
            ("a text is not closed".into(), "close it with a quote on the same line")
        }
        ErrorKind::InvalidCharInString(c) => (
            format!("control character U+{:04X} in a text", u32::from(*c)),
            "remove it; it may have come in by copying",
        ),
        ErrorKind::InvalidEscape(_)
        | ErrorKind::InvalidHexEscape(_)
        | ErrorKind::InvalidEscapeValue(_) => (
            "a backslash in a text that means nothing to TOML".into(),
            "write the text in 'single quotes' or double the backslash",
        ),
        ErrorKind::Unexpected(c) => (
            format!("unexpected character `{}`", shown(&c.to_string())),
            "write `key = value`, texts in \"double quotes\", comments after #",
        ),
        ErrorKind::InvalidNumber => (
            "not a number that TOML knows, or far too large".into(),
            "write digits without unit or leading zeros, e.g. 5 or 0.4; dates and texts in quotes",
        ),
        ErrorKind::Wanted { expected, found } => (
            format!("expected {expected}, found {found}"),
            "write one `key = value` a line, texts in \"double quotes\"",
        ),
        ErrorKind::DuplicateTable { first, .. } => (
            format!("the table stands on line {} already", line(first)),
            "move its keys there and remove this one",
        ),
        ErrorKind::DuplicateKey { first, .. } => {
            (format!("the key stands on line {} already", line(first)), "keep one of the two")
        }
        ErrorKind::RedefineAsArray => {
            ("a table is written as a list `[[…]]`".into(), "write it once, as `[…]`")
        }
        ErrorKind::MultilineStringKey => {
            ("a key on several lines".into(), "write the key without quotes")
        }
        ErrorKind::DottedKeyInvalidType { first } => (
            format!("the key before the dot is no table: it has a value on line {}", line(first)),
            "write `[table]`, and its keys below without dots",
        ),
        ErrorKind::UnquotedString => (
            "a text without quotes".into(),
            "write it in \"double quotes\"; true and false in small letters",
        ),
        _ => ("no valid TOML".into(), "write `key = value`, texts in \"double quotes\""),
    };
    (message, remedy.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_faulty_line_is_found_and_the_rest_kept() {
        let text = "[a]\nx = 1\ny = unquoted\n\n[b]\nz = \"open\nw = 2\n";
        let m = mend(text);
        let found: Vec<_> = m.problems.iter().map(|p| (p.place.line, p.key.as_str())).collect();
        assert_eq!(found, [(3, "a.y"), (6, "b.z")]);
        assert_eq!(m.text.as_deref(), Some("[a]\nx = 1\n\n\n[b]\n\nw = 2\n"));
    }

    #[test]
    fn an_open_list_is_blamed_on_the_line_that_opens_it() {
        let text = "[vision]\nregions = [\n  [[1, 2], [3, 4]],\n\n[pass]\nmin_sightings = 3\n";
        let m = mend(text);
        assert_eq!(m.problems.len(), 1, "{:?}", m.problems);
        assert_eq!((m.problems[0].place.line, m.problems[0].key.as_str()), (2, "vision.regions"));
        assert!(m.text.is_some_and(|t| t.contains("[pass]\nmin_sightings = 3")));
    }

    #[test]
    fn a_second_table_of_the_same_name_is_blanked_with_its_keys() {
        let text = "[a]\nx = 1\n[b]\ny = 1\n[a]\nx = 2\n[c]\n";
        let m = mend(text);
        let found: Vec<_> = m.problems.iter().map(|p| (p.place.line, p.key.as_str())).collect();
        assert_eq!(found, [(5, "a")]);
        assert!(m.problems[0].message.contains("line 1"), "{:?}", m.problems);
        assert_eq!(m.text.as_deref(), Some("[a]\nx = 1\n[b]\ny = 1\n\n\n[c]\n"));
    }

    #[test]
    fn a_broken_header_of_a_known_table_still_heads_its_keys() {
        let m = mend("[site\nagency = 1\n[capture]\n");
        let found: Vec<_> = m.problems.iter().map(|p| (p.place.line, p.key.as_str())).collect();
        assert_eq!(found, [(1, "site")]);
        assert_eq!(m.text.as_deref(), Some("[site]\nagency = 1\n[capture]\n"));
    }

    #[test]
    fn garbage_ends_at_the_limit() {
        let m = mend(&"?\n".repeat(1000));
        assert_eq!(m.problems.len(), MAX_SYNTAX_PROBLEMS + 1);
        assert!(m.text.is_none());
    }

    #[test]
    fn places_count_characters_from_one() {
        assert_eq!(place("ä\nöx", 5), Place { line: 2, column: 2 });
        // Inside `ö`: its start.
        assert_eq!(place("ä\nöx", 4), Place { line: 2, column: 1 });
        assert_eq!(place("", 10), Place::START);
    }
}
