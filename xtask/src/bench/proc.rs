//! What /proc tells of a process and of the host.

use std::fs;

use anyhow::{Context, Result, bail};
use nix::unistd::{SysconfVar, sysconf};

/// CPU time of a process, s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpu {
    /// In user space.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

impl std::ops::Sub for Cpu {
    type Output = Self;

    fn sub(self, since: Self) -> Self {
        Self { user: self.user - since.user, system: self.system - since.system }
    }
}

/// What process `pid` has used so far, rounded down to the kernel's clock ticks (10 ms).
pub fn cpu(pid: u32) -> Result<Cpu> {
    let stat = read(pid, "stat")?;
    // The name, in brackets, may hold spaces; after it come the fields from the third on.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let tick = ticks_per_second()?;
    let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<f64>().ok());
    match (field(14), field(15)) {
        (Some(user), Some(system)) => Ok(Cpu { user: user / tick, system: system / tick }),
        _ => bail!("cannot read CPU times in /proc/{pid}/stat"),
    }
}

/// How busy all CPUs of the host have been since it started, s.
pub fn host_busy() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest times are in user and nice already.
    let [user, nice, system, _, _, irq, softirq, steal, ..] = fields[..] else {
        bail!("cannot read the first line of /proc/stat: {line}");
    };
    Ok((user + nice + system + irq + softirq + steal) / ticks_per_second()?)
}

/// Resident memory of a process, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Now, without the mapped pages of BPF maps.
    pub now: u64,
    /// Pages of BPF maps that are mapped into the process; they are memory of the map, and counted with it. A page
    /// that is mapped twice, as a ring buffer's are, counts twice, as it does in the kernel's resident size.
    pub map_pages: u64,
}

/// The resident memory of process `pid`.
pub fn resident(pid: u32) -> Result<Resident> {
    let status = read(pid, "status")?;
    let all = status.lines().find_map(|line| kilobytes(line, "VmRSS:"));
    let all = all.with_context(|| format!("/proc/{pid}/status has no VmRSS"))?;
    let map_pages = map_pages(&read(pid, "smaps")?);
    Ok(Resident { now: all.saturating_sub(map_pages), map_pages })
}

/// The resident bytes of the mappings of BPF maps in the text of a `smaps` file.
fn map_pages(smaps: &str) -> u64 {
    let mut inside = false;
    let mut sum = 0;
    for line in smaps.lines() {
        // A mapping begins with its addresses, in small hexadecimal digits; its details begin with a capital.
        if line.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_lowercase()) {
            inside = line.ends_with("anon_inode:bpf-map");
        } else if inside {
            sum += kilobytes(line, "Rss:").unwrap_or(0);
        }
    }
    sum
}

fn kilobytes(line: &str, name: &str) -> Option<u64> {
    let number = line.strip_prefix(name)?.trim().strip_suffix("kB")?;
    Some(number.trim().parse::<u64>().ok()? * 1024)
}

fn read(pid: u32, name: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

fn ticks_per_second() -> Result<f64> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().context("the system does not tell its clock tick")?;
    Ok(ticks as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        assert!(cpu(pid).is_ok());
        assert!(resident(pid).unwrap().now > 100_000);
        assert!(host_busy().unwrap() > 0.0);
    }

    #[test]
    fn only_mappings_of_maps_count() {
        let smaps = "7f6-7f7 r--s 1000 00:10 1038   anon_inode:bpf-map\nSize: 20 kB\nRss:      12 kB\n\
                     561-562 rw-p 0 00:00 0   [heap]\nRss: 7 kB\n\
                     f78-f79 rw-s 0 00:10 1038   anon_inode:bpf-map\nRss: 4 kB\n";
        assert_eq!(map_pages(smaps), 16 * 1024);
    }
}
