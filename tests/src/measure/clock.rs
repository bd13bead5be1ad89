//! What the system says of this process: how long something took, and how much memory is resident.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Times of several runs, ns, in their order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    /// From beginning to end: what waits for the result waits so long.
    pub wall_ns: Vec<u64>,
    /// CPU time of all threads: other work on the machine does not lengthen it.
    pub cpu_ns: Vec<u64>,
}

impl Times {
    /// Runs `work` and notes how long it took.
    pub fn of<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (wall, cpu) = (Instant::now(), now_cpu()?);
        let result = work()?;
        self.cpu_ns.push(nanoseconds(now_cpu()? - cpu));
        self.wall_ns.push(nanoseconds(wall.elapsed()));
        Ok(result)
    }
}

/// CPU time of this process so far.
fn now_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).context("cannot read the CPU clock")?.into())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Resident memory of this process, bytes. Exact, where the counter in `status` may lag behind.
pub fn resident() -> Result<u64> {
    bytes("/proc/self/smaps_rollup", "Rss:")
}

/// What `work` gives, and how far it raised the resident memory at its peak, bytes.
pub fn peak_of<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    let path = "/proc/self/clear_refs";
    // 5 makes the peak what is resident now.
    fs::write(path, "5").with_context(|| format!("cannot write {path}"))?;
    let before = bytes(STATUS, PEAK)?;
    let result = work()?;
    Ok((result, bytes(STATUS, PEAK)?.saturating_sub(before)))
}

const STATUS: &str = "/proc/self/status";
const PEAK: &str = "VmHWM:";

/// A size in a file of /proc.
fn bytes(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let kilobytes = |line: &str| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok();
    Ok(text.lines().find_map(kilobytes).with_context(|| format!("{path} has no {name}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_takes_time_and_no_cpu() {
        let mut times = Times::default();
        let wait = || {
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        };
        times.of(wait).unwrap();
        assert!(times.wall_ns[0] >= 20_000_000 && times.cpu_ns[0] < times.wall_ns[0], "{times:?}");
    }

    #[test]
    fn what_is_touched_is_resident_and_leaves_a_peak() {
        let (grown, peak) = peak_of(|| {
            let before = resident()?;
            let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
            Ok(resident()?.saturating_sub(before) + touched.len() as u64 - (64 << 20))
        })
        .unwrap();
        assert!(grown >= 60 << 20 && peak >= 60 << 20, "{grown} {peak}");
    }
}
