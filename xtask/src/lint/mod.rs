//! `xtask lint`: everything that can be told without running a test; all complaints at once, then one status.

mod clippy;
mod tidy;

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::{ebpf, paths, run};

/// Arguments of `xtask lint`.
#[derive(Args)]
pub struct Lint {
    /// List what is missing instead of installing it
    #[arg(long)]
    no_install: bool,
}

/// Runs `xtask lint`.
pub fn main(args: &Lint) -> Result<()> {
    let steps: [(&str, &dyn Fn() -> Result<()>); 5] = [
        ("tidy", &|| tidy::main(&paths::root())),
        ("kernel objects", &ebpf::check),
        ("format", &format),
        ("clippy", &clippy::user_space),
        ("clippy of the kernel programs", &|| clippy::kernel(!args.no_install)),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        run::say(format!("lint: {name}"));
        if let Err(error) = step() {
            run::say(format!("lint: {name}: {error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint found fault with: {}", failed.join(", "));
    }
    Ok(())
}

/// The whole workspace, with the kernel programs that plain `cargo fmt` would cover too.
fn format() -> Result<()> {
    let mut command: Command = run::cargo(&paths::root());
    run::run(command.args(["fmt", "--all", "--check"]))
}
