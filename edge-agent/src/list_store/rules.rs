//! What a list must be to be taken, the same for the pole and for who makes or checks one.

use std::io::BufRead;

use milepost_wire::ListFormat;

use super::ListError;
use crate::lists::{
    Report, Wanted,
    format::{self, FormatError},
    search::{MAX_PATTERNS, TooMany},
};

/// More than one line in so many that is no entry refuses a list.
const BAD_ONE_IN: u64 = 10;

/// Whether a list of which this was taken may be used. One without a line withdraws the list.
///
/// # Errors
/// [`FormatError::Nothing`], [`ListError::Bad`].
pub fn accept(format: ListFormat, report: &Report) -> Result<(), ListError> {
    let lines = report.lines;
    if report.entries == 0 && lines > 0 {
        return Err(FormatError::Nothing { lines, format: format.name() }.into());
    }
    accept_lines(report)
}

/// As [`accept`], of a delta: it may have nothing but removals.
///
/// # Errors
/// [`ListError::Bad`].
pub fn accept_lines(report: &Report) -> Result<(), ListError> {
    let (bad, lines) = (report.bad, report.lines);
    if bad > lines / BAD_ONE_IN {
        let first = report.named.first().map(|(line, why)| format!("line {line}: {why}"));
        return Err(ListError::Bad { bad, lines, first: first.unwrap_or_default() });
    }
    Ok(())
}

/// What was read of a list, or why a pole would refuse it, with what was read where that came to its end.
pub type Examined = Result<Report, (ListError, Option<Box<Report>>)>;

/// Reads a whole list as a pole does, but for what is said of it.
///
/// # Errors
/// [`ListError`], where a pole would refuse it, with what was read where it could be read to its end.
pub fn examine(format: ListFormat, input: &mut dyn BufRead) -> Examined {
    let mut open = 0;
    let read = format::read(format, input, |entry| {
        open += usize::from(matches!(entry.wanted, Wanted::Pattern(_)));
    });
    let report = read.map_err(|error| (error.into(), None))?;
    let taken = match open {
        0..=MAX_PATTERNS => accept(format, &report),
        _ => Err(ListError::Limit(TooMany::Patterns.to_string())),
    };
    judged(report, taken)
}

/// As [`examine`], of a delta; whether what it makes of its base is a list is for the pole to see.
///
/// # Errors
/// As [`examine`].
pub fn examine_delta(input: &mut dyn BufRead) -> Examined {
    let report = format::delta::read(input, drop).map_err(|error| (error.into(), None))?;
    let taken = accept_lines(&report);
    judged(report, taken)
}

fn judged(report: Report, taken: Result<(), ListError>) -> Examined {
    match taken {
        Ok(()) => Ok(report),
        Err(error) => Err((error, Some(Box::new(report)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(format: ListFormat, text: &str) -> Result<u64, String> {
        let examined = examine(format, &mut text.as_bytes());
        examined.map(|report| report.entries).map_err(|(error, _)| error.to_string())
    }

    #[test]
    fn a_list_of_which_nothing_is_left_is_refused_and_one_without_a_line_withdraws_it() {
        let blank = "plate,id\n,1\n,2\n";
        let refused = examined(ListFormat::Csv, blank).unwrap_err();
        assert!(refused.contains("no entry in 2 lines"), "{refused}");
        // Too short for its columns: every plate is empty.
        let other = examined(ListFormat::Ncic, "plate,id\n7ABC123,1\n").unwrap_err();
        assert!(other.contains("ncic"), "{other}");
        assert_eq!(examined(ListFormat::Csv, "plate,id\n"), Ok(0));
        assert_eq!(examined(ListFormat::Jsonl, ""), Ok(0));
    }

    #[test]
    fn a_delta_is_refused_here_as_by_a_pole() {
        let delta = |bad: usize| {
            let add = |plate| format!("{{\"add\":{{\"plate\":\"{plate}\",\"id\":\"A1\"}}}}\n");
            let text = add("7ABC123").repeat(10) + &add("7%ABC").repeat(bad);
            examine_delta(&mut text.as_bytes()).map(|report| report.bad)
        };
        assert_eq!(delta(1).unwrap(), 1);
        let (refused, report) = delta(2).unwrap_err();
        assert!(refused.to_string().contains("2 of 12 lines"), "{refused}");
        assert_eq!(report.unwrap().bad, 2);
    }

    #[test]
    fn fillers_are_no_fault_of_a_list_and_lines_that_are_no_entry_are() {
        let fillers = "plate\n0\n00\nUNKNOWN\n7ABC123\n";
        assert_eq!(examined(ListFormat::Csv, fillers), Ok(1));
        let bad = format!("plate\n{}7%ABC\n", "7ABC123\n".repeat(8));
        assert!(examined(ListFormat::Csv, &bad).unwrap_err().contains("1 of 9 lines"));
        let open = format!("plate\n{}", "7AB?123\n".repeat(MAX_PATTERNS + 1));
        assert!(examined(ListFormat::Csv, &open).unwrap_err().contains("split the list"));
    }
}
