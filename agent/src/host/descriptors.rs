//! How many descriptors a process has open, and how many it may have.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Open descriptors of a process against its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// Open now: all of them, not only sockets.
    pub open: u64,
    /// The soft RLIMIT_NOFILE; `None` for "unlimited".
    pub limit: Option<u64>,
}

impl Descriptors {
    /// Those of the process `pid`, by the /proc mounted at `proc`; `None` when it is gone or may not be looked at.
    /// Whether it is still the same process is for the caller to know: numbers recycle.
    pub fn read(proc: &Path, pid: u32) -> Option<Self> {
        let process = proc.join(pid.to_string());
        let limits = fs::read_to_string(process.join("limits")).ok()?;
        Some(Self { open: count(process.join("fd"))?, limit: parse_limit(&limits)? })
    }
}

fn count(folder: PathBuf) -> Option<u64> {
    match fs::metadata(&folder).ok()?.len() {
        // Since Linux 6.2 the folder's size is the count; before it is always zero.
        0 => Some(fs::read_dir(folder).ok()?.count() as u64),
        count => Some(count),
    }
}

/// The soft limit from the text of /proc/PID/limits; the outer `None` when it is not there.
fn parse_limit(text: &str) -> Option<Option<u64>> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max processes             31500                31500                processes \n\
        Max open files            1024                 524288               files     \n";

    #[test]
    fn the_soft_limit_is_read() {
        assert_eq!(parse_limit(LIMITS), Some(Some(1024)));
        assert_eq!(
            parse_limit("Max open files            unlimited            unlimited            files"),
            Some(None)
        );
        assert_eq!(parse_limit("Max processes             31500"), None);
    }

    #[test]
    fn without_a_size_the_folder_is_counted() {
        let root = std::env::temp_dir().join(format!("redial-descriptors-{}", std::process::id()));
        let process = root.join("7");
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("limits"), LIMITS).unwrap();
        // A folder of /proc, of size zero, with as many entries as there are descriptors.
        std::os::unix::fs::symlink("/proc/self/fdinfo", process.join("fd")).unwrap();
        let read = Descriptors::read(&root, 7);
        let gone = Descriptors::read(&root, 8);
        fs::remove_dir_all(&root).unwrap();
        let read = read.unwrap();
        assert!(read.open > 2 && read.limit == Some(1024), "{read:?}");
        assert_eq!(gone, None);
    }
}
