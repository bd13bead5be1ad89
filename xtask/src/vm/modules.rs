//! Kernel modules for the guest, in the order in which they have to be loaded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

/// What the live tests need of the kernel that Debian builds as modules, each with its use.
const WANTED: &[(&str, &str)] = &[
    ("tun", "the relay between two namespaces that delays, drops and forges packets"),
    ("veth", "links between namespaces"),
    ("tcp_diag", "SOCK_DESTROY, and dumps of TIME_WAIT"),
];

/// The module files in `dir` that the tests need, dependencies first; what is built in needs none.
pub fn needed(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(dir) {
        let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.into_path();
        if path.extension().is_some_and(|kind| kind == "ko") {
            files.insert(name(&path), path);
        }
    }
    let list = dir.join("modules.builtin");
    let builtin = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let builtin: Vec<String> = builtin.lines().map(|line| name(Path::new(line))).collect();
    let mut order = Vec::new();
    for (module, reason) in WANTED {
        add(module, &files, &builtin, &mut order).with_context(|| format!("module {module} is for: {reason}"))?;
    }
    Ok(order)
}

fn add(module: &str, files: &BTreeMap<String, PathBuf>, builtin: &[String], order: &mut Vec<PathBuf>) -> Result<()> {
    if builtin.iter().any(|name| name == module) {
        return Ok(());
    }
    let Some(path) = files.get(module) else { bail!("the kernel has no module {module} and it is not built in") };
    if order.contains(path) {
        return Ok(());
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    for dependency in depends(&bytes) {
        add(&dependency, files, builtin, order)?;
    }
    order.push(path.clone());
    Ok(())
}

/// The modules that the module of these bytes names in its section `.modinfo`: strings that end with NUL.
fn depends(bytes: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = bytes.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = bytes[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(depends(b"ELF\0license=GPL\0depends=inet-diag,x\0name=tcp_diag\0"), ["inet_diag", "x"]);
        assert_eq!(depends(b"\0depends=\0name=tun\0"), [""; 0]);
    }

    #[test]
    fn dependencies_come_first_and_what_is_missing_is_an_error() {
        let dir = std::env::temp_dir().join(format!("redial-modules-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("modules.builtin"), "kernel/drivers/net/tun.ko\n").unwrap();
        fs::write(dir.join("veth.ko"), "\0depends=\0").unwrap();
        fs::write(dir.join("inet_diag.ko"), "\0depends=\0").unwrap();
        assert!(format!("{:#}", needed(&dir).unwrap_err()).contains("tcp_diag"));
        fs::write(dir.join("tcp_diag.ko"), "\0depends=inet_diag\0").unwrap();
        let names: Vec<String> = needed(&dir).unwrap().iter().map(|path| name(path)).collect();
        assert_eq!(names, ["veth", "inet_diag", "tcp_diag"]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
