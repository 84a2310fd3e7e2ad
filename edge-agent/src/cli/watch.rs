//! `milepost watch` (under construction).

use std::process::ExitCode;

/// (under construction)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  milepost watch --help")]
pub struct WatchArgs {}

/// Says that the verb is not there yet.
#[must_use]
pub fn run(_: &WatchArgs) -> ExitCode {
    eprintln!("milepost watch is not built yet");
    ExitCode::FAILURE
}
