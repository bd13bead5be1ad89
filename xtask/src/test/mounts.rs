//! File systems that the live tests read: mounts those that are missing.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use crate::run;

const WANTED: &[(&str, &str)] = &[("tracefs", "/sys/kernel/tracing"), ("bpf", "/sys/fs/bpf")];

/// Mounts what is missing, and says so. Needs root.
pub fn ensure() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    for (kind, path) in missing(&mounts) {
        run::say(format!("mounting {kind} on {path}"));
        run::run(Command::new("mount").args(["-t", kind, kind, path]))?;
    }
    Ok(())
}

fn missing(mounts: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mounted = |kind: &str, path: &str| {
        mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(1);
            fields.next() == Some(path) && fields.next() == Some(kind)
        })
    };
    WANTED.iter().copied().filter(move |(kind, path)| !mounted(kind, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_mounted_is_missing() {
        let mounts = "none /sys/fs/bpf bpf rw 0 0\ntracefs /elsewhere tracefs rw 0 0\n";
        assert_eq!(missing(mounts).collect::<Vec<_>>(), [WANTED[0]]);
    }
}
