//! Clippy with warnings as errors: user space with this toolchain, the kernel programs with the one that builds them.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    ebpf::{self, toolchain},
    packages::{self, Package},
    paths, run,
};

const DEBIANS: Package =
    Package { name: "rust-web-clippy", proof: "/usr/bin/cargo-clippy", reason: "clippy of the compiler for BPF" };

/// Clippy over everything but the kernel programs.
pub fn user_space() -> Result<()> {
    let mut command = run::cargo(&paths::root());
    command.args(["clippy", "--workspace", "--exclude", ebpf::PACKAGE, "--all-targets", "--", "--deny", "warnings"]);
    run::run(&mut command)
}

/// Clippy over the kernel programs for every architecture, where a toolchain for BPF is installed.
pub fn kernel(install: bool) -> Result<()> {
    let Some(toolchain) = toolchain::find(None)? else {
        run::say("NOT CHECKED: there is no toolchain for BPF; `cargo xtask ebpf --verify` installs one");
        return Ok(());
    };
    if toolchain.sysroot == Path::new("/usr") {
        packages::ensure([&DEBIANS], install)?;
    }
    let cargo_clippy = toolchain.sysroot.join("bin/cargo-clippy");
    if !cargo_clippy.exists() {
        bail!("{} is missing; `rustup component add clippy` for that toolchain", cargo_clippy.display());
    }
    for arch in ebpf::Arch::ALL {
        run::run(&mut ebpf::clippy(&toolchain, *arch, &cargo_clippy)?)?;
    }
    Ok(())
}
