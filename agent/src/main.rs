//! The `redial` command.

use std::process::ExitCode;

use clap::Parser as _;
use redial::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("redial: {failure}");
            failure.exit_code()
        }
    }
}
