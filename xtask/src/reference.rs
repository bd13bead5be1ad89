//! `xtask reference`: the manual and the shells' completions, as the built `redial` describes itself.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{paths, run};

/// What `redial --generate` takes, and the file name by which its readers look for it.
const FILES: &[(&str, &str)] =
    &[("man", "redial.1"), ("bash", "redial.bash"), ("zsh", "_redial"), ("fish", "redial.fish")];

/// Runs `xtask reference`.
pub fn main() -> Result<()> {
    run::run(run::cargo(&paths::root()).args(["build", "--release", "--package", "redial"]))?;
    let redial = paths::target().join("release/redial");
    let dir = paths::target().join("reference");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (kind, name) in FILES {
        let text = run::output(Command::new(&redial).args(["--generate", kind]))?;
        ensure!(!text.is_empty(), "`redial --generate {kind}` wrote nothing");
        let path = dir.join(name);
        fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        run::say(format!("wrote {}", path.display()));
    }
    Ok(())
}
