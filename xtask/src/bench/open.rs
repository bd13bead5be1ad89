//! Many open connections: what is resident, what the kernel's maps and programs take, and what one look at them costs.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    Benchmark, Setup, bpf,
    figure::{Figure, Spec, Target, Unit},
    load::Held,
    observer::{self, Observer},
    proc::{self, Resident},
    process::Process,
};
use crate::run;

/// The row in the list of benchmarks.
pub const BENCHMARK: Benchmark = Benchmark { name: "open", specs: &SPECS, run };

const SPECS: [Spec; 4 * CASES.len()] = {
    let mut specs = [CASES[0].now; 4 * CASES.len()];
    let mut case = 0;
    while case < CASES.len() {
        let Case { now, peak, look_cpu, look_peak, .. } = CASES[case];
        let first = 4 * case;
        (specs[first], specs[first + 1], specs[first + 2], specs[first + 3]) = (now, peak, look_cpu, look_peak);
        case += 1;
    }
    specs
};

/// Between the last connection and the look: the agent's timers have come round by then.
const SETTLE: Duration = Duration::from_secs(2);

/// How long `top --once` looks.
const LOOK: &str = "2s";

/// Until about the middle of that.
const HALF_LOOK: Duration = Duration::from_secs(1);

/// No look may take longer.
const LIMIT: Duration = Duration::from_secs(30);

/// A number of open sockets.
struct Case {
    sockets: u64,
    /// Options that redial needs for them.
    options: &'static [&'static str],
    now: Spec,
    peak: Spec,
    look_cpu: Spec,
    look_peak: Spec,
}

const CASES: &[Case] = &[
    Case {
        sockets: 1_000,
        options: &[],
        now: megabytes_of("resident + maps, 1,000 sockets open", None),
        peak: megabytes_of("peak resident + maps, 1,000 sockets open", None),
        look_cpu: seconds_of("CPU of one top --once --for 2s, 1,000 sockets open"),
        look_peak: megabytes_of("peak resident + maps of it, 1,000 sockets open", None),
    },
    Case {
        sockets: 10_000,
        options: &[],
        now: megabytes_of("resident + maps, 10,000 sockets open", Some(60.0)),
        peak: megabytes_of("peak resident + maps, 10,000 sockets open", Some(60.0)),
        look_cpu: seconds_of("CPU of one top --once --for 2s, 10,000 sockets open"),
        look_peak: megabytes_of("peak resident + maps of it, 10,000 sockets open", None),
    },
    Case {
        sockets: 100_000,
        options: &[],
        now: megabytes_of("resident + maps, 100,000 sockets open", None),
        peak: megabytes_of("peak resident + maps, 100,000 sockets open", None),
        look_cpu: seconds_of("CPU of one top --once --for 2s, 100,000 sockets open"),
        look_peak: megabytes_of("peak resident + maps of it, 100,000 sockets open", None),
    },
    Case {
        sockets: 200_000,
        options: &["--max-connections", "262144"],
        now: megabytes_of("resident + maps, 200,000 sockets open", Some(300.0)),
        peak: megabytes_of("peak resident + maps, 200,000 sockets open", Some(300.0)),
        look_cpu: seconds_of("CPU of one top --once --for 2s, 200,000 sockets open"),
        look_peak: megabytes_of("peak resident + maps of it, 200,000 sockets open", None),
    },
];

const fn megabytes_of(name: &'static str, at_most: Option<f64>) -> Spec {
    let target = match at_most {
        Some(megabytes) => Some(Target::at_most(megabytes)),
        None => None,
    };
    Spec { name, unit: Unit::Megabytes, target }
}

const fn seconds_of(name: &'static str) -> Spec {
    Spec { name, unit: Unit::Seconds, target: None }
}

fn run(setup: &Setup) -> Result<Vec<Figure>> {
    let figures = CASES.iter().flat_map(|case| {
        measure(setup, case).unwrap_or_else(|error| {
            let why = format!("{error:#}");
            [case.now, case.peak, case.look_cpu, case.look_peak].map(|spec| Figure::unmeasured(&spec, &*why)).into()
        })
    });
    Ok(figures.collect())
}

fn measure(setup: &Setup, case: &Case) -> Result<Vec<Figure>> {
    let sockets = case.sockets;
    run::say(format!("open: {sockets} sockets"));
    let watching = Observer::Redial.start(setup, case.options)?;
    let held = Held::open(setup, sockets)?;
    thread::sleep(SETTLE);
    let Resident { now, map_pages } = proc::resident(watching.id())?;
    let maps = bpf::memory(watching.id())?;
    let watched = watching.end().context("the agent had to end while the sockets were open")?;
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
    let mut figures =
        vec![figure(&case.now, now, "while they are open"), figure(&case.peak, peak, "at its peak from start to end")];
    let looks = (1..=setup.pairs).map(|_| look(setup, case)).collect::<Result<Vec<_>>>()?;
    drop(held);
    let each = |of: fn(&Look) -> f64| looks.iter().map(of).collect::<Vec<f64>>();
    figures.push(
        Figure::of(&case.look_cpu, each(|look| look.user + look.system))
            .note(format!("from the process's start to its end; of it {:.3} s user in the first look", looks[0].user)),
    );
    figures.push(Figure::of(&case.look_peak, each(|look| look.megabytes)));
    Ok(figures)
}

/// What one `top --once` cost that began when the sockets were open already.
struct Look {
    user: f64,
    system: f64,
    megabytes: f64,
}

fn look(setup: &Setup, case: &Case) -> Result<Look> {
    let mut process = Process::start(observer::top(setup, LOOK).args(case.options), true)?;
    process.wait_line("redial: watching", LIMIT)?;
    thread::sleep(HALF_LOOK);
    let map_pages = proc::resident(process.id())?.map_pages;
    let maps = bpf::memory(process.id())?;
    let ended = process.end(LIMIT).context("`redial top --once` did not end as it should")?;
    let open = observer::totals(&ended.stdout)?.open;
    ensure!(open >= case.sockets, "redial found {open} sockets open of {}", case.sockets);
    Ok(Look {
        user: ended.cpu.user,
        system: ended.cpu.system,
        megabytes: megabytes(ended.peak_resident.saturating_sub(map_pages) + maps),
    })
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
