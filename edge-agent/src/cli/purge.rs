//! `milepost purge`: retention by age, on its own.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use crate::{
    config::Config,
    sealing::{PoleClock, Purged, Purger, SealingError},
};

/// Destroy what is over its age, without the agent
#[derive(Debug, Args)]
#[command(after_long_help = "\
The agent does this once a minute by itself. From a timer it holds where the agent hangs or was
stopped: it works on the key files alone, needs no key and no lock, and may run beside the agent.
What was sealed with a destroyed key can't be read by anyone; its photos are deleted.

Examples:
  milepost purge --config /etc/milepost/milepost.toml
  systemd-run --on-calendar=hourly milepost purge --config /etc/milepost/milepost.toml --json")]
pub struct PurgeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// One JSON object on one line: keys, photos, photo_bytes, keys_left, oldest_key_age_s
    #[arg(long)]
    pub json: bool,
}

/// Purges and says what was done. Exit code 1 where something over its age may be left.
#[must_use]
pub fn run(args: &PurgeArgs) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::FAILURE;
        }
    };
    let purged = match purge(&config) {
        Ok(purged) => purged,
        Err(error) => {
            eprintln!("milepost purge: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = if args.json {
        serde_json::to_string(&purged).unwrap_or_default()
    } else {
        format!(
            "destroyed {} keys, deleted {} photos ({} bytes); {} keys are left, the oldest {} h old",
            purged.keys.len(),
            purged.photos,
            purged.photo_bytes,
            purged.keys_left,
            purged.oldest_key_age_s / 3600
        )
    };
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

/// One run of the purge on what the configuration names. Nothing where nothing was ever kept.
///
/// # Errors
/// [`SealingError::Io`].
pub fn purge(config: &Config) -> Result<Purged, SealingError> {
    let keys = config.sealing_folder();
    if !keys.is_dir() {
        return Ok(Purged::default());
    }
    let clock = PoleClock::open(&keys)?;
    Purger::new(&keys, &config.outbox.directory, config.retention.max_age).run(&clock)
}
