//! The command line: verbs, logging, exit codes.
//!
//! Invariants: what a verb says goes to standard output, the log to standard error; exit code 0 is
//! good, 1 a problem that was named, 2 a command line that was not understood.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::{outbox::probe, sealing::memory};

pub mod check;
pub mod erase;
mod ledger_words;
pub mod list;
pub mod purge;
pub mod read;
pub mod rekey;
pub mod replay;
pub mod run;
mod surroundings;
pub mod watch;

/// What the agent logs where `RUST_LOG` says nothing.
const AGENT_LOG: &str = "info,ort=warn";
/// What the other verbs log: their output is what they are asked for.
const VERB_LOG: &str = "warn";

/// Milepost: reads the plates of passing vehicles and sends each read to a central server.
#[derive(Debug, Parser)]
#[command(name = "milepost", version, propagate_version = true, max_term_width = 100)]
#[command(after_long_help = "\
Exit codes: 0 good; 1 a problem, which was named; 2 the command line was not understood.
The log goes to standard error; the environment variable RUST_LOG chooses what is in it, e.g.
RUST_LOG=warn,milepost::uplink=debug.

Examples:
  milepost check --config /etc/milepost/milepost.toml
  milepost run --config /etc/milepost/milepost.toml --log json
  milepost read --json photo.jpg
  milepost replay clip.mp4
  milepost watch --help")]
pub struct Cli {
    /// How the log is written
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log: LogFormat,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for a person
    Text,
    /// One JSON object a line, for a machine
    Json,
}

/// What the agent can be told to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Read plates from the camera and send them, until told to stop
    Run(run::RunArgs),
    /// Say everything that is wrong with a configuration, without starting anything
    Check(check::CheckArgs),
    /// Read the plates in photos
    Read(read::ReadArgs),
    /// Run the whole pipeline on a recorded clip, as fast as it goes
    Replay(replay::ReplayArgs),
    /// Show reads as they arrive, as a central server would receive them
    Watch(watch::WatchArgs),
    /// Look at alert lists before they go to the poles
    List(list::ListArgs),
    /// What the agent starts itself with, to open a store that may be damaged
    #[command(name = probe::VERB, hide = true)]
    StoreProbe,
    /// Destroy what is over its age, without the agent
    Purge(purge::PurgeArgs),
    /// Wrap the data keys with another key: from a key file to a TPM credential, or to a new one
    Rekey(rekey::RekeyArgs),
    /// Make everything that the pole keeps unreadable, and delete it
    Erase(erase::EraseArgs),
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log, if matches!(cli.verb, Verb::Run(_)) { AGENT_LOG } else { VERB_LOG });
    // Most verbs hold keys or plates.
    if let Err(error) = memory::harden() {
        tracing::warn!(%error, "core dumps of this process can't be forbidden: plates could be in one");
    }
    match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Read(args) => read::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Watch(args) => watch::run(&args),
        Verb::StoreProbe => match probe::child(io::stdin(), io::stdout().lock()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("milepost {}: {error}", probe::VERB);
                ExitCode::FAILURE
            }
        },
        Verb::List(args) => list::run(&args),
        Verb::Purge(args) => purge::run(&args),
        Verb::Rekey(args) => rekey::run(&args),
        Verb::Erase(args) => erase::run(&args),
    }
}

/// Sends the log to standard error.
fn start_log(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env();
    let refused = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    // A log that was set already (a test's) is kept.
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if let (Ok(()), Some(refused), true) =
        (started, refused, std::env::var_os("RUST_LOG").is_some())
    {
        tracing::warn!("RUST_LOG is not understood ({refused}): logging `{default}`");
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_help_with_examples() {
        let mut cli = Cli::command();
        cli.build();
        for verb in cli.get_subcommands_mut() {
            let name = verb.get_name().to_owned();
            if name != "help" && name != probe::VERB {
                let help = verb.render_long_help().to_string();
                assert!(help.contains(&format!("milepost {name}")), "{help}");
                assert!(help.contains("Example"), "{name} has no examples");
            }
        }
    }
}
