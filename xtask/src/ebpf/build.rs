//! Builds the kernel programs for one architecture, so that the bytes depend on the sources and the toolchain only.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{arch::Arch, toolchain::Toolchain};
use crate::{paths, run};

/// Compiler flags that decide about the object's bytes.
pub const FLAGS: &[&str] = &["-Cdebuginfo=2", "-Clink-arg=--btf"];

const TARGET: &str = "bpfel-unknown-none";
/// The package of the kernel programs, and its program.
pub const PACKAGE: &str = "redial-ebpf";

/// What is built, and how.
const SELECT: [&str; 6] = ["--release", "--package", PACKAGE, "--target", TARGET, "-Zbuild-std=core"];

/// What the compiler would take from whoever runs it.
const FOREIGN: &[&str] = &[
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_INCREMENTAL",
    "LD_LIBRARY_PATH",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// Builds for `arch` from the workspace at `root`, below `target`; the path is that of the linked object.
pub fn build(toolchain: &Toolchain, arch: Arch, root: &Path, target: &Path) -> Result<PathBuf> {
    // The registry's folder has to exist before its name can be remapped.
    run::run(cargo(&toolchain.cargo, toolchain, root).args(["fetch", "--quiet"]))?;
    // Cargo does not see another linker; and what is only found again proves nothing to `--verify`.
    let mut clean = cargo(&toolchain.cargo, toolchain, root);
    clean.args(["clean", "--quiet", "--release", "--package", PACKAGE, "--target", TARGET, "--target-dir"]);
    run::run(clean.arg(target))?;
    let mut command = cargo(&toolchain.cargo, toolchain, root);
    command.args(["rustc", "--bin", PACKAGE]).args(SELECT).arg("--target-dir").arg(target);
    command
        .args(["--", "--cfg", &format!("bpf_target_arch=\"{arch}\"")])
        .args(["--check-cfg", "cfg(bpf_target_arch, values(any()))"])
        .env("AYA_BPF_TARGET_ARCH", arch.name())
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain, root)?);
    run::run(&mut command)?;
    Ok(target.join(TARGET).join("release").join(PACKAGE))
}

/// Clippy with warnings as errors over the programs for `arch`, by the toolchain's own `cargo_clippy`.
pub fn clippy(toolchain: &Toolchain, arch: Arch, cargo_clippy: &Path) -> Result<Command> {
    let cfg = format!("--cfg=bpf_target_arch=\"{arch}\"");
    let mut command = cargo(cargo_clippy, toolchain, &paths::root());
    command
        .arg("clippy")
        .args(SELECT)
        .arg("--target-dir")
        .arg(paths::target().join("bpf-clippy"))
        .args(["--", "--deny", "warnings", &cfg, "--check-cfg=cfg(bpf_target_arch, values(any()))"])
        .env("CARGO", &toolchain.cargo)
        .env("AYA_BPF_TARGET_ARCH", arch.name())
        .env("RUSTFLAGS", "");
    Ok(command)
}

/// The toolchain's cargo (or what stands in for it), free of the settings around it and ready for `-Z` flags.
fn cargo(program: &Path, toolchain: &Toolchain, root: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(root)
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        // Not among the flags: cargo hashes those into the names of symbols, and the linker's place is no input.
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
}

/// All flags in cargo's own encoding, which allows spaces in paths.
fn flags(toolchain: &Toolchain, root: &Path) -> Result<OsString> {
    let mut flags: Vec<OsString> = FLAGS.iter().map(OsString::from).collect();
    // The compiler takes the last prefix that fits, so the workspace comes last: it may lie below the others.
    let mut prefixes = vec![(toolchain.sysroot.join("lib/rustlib/src/rust"), "/rust")];
    prefixes.extend(registries()?.into_iter().map(|path| (path, "/registry")));
    prefixes.push((root.to_owned(), "/redial"));
    for (path, name) in prefixes {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(path);
        flag.push("=");
        flag.push(name);
        flags.push(flag);
    }
    Ok(flags.join(&OsString::from("\x1f")))
}

/// Where cargo unpacks crates: a folder for each registry, named after its address.
fn registries() -> Result<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let sources = home.join("registry/src");
    let entries = fs::read_dir(&sources).with_context(|| format!("cannot list {}", sources.display()))?;
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    folders.sort();
    Ok(folders)
}
