//! Command line of the edge agent.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use milepost::cli::read;

#[derive(Debug, Parser)]
#[command(name = "milepost", version, about = "Reads the plates of the vehicles that pass")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Read(read::ReadArgs),
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Read(args) => read::run(&args),
    }
}
