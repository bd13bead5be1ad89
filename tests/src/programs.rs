//! The generator under names of its own: to the agent each is another executable.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::peer::generator;

/// A folder with the generator under several names; gone when dropped.
pub struct Programs(TempDir);

impl Programs {
    /// An empty folder.
    pub fn new() -> Result<Self> {
        // Beside the generator, so that links can be made: a file that is being written cannot be run.
        let beside = generator()?.parent().context("the generator is in no folder")?;
        let dir = tempfile::Builder::new().prefix("programs-").tempdir_in(beside);
        Ok(Self(dir.with_context(|| format!("make a folder in {}", beside.display()))?))
    }

    /// The generator as `name`, as /proc shows its path.
    pub fn named(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.path().join(name);
        fs::hard_link(generator()?, &path).with_context(|| format!("link the generator as {}", path.display()))?;
        fs::canonicalize(&path).with_context(|| format!("find {}", path.display()))
    }

    /// All of `names`.
    pub fn all<const N: usize>(&self, names: [&str; N]) -> Result<[PathBuf; N]> {
        let paths = names.into_iter().map(|name| self.named(name)).collect::<Result<Vec<_>>>()?;
        paths.try_into().ok().context("as many paths as names")
    }
}

/// The path of an executable as the agent writes it.
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
