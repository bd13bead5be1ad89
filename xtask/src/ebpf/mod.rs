//! `xtask ebpf`: builds the kernel programs, and keeps the committed objects honest.

mod arch;
mod build;
mod provenance;
mod sources;
mod strip;
pub mod toolchain;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;

pub use self::{
    arch::Arch,
    build::{PACKAGE, clippy},
};
use self::{
    provenance::{Entry, Provenance},
    toolchain::Toolchain,
};
use crate::{paths, run};

/// The command that mends a stale object; every complaint names it.
const MEND: &str = "cargo xtask ebpf";

/// Arguments of `xtask ebpf`.
#[derive(Args)]
pub struct Ebpf {
    /// Only compare hashes: are the committed objects those of these sources? Needs no toolchain
    #[arg(long, conflicts_with = "verify")]
    check: bool,
    /// Rebuild into the target directory and compare with the committed objects, which stay as they are
    #[arg(long)]
    verify: bool,
    /// Architectures to build for
    #[arg(long, value_enum, default_value = "all")]
    arch: arch::Choice,
    /// List what is missing instead of installing it
    #[arg(long)]
    no_install: bool,
}

/// Runs `xtask ebpf`.
pub fn main(args: &Ebpf) -> Result<()> {
    if args.check {
        check()?;
        run::say("the committed kernel objects are those of these sources");
        return Ok(());
    }
    let committed = Provenance::read(&paths::objects())?;
    let toolchain = toolchain::ensure(!args.no_install, committed.rustc())?;
    run::say(format!("building with {toolchain}"));
    let fresh = args.arch.each().map(|arch| Fresh::build(&toolchain, arch)).collect::<Result<Vec<_>>>()?;
    if args.verify { verify(&committed, &fresh) } else { commit(committed, &fresh) }
}

/// Fails unless every committed object is the one that its provenance names, built from the sources as they are.
pub fn check() -> Result<()> {
    let dir = paths::objects();
    let provenance = Provenance::read(&dir)?;
    let sources = sources::hash(&paths::root())?;
    for arch in Arch::ALL {
        provenance.check(&dir, *arch, &sources)?;
    }
    Ok(())
}

/// The variable by which the agent is told to load another object than the one that it holds.
pub const OBJECT_VARIABLE: &str = "REDIAL_BPF_OBJECT";

/// Another object than the committed one that live tests have to load: the one that the variable names, else the one
/// that `xtask ebpf --verify` built with another toolchain, if it is still that of the sources as they are.
pub fn object_to_test() -> Result<Option<PathBuf>> {
    let object = match std::env::var_os(OBJECT_VARIABLE) {
        Some(by_hand) => Some(PathBuf::from(by_hand)),
        None => fresh_object()?,
    };
    match &object {
        Some(object) => run::say(format!("live tests load {}, not the committed object", object.display())),
        None => run::say("live tests load the committed object"),
    }
    Ok(object)
}

fn fresh_object() -> Result<Option<PathBuf>> {
    let dir = fresh_dir();
    let arch = Arch::host()?;
    let fresh = Provenance::read(&dir)?.check(&dir, arch, &sources::hash(&paths::root())?);
    Ok(fresh.is_ok().then(|| dir.join(arch.object())))
}

/// An object just built, with what is to be written about it.
struct Fresh {
    arch: Arch,
    bytes: Vec<u8>,
    entry: Entry,
}

impl Fresh {
    fn build(toolchain: &Toolchain, arch: Arch) -> Result<Self> {
        let root = paths::root();
        let before = sources::hash(&root)?;
        let object = build::build(toolchain, arch, &root, &paths::target().join("bpf"))?;
        if sources::hash(&root)? != before {
            bail!("the sources changed while {arch} was built; run `{MEND}` again");
        }
        let bytes = strip::strip(&object)?;
        let entry = Entry::new(before, &bytes, toolchain);
        Ok(Self { arch, bytes, entry })
    }

    fn write(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join(self.arch.object());
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&path, &self.bytes))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

fn commit(mut provenance: Provenance, fresh: &[Fresh]) -> Result<()> {
    let dir = paths::objects();
    for fresh in fresh {
        let path = fresh.write(&dir)?;
        provenance.set(fresh.arch, fresh.entry.clone());
        run::say(format!("{} {} bytes, sha256 {}", path.display(), fresh.bytes.len(), fresh.entry.sha256));
    }
    provenance.write(&dir)
}

fn verify(committed: &Provenance, fresh: &[Fresh]) -> Result<()> {
    let dir = fresh_dir();
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let mut left = Provenance::default();
    for fresh in fresh {
        committed.check(&paths::objects(), fresh.arch, &fresh.entry.sources)?;
        let entry = committed.get(fresh.arch)?;
        if !entry.same_toolchain(&fresh.entry) {
            let path = fresh.write(&dir)?;
            left.set(fresh.arch, fresh.entry.clone());
            run::say(format!(
                "{}: CHECKED THE FRESH OBJECT: this toolchain ({}) is not the committed object's ({}), so bytes are \
                 not compared; `cargo xtask test` loads {} instead",
                fresh.arch,
                fresh.entry.toolchain(),
                entry.toolchain(),
                path.display()
            ));
        } else if entry.sha256 != fresh.entry.sha256 {
            let path = fresh.write(&dir)?;
            bail!(
                "{}: the same toolchain built other bytes than the committed ones (sha256 {} is not {}), see {}; run \
                 `{MEND}` and commit what it writes",
                fresh.arch,
                fresh.entry.sha256,
                entry.sha256,
                path.display()
            );
        } else {
            run::say(format!("{}: CHECKED THE COMMITTED OBJECT: rebuilt, every byte is equal", fresh.arch));
        }
    }
    if left.is_empty() { Ok(()) } else { left.write(&dir) }
}

fn fresh_dir() -> PathBuf {
    paths::target().join("bpf/fresh")
}
