//! `xtask bench`: what redial costs, measured on this machine. A missed target is marked, and is no failure; a figure
//! that could not be measured is one.
//!
//! A benchmark is a file and a row in [`BENCHMARKS`]. What is compared runs in rounds, without and with the agent in
//! alternation.

mod bpf;
mod churn;
mod edges;
mod exchanges;
mod figure;
mod idle;
mod kernel;
mod load;
mod machine;
mod median;
mod observer;
mod open;
mod peers;
mod proc;
mod process;
mod report;
mod rounds;
mod snapshot;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::{Args, builder::PossibleValuesParser};

use self::{
    figure::{Figure, Spec},
    machine::Machine,
    report::{Format, Report, Results},
};
use crate::{
    ebpf, packages, paths, run,
    test::{LIVE, mounts},
};

const BENCHMARKS: &[Benchmark] = &[
    churn::BENCHMARK,
    exchanges::BENCHMARK,
    kernel::BENCHMARK,
    open::BENCHMARK,
    edges::BENCHMARK,
    snapshot::BENCHMARK,
    idle::BENCHMARK,
    peers::BENCHMARK,
];

/// Arguments of `xtask bench`.
#[derive(Args)]
pub struct Bench {
    /// Which benchmarks to run; all of them if none is named
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(BENCHMARKS.iter().map(|row| row.name)))]
    names: Vec<String>,
    /// How many rounds: loads without and with the agent, in alternation
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// How long a load runs, in seconds
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Measure this redial instead of building one from these sources
    #[arg(long, value_name = "FILE")]
    redial: Option<PathBuf>,
    /// List what is missing instead of installing it
    #[arg(long)]
    no_install: bool,
}

/// A row in the list of benchmarks.
struct Benchmark {
    name: &'static str,
    /// The figures that it promises.
    specs: &'static [Spec],
    run: fn(&Setup) -> Result<Vec<Figure>>,
}

/// What all benchmarks need to know.
struct Setup {
    /// The agent.
    redial: PathBuf,
    /// The load generator.
    traffic: PathBuf,
    /// How many rounds or loads.
    pairs: usize,
    /// How long a load runs, s.
    seconds: u32,
}

/// Runs `xtask bench`.
pub fn main(args: &Bench) -> Result<()> {
    if !run::is_root()? {
        bail!("benchmarks load BPF programs: run `cargo xtask bench` as root");
    }
    packages::ensure([&bpf::BPFTOOL, &observer::TCPLIFE], !args.no_install)?;
    mounts::ensure()?;
    let setup = Setup {
        redial: redial(args.redial.as_deref())?,
        traffic: built(LIVE, "traffic")?,
        pairs: args.pairs as usize,
        seconds: args.seconds,
    };
    let machine = Machine::here()?;
    run::say(machine.to_string());
    let wanted = |row: &&Benchmark| args.names.is_empty() || args.names.iter().any(|name| name == row.name);
    let results = BENCHMARKS.iter().filter(wanted).map(|row| row.results(&setup)).collect();
    let report = Report { schema: report::SCHEMA, machine, pairs: setup.pairs, seconds: setup.seconds, results };
    report.print(args.format)?;
    match report.unmeasured() {
        0 => Ok(()),
        count => bail!("{count} figures could not be measured; each says why"),
    }
}

impl Benchmark {
    /// Runs it. A promised figure that does not come out is in the results all the same, with the reason.
    fn results(&self, setup: &Setup) -> Results {
        let (mut figures, why) = match (self.run)(setup) {
            Ok(figures) => (figures, "the benchmark left it out".to_owned()),
            Err(error) => (Vec::new(), format!("{error:#}")),
        };
        for spec in self.specs {
            if !figures.iter().any(|figure| figure.name == spec.name) {
                figures.push(Figure::unmeasured(spec, &*why));
            }
        }
        Results { benchmark: self.name, figures }
    }
}

/// The agent: the one that was named, or a release build of these sources.
fn redial(named: Option<&Path>) -> Result<PathBuf> {
    let Some(path) = named else {
        ebpf::check()?;
        return built("redial", "redial");
    };
    ensure!(path.is_file(), "--redial {}: there is no such file", path.display());
    Ok(std::path::absolute(path)?)
}

/// A program of the workspace, in a release build.
fn built(package: &str, program: &str) -> Result<PathBuf> {
    run::run(run::cargo(&paths::root()).args(["build", "--release", "--package", package, "--bin", program]))?;
    Ok(paths::target().join("release").join(program))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn setup() -> Setup {
        Setup { redial: PathBuf::new(), traffic: PathBuf::new(), pairs: 1, seconds: 1 }
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = BENCHMARKS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), BENCHMARKS.len());
        for row in BENCHMARKS {
            let specs: BTreeSet<_> = row.specs.iter().map(|spec| spec.name).collect();
            assert!(specs.len() == row.specs.len() && !specs.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn what_fails_is_unmeasured_and_never_missing() {
        let specs = churn::BENCHMARK.specs;
        let fails = Benchmark { name: "x", specs, run: |_| bail!("no load") };
        let forgets = Benchmark { name: "x", specs, run: |_| Ok(Vec::new()) };
        for (row, why) in [(fails, "no load"), (forgets, "left it out")] {
            let results = row.results(&setup());
            assert_eq!(results.figures.len(), specs.len());
            assert!(
                results.figures.iter().all(|figure| figure.why_unmeasured().is_some_and(|said| said.contains(why)))
            );
        }
    }
}
