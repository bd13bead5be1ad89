//! The repository's top level holds what everybody needs to see first, and nothing else.

use std::collections::BTreeSet;

use super::tree::Tree;

const ALLOWED: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "agent",
    "agent-common",
    "agent-ebpf",
    "deploy",
    "tests",
    "xtask",
];

/// Complains of files and folders on top that are neither allowed, nor dotfiles, nor licences.
pub fn check(tree: &Tree) -> Vec<String> {
    let top: BTreeSet<&str> = tree.files.iter().filter_map(|file| file.path.split('/').next()).collect();
    top.into_iter()
        .filter(|name| !ALLOWED.contains(name) && !name.starts_with('.') && !name.starts_with("LICENSE-"))
        .map(|name| format!("{name}: it has no place at the top of the repository; move it to where it belongs"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tree::one, *};

    #[test]
    fn a_stranger_on_top_is_found() {
        assert_eq!(check(&one("scripts/go.sh", "")).len(), 1);
        for fine in ["agent/src/lib.rs", ".ci/run", "LICENSE-MIT"] {
            assert_eq!(check(&one(fine, "")).len(), 0, "{fine}");
        }
    }
}
