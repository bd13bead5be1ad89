//! The project's chores: `cargo xtask <command>`, a file each.

mod bench;
mod ebpf;
mod lint;
mod packages;
mod paths;
mod reference;
mod run;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure what redial costs, against its targets
    Bench(bench::Bench),
    /// Build the kernel programs, or check that the committed objects are fresh
    Ebpf(ebpf::Ebpf),
    /// Check format, lints, the project's own rules, and that the kernel objects are fresh
    Lint(lint::Lint),
    /// Write the manual and the shells' completions to target/reference
    Reference,
    /// Run the unit tests, then the live tests on this machine's kernel
    Test(test::Test),
    /// Run the live tests on other kernels, in QEMU guests
    Vm(vm::Vm),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Bench(args) => bench::main(&args),
        Command::Ebpf(args) => ebpf::main(&args),
        Command::Lint(args) => lint::main(&args),
        Command::Reference => reference::main(),
        Command::Test(args) => test::main(&args),
        Command::Vm(args) => vm::main(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
