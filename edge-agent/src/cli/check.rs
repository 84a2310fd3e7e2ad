//! `milepost check`: everything that is wrong with a configuration and with what it names, without
//! starting anything.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::json;

use super::surroundings;
use crate::config::{Config, ConfigErrors};

/// Say everything that is wrong with a configuration, without starting anything
#[derive(Debug, Args)]
#[command(after_long_help = "\
Looks at the file first; where that is good, at what it names: certificates and keys, models,
the ONNX Runtime library, the camera's device or clip, the queue's folder, the lamp's board.
No camera, network or lamp is touched, and nothing is left behind.

Each problem is one line:  FILE:LINE:COLUMN: KEY: what is wrong — what to do
Exit code 1 where there is one.

Examples:
  milepost check --config /etc/milepost/milepost.toml
  milepost check --config pole.toml --json | jq '.problems[] | .key'")]
pub struct CheckArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// One JSON object on one line: file, good, problems (line, column, key, message, remedy), more
    #[arg(long)]
    pub json: bool,
}

/// Everything that is wrong; an empty list of problems where nothing is.
#[must_use]
pub fn check(file: &Path) -> ConfigErrors {
    match Config::load_with_places(file) {
        Ok((config, places)) => {
            ConfigErrors::new(file.into(), surroundings::look_at(&config, &places))
        }
        Err(errors) => errors,
    }
}

/// Checks and prints. Exit code 1 where something is wrong.
#[must_use]
pub fn run(args: &CheckArgs) -> ExitCode {
    let errors = check(&args.config);
    let good = errors.problems.is_empty();
    let text = if args.json {
        json!({
            "file": args.config,
            "good": good,
            "problems": errors.problems,
            "more": errors.more,
        })
        .to_string()
    } else if good {
        format!("{}: configuration is good", args.config.display())
    } else {
        errors.to_string()
    };
    // A reader that has seen enough (`| head`) is no problem of the configuration.
    let _ = writeln!(io::stdout(), "{text}");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
