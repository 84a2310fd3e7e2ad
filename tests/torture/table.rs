//! The result: one line a fault.

use std::fmt::Write as _;

/// Failures shown under the table for each row.
const SHOWN: usize = 8;

/// One fault, done many times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// What was done.
    pub fault: String,
    /// How often.
    pub runs: u32,
    /// What was counted and held.
    pub held: Vec<String>,
    /// What did not hold, each with how to do it again.
    pub failures: Vec<String>,
    /// The longest times and the largest figures.
    pub worst: Vec<String>,
    /// Set where it could not be done here.
    pub not_done: Option<String>,
}

impl Row {
    /// An empty row of a fault.
    pub fn new(fault: &str) -> Self {
        Self { fault: fault.into(), ..Self::default() }
    }

    /// Whether it was done and nothing failed.
    pub fn held(&self) -> bool {
        self.not_done.is_none() && self.failures.is_empty() && self.runs > 0
    }

    /// Adds a failure.
    pub fn fail(&mut self, failure: impl Into<String>) {
        let failure = failure.into();
        eprintln!("    FAILED: {failure}");
        self.failures.push(failure);
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        match &self.not_done {
            Some(why) => format!("NOT DONE: {why}"),
            None if self.held() => format!("held: {}", self.held.join(", ")),
            None => format!("{} failures in {} runs", self.failures.len(), self.runs),
        }
    }
}

fn cell(parts: &[String]) -> String {
    parts.join("; ").replace('|', "\\|").replace('\n', " ")
}

/// The table in Markdown, then what failed.
pub fn render(rows: &[Row], seed: u64, quick: bool) -> String {
    let mut text = format!(
        "Seed {seed}{}\n\n| fault | runs | result | what was seen | failures | worst |\n\
         | --- | ---: | --- | --- | ---: | --- |\n",
        if quick { ", quick" } else { "" }
    );
    for row in rows {
        let result = match &row.not_done {
            Some(why) => format!("NOT DONE: {}", cell(std::slice::from_ref(why))),
            None if row.held() => "held".into(),
            None => "**FAILED**".into(),
        };
        let (held, worst) = (cell(&row.held), cell(&row.worst));
        let failures = row.failures.len();
        let _ = writeln!(
            text,
            "| {} | {} | {result} | {held} | {failures} | {worst} |",
            row.fault, row.runs
        );
    }
    for row in rows.iter().filter(|r| !r.failures.is_empty()) {
        let _ = writeln!(text, "\n{}:", row.fault);
        for failure in row.failures.iter().take(SHOWN) {
            let _ = writeln!(text, "- {}", failure.replace('\n', " "));
        }
        if let Some(more @ 1..) = row.failures.len().checked_sub(SHOWN) {
            let _ = writeln!(text, "- and {more} more");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_did_nothing_or_could_not_is_no_success() {
        let mut row = Row::new("fault");
        assert!(!row.held(), "no run");
        row.runs = 1;
        assert!(row.held());
        row.not_done = Some("no loop devices".into());
        assert!(!row.held());
        assert!(render(&[row], 7, true).contains("NOT DONE: no loop devices"));
    }

    #[test]
    fn a_failure_is_in_the_table_and_below_it() {
        let mut row = Row { runs: 2, ..Row::new("fault") };
        row.fail("lost | 3");
        let text = render(&[row], 7, false);
        assert!(
            text.contains("| fault | 2 | **FAILED** |") && text.contains("- lost | 3"),
            "{text}"
        );
    }
}
