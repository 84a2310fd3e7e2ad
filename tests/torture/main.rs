//! `make torture`: a table of faults, each done to the real parts many times, and what held.
//!
//! Every row is a file of its own and ends as one line of a Markdown table. A row fails by what it
//! saw, and by its **control**: the same harness on a store, a server or a disk that is known to be
//! bad must complain, else the row's silence means nothing. What can't be done on a machine is
//! named `NOT DONE` and is no success.
//!
//! What a fault needs a process for runs in this same program under a hidden verb ([`child`]).
//! A seed fixes every choice that is ours (not the machine's timing); a failing run keeps its
//! folder and says how to do it again.
#![allow(clippy::expect_used, reason = "a harness that can't be set up fails its row")]

mod announced;
mod broker;
mod certificates;
mod child;
mod clock;
mod context;
mod damage;
mod disk;
mod full;
mod hostile;
mod kill;
mod line;
mod lists;
mod model;
mod no_fsync;
mod outage;
mod pole;
mod power;
mod process;
mod rig;
mod table;

use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Instant,
};

use clap::{Parser, Subcommand};

use context::{Context, RowName};

/// Exit code where nothing failed and a row could not be done on this machine.
const NOT_DONE: u8 = 3;

/// Set in the copy of this program that has mounts of its own.
const NAMESPACE: &str = "TORTURE_NAMESPACE";

/// Does a table of faults to Milepost and says what held.
#[derive(Debug, Parser)]
#[command(name = "torture")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// The five-minute table.
    #[arg(long)]
    quick: bool,
    /// Only these rows.
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<RowName>,
    /// Runs of each row instead of the table's.
    #[arg(long)]
    runs: Option<u32>,
    /// What the choices are made from; printed, and new each time where it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only the unit of this number, as a failing run printed it.
    #[arg(long)]
    unit: Option<u32>,
    /// Where runs have their folders; those of failing runs stay.
    #[arg(long, default_value = ".cache/torture")]
    out: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// An outbox under load, for the rows that kill it.
    #[command(hide = true)]
    Child(child::Options),
    /// An outbox with its uplink, for the rows that measure its process.
    #[command(hide = true)]
    Pole(pole::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.part {
        Some(Part::Child(options)) => return child::run(options),
        Some(Part::Pole(options)) => return pole::run(options),
        None => {}
    }
    let own_mounts = std::env::var_os(NAMESPACE).is_some();
    if !own_mounts {
        let error = with_own_mounts();
        eprintln!("no mounts of our own ({error}): rows that need them are not done");
    }
    let seed = arguments.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let context = Context {
        quick: arguments.quick,
        runs: arguments.runs,
        seed,
        unit: arguments.unit,
        out: std::path::absolute(&arguments.out).expect("a folder"),
        own_mounts,
    };
    let mut rows = Vec::new();
    for name in RowName::ALL {
        if arguments.rows.is_empty() || arguments.rows.contains(&name) {
            eprintln!("==> {}", name.fault());
            let begun = Instant::now();
            let row = context.row(name);
            eprintln!("    {} ({} s)", row.summary(), begun.elapsed().as_secs());
            rows.push(row);
        }
    }
    print!("{}", table::render(&rows, seed, arguments.quick));
    if rows.iter().any(|row| !row.failures.is_empty()) {
        ExitCode::FAILURE
    } else if rows.iter().all(table::Row::held) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_DONE)
    }
}

/// Goes on as a copy that has mounts of its own: those of a run that is killed go with the last
/// process that sees them. Comes back only where that can't be had.
fn with_own_mounts() -> String {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    match unshare().arg("true").output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => return format!("unshare: {error}"),
    }
    let error = unshare()
        .arg(std::env::current_exe().expect("this program's path"))
        .args(std::env::args_os().skip(1))
        .env(NAMESPACE, "1")
        .exec();
    error.to_string()
}
