//! `xtask test`: everything that is tested on this machine, unit tests first, then the live tests on its kernel.

pub mod mounts;
mod needs;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use crate::{ebpf, packages, paths, run};

/// Arguments of `xtask test`.
#[derive(Args)]
pub struct Test {
    /// List what is missing instead of installing it
    #[arg(long)]
    no_install: bool,
    /// Only tests whose name contains one of these
    filter: Vec<String>,
}

/// The package of the live tests: its library and programs are tested with the unit tests, its `live/` files apart.
pub const LIVE: &str = "redial-tests";

const UNIT: &[&[&str]] =
    &[&["--workspace", "--exclude", "redial-ebpf", "--exclude", LIVE], &["--package", LIVE, "--lib", "--bins"]];
const LIVE_TESTS: &[&str] = &["--package", LIVE, "--test", "*"];

/// Runs `xtask test`.
pub fn main(args: &Test) -> Result<()> {
    let live = std::env::var_os("REDIAL_TEST_LIVE").is_none_or(|value| value != "0");
    if live && !run::is_root()? {
        bail!(
            "the live tests load BPF programs and make network namespaces: run `cargo xtask test` as root, or leave \
             them out with REDIAL_TEST_LIVE=0"
        );
    }
    ebpf::check()?;
    packages::ensure(needs::PACKAGES, !args.no_install)?;
    if !args.filter.is_empty() {
        some_match(&args.filter)?;
    }
    for selection in UNIT {
        cargo_test(selection, &args.filter, &[])?;
    }
    if live {
        mounts::ensure()?;
        live_tests(&args.filter)
    } else {
        run::say("REDIAL_TEST_LIVE=0: the live tests are left out, NOTHING WAS TESTED ON A KERNEL");
        Ok(())
    }
}

fn live_tests(filter: &[String]) -> Result<()> {
    let root = paths::root();
    run::run(run::cargo(&root).args(["build", "--release", "--package", "redial"]))?;
    run::run(run::cargo(&root).args(["build", "--package", LIVE, "--bins"]))?;
    let mut environment = vec![
        ("REDIAL_BIN", paths::target().join("release/redial")),
        ("REDIAL_TRAFFIC_BIN", paths::target().join("debug/traffic")),
    ];
    environment.extend(ebpf::object_to_test()?.map(|object| (ebpf::OBJECT_VARIABLE, object)));
    cargo_test(LIVE_TESTS, &[&["--test-threads=1".to_owned()], filter].concat(), &environment)
}

fn cargo_test(selection: &[&str], arguments: &[String], environment: &[(&str, PathBuf)]) -> Result<()> {
    let mut command = command(&paths::root(), selection, arguments);
    run::run(command.envs(environment.iter().map(|(name, value)| (name, value))))
}

fn command(root: &Path, selection: &[&str], arguments: &[String]) -> std::process::Command {
    let mut command = run::cargo(root);
    command.args(["test", "--no-fail-fast"]).args(selection).arg("--").args(arguments);
    command
}

/// Fails when no test is named so: a filter with a typing error would pass otherwise.
fn some_match(filter: &[String]) -> Result<()> {
    let mut arguments = vec!["--list".to_owned()];
    arguments.extend_from_slice(filter);
    for selection in UNIT.iter().copied().chain([LIVE_TESTS]) {
        let list = run::output(&mut command(&paths::root(), selection, &arguments))?;
        if list.lines().any(|line| line.ends_with(": test")) {
            return Ok(());
        }
    }
    bail!("no test has {} in its name", filter.join(" or "))
}
