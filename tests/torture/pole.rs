//! Not yet.
use std::process::ExitCode;
/// What it does.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {}
/// The hidden verb.
pub fn run(_options: &Options) -> ExitCode {
    ExitCode::FAILURE
}
