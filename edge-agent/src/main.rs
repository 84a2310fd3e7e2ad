//! Command line of the edge agent; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    milepost::cli::main()
}
