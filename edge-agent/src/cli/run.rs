//! `milepost run`: the agent, until it is told to stop.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{agent, config::Config};

/// Read plates from the camera and send them, until told to stop
#[derive(Debug, Args)]
#[command(after_long_help = "\
Stops in order on SIGTERM and on Ctrl-C: reads under way are kept, nothing is lost.
What works and what does not is shown on the local page, http://127.0.0.1:8480/ by default.

Examples:
  milepost run --config /etc/milepost/milepost.toml
  RUST_LOG=debug milepost run --config pole.toml --log json 2>> pole.log")]
pub struct RunArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Loads the configuration and runs the agent. Exit code 1 where either fails.
#[must_use]
pub fn run(args: &RunArgs) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(file = %args.config.display(), "settings in force:\n{config}");
    match agent::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Said once, and even where the log is switched off.
            if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!(%error, "the agent ends");
            } else {
                eprintln!("milepost: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
