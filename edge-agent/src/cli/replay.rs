//! `milepost replay` (under construction).

use std::process::ExitCode;

/// (under construction)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  milepost replay --help")]
pub struct ReplayArgs {}

/// Says that the verb is not there yet.
#[must_use]
pub fn run(_: &ReplayArgs) -> ExitCode {
    eprintln!("milepost replay is not built yet");
    ExitCode::FAILURE
}
