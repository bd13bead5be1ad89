//! What redial costs a host that opens connections as fast as it can: rate kept, and its own CPU time.

use anyhow::Result;

use super::{
    Benchmark, Setup,
    figure::{Figure, Spec, Target, Unit},
    load::Churn,
    observer::Observer,
    rounds::{self, Round},
};

/// The row in the list of benchmarks.
pub const BENCHMARK: Benchmark = Benchmark { name: "churn", specs: &[KEPT, USER, SYSTEM], run };

/// The load: a connection for each exchange.
pub const LOAD: Churn = Churn { exchanges: 1 };

const KEPT: Spec =
    Spec { name: "connections/s kept", unit: Unit::Ratio, target: Some(Target::at_least(0.90).or_better(0.95)) };
const USER: Spec = Spec {
    name: "user CPU of the agent per 100,000 connections",
    unit: Unit::Seconds,
    target: Some(Target::at_most(0.06)),
};
const SYSTEM: Spec =
    Spec { name: "system CPU of the agent per 100,000 connections", unit: Unit::Seconds, target: None };

fn run(setup: &Setup) -> Result<Vec<Figure>> {
    let rounds = rounds::run(setup, BENCHMARK.name, LOAD, &[Observer::Redial])?;
    let each = |value: fn(&Round) -> f64| rounds.iter().map(value).collect();
    Ok(vec![
        Figure::of(&KEPT, each(|round| round.kept(0))),
        Figure::of(&USER, each(|round| round.per_100_000(0).user)).note(
            "from the beginning of the watch, known to 10 ms, to the end of the process: up to 10 ms a load too much",
        ),
        Figure::of(&SYSTEM, each(|round| round.per_100_000(0).system)),
    ])
}
