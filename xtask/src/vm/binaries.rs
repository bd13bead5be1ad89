//! Builds what runs in the guest: static programs, for it has no library.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{paths, run, test::LIVE};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Tests that run on this machine's own kernel only: of kinds of sockets that the guests' older kernels tell less of; of
/// edges, tables, limits and audits, which take an emulated processor too long; and of containers, which want bash.
const NOT_IN_GUESTS: [&str; 6] = ["kinds", "edges", "tables", "limits", "audit", "container"];

/// A program for the guest.
pub struct Binary {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Everything that runs in the guest.
pub struct Binaries {
    /// The agent and the tests' helpers.
    pub programs: Vec<Binary>,
    /// The live tests.
    pub tests: Vec<Binary>,
}

impl Binaries {
    /// Builds them; cargo's errors are on the terminal.
    pub fn build() -> Result<Self> {
        let mut programs = executables(cargo(&["build", "--package", "redial", "--bin", "redial"]), "bin")?;
        programs.extend(executables(cargo(&["build", "--package", LIVE, "--bins"]), "bin")?);
        let mut tests = executables(cargo(&["test", "--no-run", "--package", LIVE, "--test", "*"]), "test")?;
        tests.retain(|test| !NOT_IN_GUESTS.contains(&test.name.as_str()));
        Ok(Self { programs, tests })
    }
}

/// cargo for static programs without debug information, in a folder of their own: other flags build everything anew.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = run::cargo(&paths::root());
    command
        .args(arguments)
        .args(["--release", "--target", TARGET, "--message-format=json-render-diagnostics", "--target-dir"])
        .arg(paths::target().join("vm/build"))
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    command
}

/// A line of cargo's messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn executables(mut command: Command, kind: &str) -> Result<Vec<Binary>> {
    // Only standard output is wanted: cargo's progress and errors belong on the terminal.
    let messages = run::messages(&mut command)?;
    let mut found = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).with_context(|| format!("cargo's message is odd: {line}"))?;
        if let (Some(target), Some(path)) = (message.target, message.executable)
            && target.kind.iter().any(|own| own == kind)
        {
            found.push(Binary { name: target.name, content: read(&path)? });
        }
    }
    if found.is_empty() {
        bail!("cargo built no program of kind `{kind}`");
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
