//! `provenance.toml`: for each committed object its hash, the hash of its sources, and the toolchain that built it.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{MEND, arch::Arch, sources, toolchain::Toolchain};

const FILE: &str = "provenance.toml";
const HEADER: &str = "# Written by `cargo xtask ebpf`, compared by `cargo xtask ebpf --check` and `--verify`.\n\n";

/// Where each object comes from, by architecture.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Provenance(BTreeMap<String, Entry>);

/// Where one object comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// SHA-256 of the object.
    pub sha256: String,
    /// SHA-256 over the sources that it was built from.
    pub sources: String,
    /// The compiler's version.
    pub rustc: String,
    /// The version of the compiler's LLVM.
    pub rustc_llvm: String,
    /// The linker's version.
    pub bpf_linker: String,
    /// The version of the linker's LLVM.
    pub bpf_linker_llvm: String,
}

impl Entry {
    /// What is to be written about `object`, built from sources of hash `sources` by `toolchain`.
    pub fn new(sources: String, object: &[u8], toolchain: &Toolchain) -> Self {
        Self {
            sha256: sources::sha256(object),
            sources,
            rustc: toolchain.rustc_version.clone(),
            rustc_llvm: toolchain.rustc_llvm.clone(),
            bpf_linker: toolchain.linker_version.clone(),
            bpf_linker_llvm: toolchain.linker_llvm.clone(),
        }
    }

    /// The toolchain in one line.
    pub fn toolchain(&self) -> String {
        let Self { rustc, rustc_llvm, bpf_linker, bpf_linker_llvm, .. } = self;
        format!("rustc {rustc} with LLVM {rustc_llvm}, bpf-linker {bpf_linker} with LLVM {bpf_linker_llvm}")
    }

    /// Whether the two were built by the same toolchain, so that their bytes have to be equal.
    pub fn same_toolchain(&self, other: &Self) -> bool {
        self.toolchain() == other.toolchain()
    }
}

impl Provenance {
    /// Reads the file in `dir`; where there is none, nothing is known of any object.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                toml::from_str(&text).with_context(|| format!("{} is not what `{MEND}` writes; run it", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the file in `dir`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        fs::write(&path, format!("{HEADER}{}", toml::to_string(self)?))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether nothing is known of any object.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes where the object of `arch` comes from.
    pub fn set(&mut self, arch: Arch, entry: Entry) {
        self.0.insert(arch.to_string(), entry);
    }

    /// Where the object of `arch` comes from.
    pub fn get(&self, arch: Arch) -> Result<&Entry> {
        self.0.get(arch.name()).with_context(|| format!("no kernel object of {arch} is committed; run `{MEND}`"))
    }

    /// The compiler version that built the objects, if there are any: the one to prefer when several are there.
    pub fn rustc(&self) -> Option<&str> {
        self.0.values().next().map(|entry| entry.rustc.as_str())
    }

    /// Fails unless the object of `arch` in `dir` is the one noted here and was built from `sources`.
    pub fn check(&self, dir: &Path, arch: Arch, sources: &str) -> Result<()> {
        let entry = self.get(arch)?;
        let path = dir.join(arch.object());
        let object = fs::read(&path)
            .with_context(|| format!("cannot read the committed object {}; run `{MEND}`", path.display()))?;
        if entry.sources != sources {
            bail!(
                "{} is stale: agent-ebpf, agent-common or what builds them has changed; run `{MEND}`",
                path.display()
            );
        }
        if entry.sha256 != sources::sha256(&object) {
            bail!("{} is not the object that {FILE} names; run `{MEND}`", path.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCH: Arch = Arch::X86_64;

    fn entry(object: &[u8]) -> Entry {
        Entry {
            sha256: sources::sha256(object),
            sources: "s1".into(),
            rustc: "1.96.0".into(),
            rustc_llvm: "22.1".into(),
            bpf_linker: "0.13.0".into(),
            bpf_linker_llvm: "22.1".into(),
        }
    }

    #[test]
    fn check_fails_for_other_sources_other_bytes_and_a_missing_object() {
        let dir = std::env::temp_dir().join(format!("redial-provenance-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(ARCH.object()), b"object").unwrap();
        let mut provenance = Provenance::default();
        provenance.set(ARCH, entry(b"object"));
        provenance.write(&dir).unwrap();
        let read = Provenance::read(&dir).unwrap();
        assert!(read.check(&dir, ARCH, "s1").is_ok());
        let stale = read.check(&dir, ARCH, "s2").unwrap_err().to_string();
        assert!(stale.contains("stale") && stale.contains(MEND), "{stale}");
        fs::write(dir.join(ARCH.object()), b"other").unwrap();
        assert!(read.check(&dir, ARCH, "s1").unwrap_err().to_string().contains(FILE));
        assert!(read.check(&dir, Arch::Aarch64, "s1").unwrap_err().to_string().contains("aarch64"));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn toolchains_are_compared_by_every_version() {
        let one = entry(b"");
        assert!(one.same_toolchain(&entry(b"other bytes")));
        assert!(!one.same_toolchain(&Entry { bpf_linker_llvm: "22.2".into(), ..one.clone() }));
    }
}
