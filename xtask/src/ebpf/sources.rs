//! One hash over everything that the kernel objects are built from.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::build;

/// The folders whose Rust and TOML files are sources.
const FOLDERS: &[&str] = &["agent-ebpf", "agent-common"];

/// SHA-256, in hexadecimal, over the sources in the workspace at `root`: the files of the two crates, the locked
/// versions of aya-ebpf and its parts, the workspace's build settings, and the flags that xtask itself passes.
pub fn hash(root: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut add = |name: &str, content: &[u8]| {
        for part in [name.as_bytes(), content] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    };
    for folder in FOLDERS {
        for file in WalkDir::new(root.join(folder)).sort_by_file_name() {
            let file = file.with_context(|| format!("cannot list {folder}"))?;
            let path = file.path();
            if file.file_type().is_file() && path.extension().is_some_and(|kind| kind == "rs" || kind == "toml") {
                let name = path.strip_prefix(root)?.to_string_lossy();
                add(&name, &fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
            }
        }
    }
    let manifest = table(&root.join("Cargo.toml"))?;
    add("profile", pick(&manifest, &["profile", "release"]).as_bytes());
    add("package", pick(&manifest, &["workspace", "package"]).as_bytes());
    add("locked", locked(&table(&root.join("Cargo.lock"))?).as_bytes());
    add("flags", build::FLAGS.join(" ").as_bytes());
    Ok(hex(&hasher.finalize()))
}

/// SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn table(path: &Path) -> Result<toml::Table> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().with_context(|| format!("{} is no TOML", path.display()))
}

fn pick(table: &toml::Table, keys: &[&str]) -> String {
    let mut value = table.get(keys[0]);
    for key in &keys[1..] {
        value = value.and_then(|value| value.get(key));
    }
    value.map(ToString::to_string).unwrap_or_default()
}

fn locked(lock: &toml::Table) -> String {
    let packages = lock.get("package").and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let field = |package: &toml::Value, key| {
        package.get(key).and_then(toml::Value::as_str).map(str::to_owned).unwrap_or_default()
    };
    packages
        .iter()
        .filter(|package| field(package, "name").starts_with("aya-ebpf"))
        .map(|package| {
            format!("{} {} {}\n", field(package, "name"), field(package, "version"), field(package, "checksum"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(name: &str) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("redial-sources-{name}-{}", std::process::id()));
        for folder in FOLDERS {
            fs::create_dir_all(root.join(folder).join("src")).unwrap();
            fs::write(root.join(folder).join("src/lib.rs"), folder).unwrap();
        }
        fs::write(root.join("Cargo.toml"), "[profile.release]\ndebug = 1\n").unwrap();
        fs::write(root.join("Cargo.lock"), "[[package]]\nname = \"aya-ebpf\"\nversion = \"0.2.1\"\n").unwrap();
        root
    }

    #[test]
    fn every_input_changes_the_hash_and_nothing_else_does() {
        let root = workspace("inputs");
        let first = hash(&root).unwrap();
        assert_eq!(first, hash(&root).unwrap());
        fs::write(root.join("agent-ebpf/src/notes.md"), "no source").unwrap();
        assert_eq!(first, hash(&root).unwrap());
        for (file, text) in [
            ("agent-ebpf/src/lib.rs", "changed"),
            ("agent-common/src/new.rs", "added"),
            ("Cargo.toml", "[profile.release]\ndebug = 2\n"),
            ("Cargo.lock", "[[package]]\nname = \"aya-ebpf\"\nversion = \"0.2.2\"\n"),
        ] {
            let before = hash(&root).unwrap();
            fs::write(root.join(file), text).unwrap();
            assert_ne!(before, hash(&root).unwrap(), "{file}");
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
