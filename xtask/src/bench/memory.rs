//! Memory with many open connections: what is resident, and what the kernel's maps and programs take.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    Benchmark, Setup, bpf,
    figure::{Figure, Spec, Target, Unit},
    load::Held,
    observer::Observer,
    proc::{self, Resident},
};
use crate::run;

/// The row in the list of benchmarks.
pub const BENCHMARK: Benchmark = Benchmark { name: "memory", specs: &[FEW_NOW, FEW_PEAK, MANY_NOW, MANY_PEAK], run };

const FEW_NOW: Spec = spec("resident + maps, 10,000 sockets open", 60.0);
const FEW_PEAK: Spec = spec("peak resident + maps, 10,000 sockets open", 60.0);
const MANY_NOW: Spec = spec("resident + maps, 200,000 sockets open", 300.0);
const MANY_PEAK: Spec = spec("peak resident + maps, 200,000 sockets open", 300.0);

/// Between the last connection and the look: the agent's timers have come round by then.
const SETTLE: Duration = Duration::from_secs(2);

const fn spec(name: &'static str, megabytes: f64) -> Spec {
    Spec { name, unit: Unit::Megabytes, target: Some(Target::at_most(megabytes)) }
}

/// A number of open sockets.
struct Case {
    sockets: u64,
    /// Options that redial needs for them.
    options: &'static [&'static str],
    now: Spec,
    peak: Spec,
}

const CASES: &[Case] = &[
    Case { sockets: 10_000, options: &[], now: FEW_NOW, peak: FEW_PEAK },
    Case { sockets: 200_000, options: &["--max-connections", "262144"], now: MANY_NOW, peak: MANY_PEAK },
];

fn run(setup: &Setup) -> Result<Vec<Figure>> {
    let figures = CASES.iter().flat_map(|case| {
        measure(setup, case).unwrap_or_else(|error| {
            let why = format!("{error:#}");
            vec![Figure::unmeasured(&case.now, &why), Figure::unmeasured(&case.peak, why)]
        })
    });
    Ok(figures.collect())
}

fn measure(setup: &Setup, case: &Case) -> Result<Vec<Figure>> {
    let sockets = case.sockets;
    run::say(format!("memory: {sockets} sockets"));
    let watching = Observer::Redial.start(setup, case.options)?;
    let held = Held::open(setup, sockets)?;
    thread::sleep(SETTLE);
    let Resident { now, map_pages } = proc::resident(watching.id())?;
    let maps = bpf::memory(watching.id())?;
    let watched = watching.end().context("the agent had to end while the sockets were open")?;
    drop(held);
    let open = watched.totals()?.open;
    ensure!(open >= sockets, "redial saw {open} sockets open of {sockets}");
    let peak = watched.peak_resident.saturating_sub(map_pages);
    let figure = |spec, resident: u64, when| {
        Figure::of(spec, vec![megabytes(resident + maps)]).note(format!(
            "resident {when} {:.1} (without {:.1} of mapped map pages), maps and programs {:.1}",
            megabytes(resident),
            megabytes(map_pages),
            megabytes(maps),
        ))
    };
    Ok(vec![figure(&case.now, now, "while they are open"), figure(&case.peak, peak, "at its peak from start to end")])
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
