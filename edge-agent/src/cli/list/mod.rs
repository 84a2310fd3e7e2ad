//! `milepost list`: what an alert list holds, and its signature, before it goes to the poles.

mod blind;
mod lookup;
mod sign;

use std::{
    fs::File,
    io::{self, BufReader, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use milepost_wire::ListFormat;

use crate::{list_store::rules, lists::Report};

/// Look at alert lists
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  milepost list check svs.txt --format clew")]
pub struct ListArgs {
    #[command(subcommand)]
    verb: ListVerb,
}

#[derive(Debug, Subcommand)]
enum ListVerb {
    Check(CheckArgs),
    Blind(blind::BlindArgs),
    Sign(Box<sign::SignArgs>),
    Show(lookup::ShowArgs),
    Match(lookup::MatchArgs),
}

/// Read a list as a pole would, and say what was taken and what not
#[derive(Debug, Args)]
#[command(after_long_help = "\
No plate is printed: lines that can't be used are named by their numbers.

Formats:
  csv    a header with plate and any of id, state, kind, date, year, make, model, colour
  jsonl  one JSON object a line with the same members
  clew   California DOJ tables (svs, sfr, slr), with header and TOTAL RECORD
  ncic   NCIC extract in fixed columns
  blind  what `milepost list blind` makes of one of these

Exit code 0 where every line was taken or skipped by rule, 3 where some were bad, 1 where a pole would
refuse the list.

Examples:
  milepost list check svs.txt --format clew
  milepost list check bulletins.csv --format csv --json
  milepost list check svs-changes.jsonl --format jsonl --delta")]
struct CheckArgs {
    /// The list
    file: PathBuf,
    /// Its format: csv, jsonl, clew, ncic or blind
    #[arg(long)]
    format: ListFormat,
    /// It is a delta: removals and additions, in jsonl
    #[arg(long)]
    delta: bool,
    /// One JSON object on one line: lines, entries, junk, bad, named
    #[arg(long)]
    json: bool,
}

/// Exit code where some lines were bad.
const SOME_BAD: u8 = 3;

/// Does it.
#[must_use]
pub fn run(args: &ListArgs) -> ExitCode {
    match &args.verb {
        ListVerb::Check(args) => check(args),
        ListVerb::Blind(args) => blind::run(args),
        ListVerb::Sign(args) => sign::run(args),
        ListVerb::Show(args) => lookup::show(args),
        ListVerb::Match(args) => lookup::look_up(args),
    }
}

fn check(args: &CheckArgs) -> ExitCode {
    let file = args.file.display();
    let opened = match File::open(&args.file) {
        Ok(opened) => opened,
        Err(error) => {
            eprintln!("milepost list check: {file}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut input = BufReader::new(opened);
    let examined = if args.delta {
        rules::examine_delta(&mut input)
    } else {
        rules::examine(args.format, &mut input)
    };
    let (report, refused) = match examined {
        Ok(report) => (Some(Box::new(report)), None),
        Err((error, report)) => (report, Some(error)),
    };
    if let Some(report) = &report {
        say(args, report);
    }
    if let Some(error) = refused {
        eprintln!("milepost list check: {file}: a pole would refuse it: {error}");
        return ExitCode::FAILURE;
    }
    let bad = report.is_some_and(|report| report.bad > 0);
    if bad { ExitCode::from(SOME_BAD) } else { ExitCode::SUCCESS }
}

fn say(args: &CheckArgs, report: &Report) {
    let text =
        if args.json { serde_json::to_string(report).unwrap_or_default() } else { words(report) };
    let _ = writeln!(io::stdout(), "{text}");
}

fn words(report: &Report) -> String {
    let Report { lines, entries, junk, bad, named, key_sha256: _ } = report;
    let mut text = format!("{entries} entries of {lines} lines");
    for (rule, count) in junk {
        text += &format!("\nskipped  {count}: {}", rule.name());
    }
    for (number, why) in named {
        text += &format!("\nline {number}: {why}");
    }
    if *bad > named.len() as u64 {
        text += &format!("\nand {} more lines that can't be used", *bad - named.len() as u64);
    }
    text
}
