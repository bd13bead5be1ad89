//! What /proc tells about one process. Command lines and environments are never read.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::time::{ClockId, clock_gettime};

/// A process as /proc shows it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcInfo {
    /// When it started, ns of CLOCK_MONOTONIC, to the kernel's tick.
    pub start_ns: u64,
    /// Its name.
    pub comm: String,
    /// Its executable; `None` for kernel threads and where the link may not be read. In another mount namespace, as in
    /// a container, it is the path there: one path can be different files in different containers.
    pub exe: Option<String>,
    /// Its control groups, a line a hierarchy; `None` where they may not be read.
    pub cgroup: Option<String>,
}

/// A mounted /proc.
#[derive(Debug)]
pub struct Procfs {
    root: PathBuf,
    /// ns of a tick in `stat`.
    tick_ns: u64,
    /// How far CLOCK_BOOTTIME, which `stat` uses, is ahead of CLOCK_MONOTONIC, ns.
    boot_ahead_ns: u64,
}

impl Procfs {
    /// The /proc mounted at `root`.
    pub fn new(root: &Path) -> Self {
        let ns = |clock| {
            let time = clock_gettime(clock);
            u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
        };
        let monotonic = ns(ClockId::Monotonic);
        let boot = ns(ClockId::Boottime);
        Self {
            root: root.to_owned(),
            tick_ns: 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1),
            boot_ahead_ns: boot.saturating_sub(monotonic),
        }
    }

    /// Every process there is now.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        Ok(fs::read_dir(&self.root)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    /// The process `pid`; `None` when it is gone.
    pub fn read(&self, pid: u32) -> Option<ProcInfo> {
        let dir = self.root.join(pid.to_string());
        let stat = fs::read(dir.join("stat")).ok()?;
        let (comm, ticks) = parse_stat(&String::from_utf8_lossy(&stat))?;
        let exe = fs::read_link(dir.join("exe")).ok().map(|path| {
            let path = path.to_string_lossy();
            // The link of a program that was replaced by an upgrade says so; it is the same program to us.
            path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned()
        });
        Some(ProcInfo {
            start_ns: (ticks * self.tick_ns).saturating_sub(self.boot_ahead_ns),
            comm,
            exe: exe.filter(|path| !path.is_empty()),
            cgroup: self.cgroup(pid),
        })
    }

    /// The control groups of `pid`, a line a hierarchy; `None` when it is gone.
    pub fn cgroup(&self, pid: u32) -> Option<String> {
        let text = fs::read(self.root.join(pid.to_string()).join("cgroup")).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Name and start time, in ticks since boot, from the text of `stat`. The name may hold anything but a newline.
fn parse_stat(text: &str) -> Option<(String, u64)> {
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let comm = text.get(open + 1..close)?.to_owned();
    // What follows the name begins with field 3; the start time is field 22 (proc_pid_stat(5)).
    let start = text.get(close + 1..)?.split_whitespace().nth(22 - 3)?.parse().ok()?;
    Some((comm, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_read_whole() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_stat(stat), Some(("a) b (c".to_owned(), 4242)));
        assert_eq!(parse_stat("7 (cut"), None);
    }

    #[test]
    fn this_process_is_found() {
        let procfs = Procfs::new(Path::new("/proc"));
        let own = procfs.read(std::process::id()).unwrap();
        assert_eq!(own.exe.as_deref(), std::env::current_exe().unwrap().to_str());
        assert!(own.start_ns > 0);
        assert_eq!(own.cgroup, fs::read_to_string("/proc/self/cgroup").ok());
        assert!(procfs.pids().unwrap().contains(&std::process::id()));
        assert_eq!(procfs.read(u32::MAX), None);
    }
}
