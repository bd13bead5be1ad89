//! Debian packages that a chore needs: finds what is missing, installs it or lists it.

use std::process::Command;

use anyhow::{Result, bail};

use crate::run;

/// A Debian package, the file or program that proves its presence, and what it is for.
pub struct Package {
    /// Debian's name.
    pub name: &'static str,
    /// A program in PATH, or an absolute path; it counts however it came to be there.
    pub proof: &'static str,
    /// What needs it.
    pub reason: &'static str,
}

/// Makes sure that all of `packages` are there; with `install` false, an error lists those that are not.
pub fn ensure<'a>(packages: impl IntoIterator<Item = &'a Package>, install: bool) -> Result<()> {
    let missing: Vec<&Package> = packages.into_iter().filter(|package| run::which(package.proof).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        run::say(format!("missing: {} ({}): {}", package.name, package.proof, package.reason));
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let by_hand = format!("apt-get install --no-install-recommends {}", names.join(" "));
    if !install {
        bail!("{} Debian packages are missing; install them as root: {by_hand}", names.len());
    }
    if run::which("apt-get").is_none() {
        bail!(
            "this is no Debian; install what the packages {} hold, so that the programs above are in PATH",
            names.join(", ")
        );
    }
    if !run::is_root()? {
        bail!("{} Debian packages are missing and only root can install them: {by_hand}", names.len());
    }
    apt(&["update", "-q"])?;
    apt(&[&["install", "-q", "-y", "--no-install-recommends"], names.as_slice()].concat())?;
    for package in missing {
        if run::which(package.proof).is_none() {
            bail!("package {} is installed, but {} is still not there", package.name, package.proof);
        }
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<()> {
    run::run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_install_the_error_lists_exactly_what_is_missing() {
        let here = Package { name: "dash", proof: "sh", reason: "a shell" };
        let gone = Package { name: "gone-pkg", proof: "no-such-program-here", reason: "nothing" };
        assert!(ensure([&here], false).is_ok());
        let error = ensure([&here, &gone], false).unwrap_err().to_string();
        assert!(error.ends_with("--no-install-recommends gone-pkg"), "{error}");
    }
}
