//! Time that redial's programs take in the kernel, per connection and per exchange, as the kernel counts it.
//!
//! Nothing is subtracted: a program that does nothing measures about 30 ns a run.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::{
    Benchmark, Setup,
    bpf::{self, Program, Stats},
    churn, exchanges,
    figure::{Figure, Spec, Target, Unit},
    load::{Churn, Churned},
    observer::Observer,
};
use crate::run;

/// The row in the list of benchmarks.
pub const BENCHMARK: Benchmark = Benchmark { name: "kernel", specs: &[CONNECTION, EXCHANGE], run };

const CONNECTION: Spec = Spec {
    name: "kernel time per connection, both ends",
    unit: Unit::Nanoseconds,
    target: Some(Target::at_most(2000.0).or_better(1200.0)),
};
const EXCHANGE: Spec = Spec {
    name: "kernel time per exchange and end, 100 a connection",
    unit: Unit::Nanoseconds,
    target: Some(Target::at_most(150.0).or_better(100.0)),
};

fn run(setup: &Setup) -> Result<Vec<Figure>> {
    let short = sample(setup, Observer::Redial, churn::LOAD)?;
    let long = sample(setup, Observer::Redial, exchanges::LOAD)?;
    let mut figures = vec![
        Figure::of(&CONNECTION, short.per(|load| load.connections as f64))
            .note(short.programs("connection", |load| load.connections as f64)),
        Figure::of(&EXCHANGE, long.per(|load| 2.0 * load.exchanges as f64))
            .note(long.programs("exchange and end", |load| 2.0 * load.exchanges as f64)),
    ];
    figures.extend(short.details("connection of 1 exchange"));
    figures.extend(long.details("connection of 100 exchanges"));
    Ok(figures)
}

/// Loads under one observer, and what its programs took in each.
pub struct Samples(Vec<Sample>);

struct Sample {
    load: Churned,
    /// Run time in ns and number of runs, by program.
    ran: BTreeMap<String, (u64, u64)>,
}

/// Runs `load` `setup.pairs` times under one observer.
pub fn sample(setup: &Setup, observer: Observer, load: Churn) -> Result<Samples> {
    let _counting = Stats::enable()?;
    let watching = observer.start(setup, &[])?;
    let mut samples = Vec::new();
    for number in 1..=setup.pairs {
        let before = bpf::programs(watching.id())?;
        let load = load.run(setup)?;
        let ran = ran(&before, &bpf::programs(watching.id())?);
        ensure!(!ran.is_empty(), "no program of {} ran under the load, or the kernel did not count", observer.name());
        let sum: u64 = ran.values().map(|(time, _)| time).sum();
        run::say(format!(
            "kernel: {}: load {number} of {}: {:.0} ns per connection of {} exchanges",
            observer.name(),
            setup.pairs,
            sum as f64 / load.connections as f64,
            load.exchanges / load.connections
        ));
        samples.push(Sample { load, ran });
    }
    let all = samples.iter().map(|sample| sample.load.connections).sum();
    let watched = watching.end()?;
    if observer == Observer::Redial {
        watched.saw(all)?;
    }
    Ok(Samples(samples))
}

/// What ran between two looks; programs that did not are left out.
fn ran(before: &[Program], after: &[Program]) -> BTreeMap<String, (u64, u64)> {
    let mut ran = BTreeMap::new();
    for program in after {
        let earlier = before.iter().find(|earlier| earlier.id == program.id);
        let time = program.run_time_ns - earlier.map_or(0, |earlier| earlier.run_time_ns);
        let runs = program.run_cnt - earlier.map_or(0, |earlier| earlier.run_cnt);
        if runs > 0 {
            let sum: &mut (u64, u64) = ran.entry(program.name.clone()).or_default();
            *sum = (sum.0 + time, sum.1 + runs);
        }
    }
    ran
}

impl Samples {
    /// Run time of all programs divided by what `count` says of each load, ns.
    pub fn per(&self, count: impl Fn(&Churned) -> f64) -> Vec<f64> {
        let time = |sample: &Sample| sample.ran.values().map(|(time, _)| time).sum::<u64>() as f64;
        self.0.iter().map(|sample| time(sample) / count(&sample.load)).collect()
    }

    /// Which programs the time is of, and how much of it, over all loads.
    fn programs(&self, what: &str, count: impl Fn(&Churned) -> f64) -> String {
        let counted: f64 = self.0.iter().map(|sample| count(&sample.load)).sum();
        let mut times: Vec<_> = self.names().map(|name| (self.total(name).0 as f64 / counted, name)).collect();
        times.sort_by(|one, other| other.0.total_cmp(&one.0));
        let times: Vec<_> = times.iter().map(|(time, name)| format!("{name} {time:.1}")).collect();
        format!("ns per {what}, by program: {}", times.join(", "))
    }

    /// Time of one run of each program.
    fn details(&self, what: &str) -> Vec<Figure> {
        let connections: u64 = self.0.iter().map(|sample| sample.load.connections).sum();
        let figure = |name: &str| {
            let each = self.0.iter().filter_map(|sample| sample.ran.get(name));
            let samples = each.map(|(time, runs)| *time as f64 / *runs as f64).collect();
            let runs = self.total(name).1 as f64 / connections as f64;
            Figure::detail(format!("a run of {name}, {runs:.2} a {what}"), Unit::Nanoseconds, samples)
        };
        self.names().map(figure).collect()
    }

    /// The programs that took a thousandth of the time or more: others ran for what else happens on the host.
    fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = self.0.iter().flat_map(|sample| sample.ran.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let all: u64 = names.iter().map(|name| self.total(name).0).sum();
        names.retain(|name| self.total(name).0 * 1000 >= all);
        names.into_iter()
    }

    fn total(&self, name: &str) -> (u64, u64) {
        let of = self.0.iter().filter_map(|sample| sample.ran.get(name));
        of.fold((0, 0), |sum, ran| (sum.0 + ran.0, sum.1 + ran.1))
    }
}
