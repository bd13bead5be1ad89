//! The files that the checks read: those that git tracks or would track.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::run;

/// The checkout's files.
pub struct Tree {
    /// All of them, by path.
    pub files: Vec<File>,
}

/// A file of the checkout.
pub struct File {
    /// Relative to the workspace's root.
    pub path: String,
    /// Its text; empty for a file that is no text.
    pub text: String,
}

impl Tree {
    /// Reads the checkout at `root`.
    pub fn read(root: &Path) -> Result<Self> {
        let mut git = Command::new("git");
        // Git refuses another user's checkout otherwise; listing names runs nothing of it.
        git.current_dir(root).args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others"]);
        let list = run::output(git.arg("--exclude-standard")).context("tidy checks the files that git knows of")?;
        let mut files = Vec::new();
        for path in list.split('\0').filter(|path| !path.is_empty()) {
            let full = root.join(path);
            // Deleted and not yet committed, or a link.
            if !full.symlink_metadata().is_ok_and(|data| data.is_file()) {
                continue;
            }
            let bytes = fs::read(&full).with_context(|| format!("cannot read {path}"))?;
            files.push(File { path: path.to_owned(), text: String::from_utf8(bytes).unwrap_or_default() });
        }
        if files.is_empty() {
            bail!("git knows of no file in {}", root.display());
        }
        Ok(Self { files })
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }
}

/// A tree of one file, for the checks' tests.
#[cfg(test)]
pub fn one(path: &str, text: &str) -> Tree {
    Tree { files: vec![File { path: path.to_owned(), text: text.to_owned() }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_this_file() {
        let tree = Tree::read(&crate::paths::root()).unwrap();
        let own = tree.rust().find(|file| file.path == "xtask/src/lint/tidy/tree.rs").unwrap();
        assert!(own.text.starts_with("//! The files"));
    }
}
