//! The BPF programs and maps of a process, and what the kernel has counted of them.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{FromRawFd, OwnedFd},
    process::Command,
};

use anyhow::{Context, Result, bail};
use nix::libc;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{packages::Package, run};

/// What reads names and sizes of programs and maps.
pub const BPFTOOL: Package =
    Package { name: "bpftool", proof: "bpftool", reason: "run times and memory of BPF programs" };

/// `BPF_ENABLE_STATS` of bpf(2): run times are counted for as long as its file is open.
const ENABLE_STATS: libc::c_long = 32;

/// Has the kernel count the run time of all BPF programs for as long as this lives, as `kernel.bpf_stats_enabled`
/// does, whose value stays as it is: also a killed process leaves nothing switched on.
pub struct Stats {
    _file: OwnedFd,
}

impl Stats {
    /// Switches on.
    pub fn enable() -> Result<Self> {
        // The attribute's only field here is the kind of statistics: 0 is run time.
        let kind: u32 = 0;
        // SAFETY: the kernel reads as many bytes as it is told there are.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, ENABLE_STATS, &raw const kind, size_of_val(&kind)) };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error())
                .context("the kernel does not count run times of BPF programs (needs Linux 5.8 and CAP_SYS_ADMIN)");
        }
        // SAFETY: a new descriptor that nobody else knows.
        Ok(Self { _file: unsafe { OwnedFd::from_raw_fd(fd) } })
    }
}

/// A loaded program.
#[derive(Clone, Debug, Deserialize)]
pub struct Program {
    /// Its number, unique as long as the host runs.
    pub id: u32,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Time it ran while that was counted, ns.
    #[serde(default)]
    pub run_time_ns: u64,
    /// How often it ran while that was counted.
    #[serde(default)]
    pub run_cnt: u64,
    #[serde(default)]
    bytes_memlock: u64,
    #[serde(default)]
    map_ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Map {
    id: u32,
    #[serde(default)]
    bytes_memlock: u64,
}

/// The ids that the descriptors of a process name.
#[derive(Debug, Default)]
struct Ids {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    linked: bool,
}

/// Whether process `pid` has attached a program by a link.
pub fn is_attached(pid: u32) -> bool {
    ids(pid).is_ok_and(|ids| ids.linked)
}

/// The programs of process `pid`; an error when there are none.
pub fn programs(pid: u32) -> Result<Vec<Program>> {
    let ids = ids(pid)?.programs;
    let mut programs: Vec<Program> = bpftool("prog")?;
    programs.retain(|program| ids.contains(&program.id));
    if programs.is_empty() {
        bail!("process {pid} holds no BPF program");
    }
    Ok(programs)
}

/// Kernel memory of the programs of process `pid` and of all their maps, bytes.
pub fn memory(pid: u32) -> Result<u64> {
    let programs = programs(pid)?;
    let mut ids = ids(pid)?.maps;
    ids.extend(programs.iter().flat_map(|program| &program.map_ids));
    let maps: Vec<Map> = bpftool("map")?;
    let maps = maps.iter().filter(|map| ids.contains(&map.id)).map(|map| map.bytes_memlock);
    Ok(maps.chain(programs.iter().map(|program| program.bytes_memlock)).sum())
}

fn bpftool<T: DeserializeOwned>(object: &str) -> Result<T> {
    let program = run::which(BPFTOOL.proof).context("bpftool is not installed")?;
    let json = run::output(Command::new(program).args(["-j", object, "show"]))?;
    serde_json::from_str(&json).with_context(|| format!("cannot read what `bpftool -j {object} show` wrote"))
}

fn ids(pid: u32) -> Result<Ids> {
    let dir = format!("/proc/{pid}/fdinfo");
    let mut ids = Ids::default();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))? {
        // A descriptor may have been closed since.
        let Ok(text) = entry.and_then(|entry| fs::read_to_string(entry.path())) else { continue };
        ids.read(&text);
    }
    Ok(ids)
}

impl Ids {
    fn read(&mut self, fdinfo: &str) {
        for line in fdinfo.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            match (name, value.trim().parse()) {
                ("prog_id", Ok(id)) => drop(self.programs.insert(id)),
                ("map_id", Ok(id)) => drop(self.maps.insert(id)),
                ("link_type", _) => self.linked = true,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_name_programs_maps_and_links() {
        let mut ids = Ids::default();
        ids.read("pos:\t0\nflags:\t02000002\nprog_type:\t26\nprog_id:\t585\nrun_time_ns:\t0\n");
        assert!(!ids.linked);
        ids.read("link_type:\tperf\nlink_id:\t7\nprog_id:\t604\n");
        ids.read("map_type:\t1\nmemlock:\t4096\nmap_id:\t390\n");
        assert_eq!(ids.programs, [585, 604].into());
        assert_eq!(ids.maps, [390].into());
        assert!(ids.linked);
    }

    #[test]
    fn a_program_that_never_ran_has_no_run_time_in_the_list() {
        let json = r#"[{"id":1,"type":"tracing","name":"a","map_ids":[3]},{"id":2,"run_time_ns":90,"run_cnt":3}]"#;
        let programs: Vec<Program> = serde_json::from_str(json).unwrap();
        assert_eq!((programs[0].run_cnt, programs[1].run_time_ns, programs[1].run_cnt), (0, 90, 3));
    }
}
