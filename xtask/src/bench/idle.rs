//! What redial uses where nothing happens.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    time::{ClockId, clock_getcpuclockid},
    unistd::Pid,
};

use super::{
    Benchmark, Setup,
    figure::{Figure, Spec, Target, Unit},
    observer::Observer,
    proc,
};
use crate::run;

/// The row in the list of benchmarks.
pub const BENCHMARK: Benchmark = Benchmark { name: "idle", specs: &[SHARE], run };

const SHARE: Spec = Spec {
    name: "CPU of the agent on an idle host, user + system",
    unit: Unit::CpuPercent,
    target: Some(Target::at_most(0.2)),
};

/// How long nothing happens.
const WINDOW: Duration = Duration::from_secs(10);

fn run(setup: &Setup) -> Result<Vec<Figure>> {
    run::say("idle: 10 s");
    let watching = Observer::Redial.start(setup, &[])?;
    // To the nanosecond, where the times in /proc have ticks of 10 ms.
    let clock = clock_getcpuclockid(Pid::from_raw(watching.id().cast_signed())).context("cannot find its CPU clock")?;
    let used = |clock: ClockId| clock.now().map(Duration::from).context("cannot read its CPU clock");
    let (before, busy, begin) = (used(clock)?, proc::host_busy()?, Instant::now());
    thread::sleep(WINDOW);
    let own = (used(clock)? - before).as_secs_f64();
    let busy = proc::host_busy()? - busy;
    let window = begin.elapsed().as_secs_f64();
    watching.end()?;
    let others = 100.0 * (busy - own).max(0.0) / window;
    Ok(vec![
        Figure::of(&SHARE, vec![100.0 * own / window])
            .note(format!("meanwhile all else on the host used {others:.1}% of a CPU")),
    ])
}
