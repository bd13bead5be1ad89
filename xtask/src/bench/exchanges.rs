//! What redial costs a host that reuses its connections: the rate of exchanges kept.

use anyhow::Result;

use super::{
    Benchmark, Setup,
    figure::{Figure, Spec, Target, Unit},
    load::{Churn, EXCHANGES},
    observer::Observer,
    rounds,
};

/// The row in the list of benchmarks.
pub const BENCHMARK: Benchmark = Benchmark { name: "exchanges", specs: &[KEPT], run };

/// The load: many exchanges on each connection.
pub const LOAD: Churn = Churn { exchanges: EXCHANGES };

const KEPT: Spec =
    Spec { name: "exchanges/s kept, 100 a connection", unit: Unit::Ratio, target: Some(Target::at_least(0.90)) };

fn run(setup: &Setup) -> Result<Vec<Figure>> {
    let rounds = rounds::run(setup, BENCHMARK.name, LOAD, &[Observer::Redial])?;
    Ok(vec![Figure::of(&KEPT, rounds.iter().map(|round| round.kept(0)).collect())])
}
