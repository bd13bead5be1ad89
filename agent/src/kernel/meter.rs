//! What redial costs: the process's own processor time, and that of its programs wherever they run.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use rustix::time::{ClockId, clock_gettime};

use super::{attach::Attached, budget::Usage};

/// How long the kernel measures the programs at a time: while it does, each run costs two readings of the clock more.
const SLICE: Duration = Duration::from_millis(50);

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Run times of programs, ns, by program.
type RunTimes = BTreeMap<&'static str, u64>;

/// A measurement that is under way.
struct Slice {
    began: Instant,
    /// The kernel measures while this is open.
    _stats: OwnedFd,
    run_times: RunTimes,
}

/// Measures in slices.
pub struct Meter {
    slice: Option<Slice>,
    last: Instant,
    own: Duration,
}

impl Meter {
    /// Begins now.
    pub fn start() -> Self {
        Self { slice: None, last: Instant::now(), own: own_time() }
    }

    /// To be called often: begins and ends slices, and answers with the use since the last answer, and how long that is.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn tick(&mut self, attached: &Attached) -> Result<Option<(Usage, Duration)>> {
        let now = Instant::now();
        if let Some(slice) = &self.slice {
            let measured = now.duration_since(slice.began);
            if measured < SLICE {
                return Ok(None);
            }
            let run_times = attached.run_times()?;
            let share = |program: &&'static str, ns: u64| {
                let before = slice.run_times.get(program).copied().unwrap_or(0);
                ns.saturating_sub(before) as f64 / measured.as_nanos() as f64
            };
            let mut probes: BTreeMap<&'static str, f64> = BTreeMap::new();
            for (program, ns) in &run_times {
                *probes.entry(attached.probe_of(program)).or_default() += share(program, *ns);
            }
            let elapsed = now.duration_since(self.last);
            let own = own_time();
            let own_share = own.saturating_sub(self.own).as_secs_f64() / elapsed.as_secs_f64();
            (self.slice, self.last, self.own) = (None, now, own);
            return Ok(Some((Usage { own: own_share, probes: probes.into_iter().collect() }, elapsed)));
        }
        if now.duration_since(self.last) >= EVERY - SLICE {
            let stats = enable_stats(Stats::RunTime).context("the kernel does not measure programs")?;
            self.slice = Some(Slice { began: now, _stats: stats, run_times: attached.run_times()? });
        }
        Ok(None)
    }
}

/// The processor time of this process, in user space and in the kernel.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
