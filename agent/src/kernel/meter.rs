//! What redial costs: the process's own processor time, and that of its programs wherever they run.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use rustix::time::{ClockId, clock_gettime};

use super::{
    attach::{AttachError, Attached},
    budget::Usage,
};

/// How long the kernel measures the programs at a time: while it does, each run costs two readings of the clock more.
const SLICE: Duration = Duration::from_millis(50);

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// How often while there is nothing to fear: switching the measurement wakes every processor.
const SELDOM: Duration = Duration::from_secs(5);

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
    every: Duration,
}

/// Whether the kernel lets this process measure its programs.
///
/// # Errors
/// When it does not, or cannot.
pub fn can_measure() -> Result<(), AttachError> {
    match enable_stats(Stats::RunTime) {
        Ok(_) => Ok(()),
        Err(error) if error.io_error.kind() == io::ErrorKind::PermissionDenied => Err(AttachError::Privilege(
            "--cpu-budget cannot work here, for the kernel lets only CAP_SYS_ADMIN measure its programs: leave it out, or \
             run redial as root"
                .to_owned(),
        )),
        Err(error) => Err(AttachError::Unsupported(format!(
            "--cpu-budget cannot work here, for the kernel does not measure its programs: {error}. It needs Linux 5.8 or \
             later; leave it out"
        ))),
    }
}

impl Meter {
    /// Begins now.
    pub fn start() -> Self {
        Self { slice: None, last: Instant::now(), own: own_time(), every: EVERY }
    }

    /// Measures seldom while it is `calm`.
    pub fn relax(&mut self, calm: bool) {
        self.every = if calm { SELDOM } else { EVERY };
    }

    /// Begins work that is not the watching itself: its time is told by [`Meter::end_aside`] and not in shares.
    pub fn begin_aside(&mut self) -> Duration {
        // What programs do for it, as the walk over sockets, is part of it.
        self.slice = None;
        own_time()
    }

    /// Ends it, and says how long it took.
    pub fn end_aside(&mut self, began: Duration) -> Duration {
        let took = own_time().saturating_sub(began);
        self.own += took;
        took
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
        if now.duration_since(self.last) >= self.every - SLICE {
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
