//! `milepost read` (under construction).

use std::process::ExitCode;

/// (under construction)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  milepost read --help")]
pub struct ReadArgs {}

/// Says that the verb is not there yet.
#[must_use]
pub fn run(_: &ReadArgs) -> ExitCode {
    eprintln!("milepost read is not built yet");
    ExitCode::FAILURE
}
