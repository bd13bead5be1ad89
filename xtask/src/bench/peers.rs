//! redial beside a tool of the same trade: bcc's tcplife, in the same rounds.

use anyhow::Result;

use super::{
    Benchmark, Setup, churn,
    figure::{Figure, Spec, Unit},
    kernel,
    observer::Observer,
    proc::Cpu,
    rounds,
};

/// The row in the list of benchmarks.
pub const BENCHMARK: Benchmark = Benchmark {
    name: "peers",
    specs: &[
        REDIAL.kept,
        REDIAL.kernel,
        REDIAL.user,
        REDIAL.system,
        TCPLIFE.kept,
        TCPLIFE.kernel,
        TCPLIFE.user,
        TCPLIFE.system,
    ],
    run,
};

/// The figures of one tool.
struct Specs {
    kept: Spec,
    kernel: Spec,
    user: Spec,
    system: Spec,
}

const REDIAL: Specs = Specs {
    kept: spec("redial: connections/s kept", Unit::Ratio),
    kernel: spec("redial: kernel time per connection, both ends", Unit::Nanoseconds),
    user: spec("redial: user CPU per 100,000 connections", Unit::Seconds),
    system: spec("redial: system CPU per 100,000 connections", Unit::Seconds),
};
const TCPLIFE: Specs = Specs {
    kept: spec("tcplife: connections/s kept", Unit::Ratio),
    kernel: spec("tcplife: kernel time per connection, both ends", Unit::Nanoseconds),
    user: spec("tcplife: user CPU per 100,000 connections", Unit::Seconds),
    system: spec("tcplife: system CPU per 100,000 connections", Unit::Seconds),
};

const TOOLS: &[(Observer, Specs)] = &[(Observer::Redial, REDIAL), (Observer::Tcplife, TCPLIFE)];

const fn spec(name: &'static str, unit: Unit) -> Spec {
    Spec { name, unit, target: None }
}

fn run(setup: &Setup) -> Result<Vec<Figure>> {
    let observers: Vec<Observer> = TOOLS.iter().map(|(observer, _)| *observer).collect();
    let rounds = rounds::run(setup, BENCHMARK.name, churn::LOAD, &observers)?;
    let mut figures = Vec::new();
    for (index, (observer, specs)) in TOOLS.iter().enumerate() {
        let kept = Figure::of(&specs.kept, rounds.iter().map(|round| round.kept(index)).collect());
        figures.push(match observer {
            Observer::Redial => kept.note("prints one summary at the end"),
            Observer::Tcplife => kept.note("prints a line for each connection, to /dev/null"),
        });
        figures.push(match kernel::sample(setup, *observer, churn::LOAD) {
            Ok(samples) => Figure::of(&specs.kernel, samples.per(|load| load.connections as f64)),
            Err(error) => Figure::unmeasured(&specs.kernel, format!("{error:#}")),
        });
        let cpu = |value: fn(Cpu) -> f64| rounds.iter().map(|round| value(round.per_100_000(index))).collect();
        figures.push(Figure::of(&specs.user, cpu(|cpu| cpu.user)));
        figures.push(Figure::of(&specs.system, cpu(|cpu| cpu.system)));
    }
    Ok(figures)
}
