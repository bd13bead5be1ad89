//! How long it takes to count a connection that ended, and how much memory its edge takes.

use std::hint::black_box;

use anyhow::{Result, ensure};
use redial::{
    enrich::Identity,
    state::{State, key::By},
};
use redial_common::record::conn::Conn;
use serde::{Deserialize, Serialize};

use super::{
    clock::{Times, resident},
    workload::{Kind, Workload},
};

/// Records that are made before they are counted, so that making them takes no part in the time.
const BATCH: usize = 1_024;

/// What to do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What happens on the edges.
    pub kind: Kind,
    /// How many edges.
    pub edges: u32,
    /// Connections on each before the times are taken.
    pub connections: u32,
    /// How many times are taken.
    pub samples: u32,
    /// Records of each.
    pub records: u32,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Edges that there are.
    pub edges: usize,
    /// Records of one sample.
    pub records: usize,
    /// What a sample's records took, on edges by chance.
    pub times: Times,
    /// Growth of the resident memory while the edges were made, bytes.
    pub resident: u64,
}

/// Measures.
pub fn run(spec: &Spec) -> Result<Measured> {
    let mut workload = Workload::new(spec.kind, 1);
    let mut batch: Vec<(Conn, Identity)> = Vec::with_capacity(BATCH);
    let before = resident()?;
    let mut state = State::new(spec.edges as usize, By::Edge);
    for _ in 0..spec.connections {
        for edge in 0..spec.edges {
            let (conn, who) = workload.connection(edge, false);
            state.ended(&conn, who);
        }
    }
    let grown = resident()?.saturating_sub(before);
    let edges = state.edges().count();
    ensure!(edges == spec.edges as usize && state.edges_folded == 0, "{edges} edges of {}", spec.edges);
    let batches = (spec.records as usize).div_ceil(BATCH);
    let mut times = Times::default();
    for _ in 0..spec.samples {
        let mut sample = Times::default();
        for _ in 0..batches {
            batch.clear();
            for _ in 0..BATCH {
                let edge = workload.any(spec.edges);
                let (conn, who) = workload.connection(edge, false);
                batch.push((conn, who.clone()));
            }
            sample.of(|| {
                batch.iter().for_each(|(conn, who)| state.ended(black_box(conn), who));
                Ok(())
            })?;
        }
        times.wall_ns.push(sample.wall_ns.iter().sum());
        times.cpu_ns.push(sample.cpu_ns.iter().sum());
    }
    Ok(Measured { edges, records: batches * BATCH, times, resident: grown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_edges_as_asked_for_are_made() {
        for kind in [Kind::Refused, Kind::Exchanges] {
            let spec = Spec { kind, edges: 5_000, connections: 1, samples: 2, records: 2_000 };
            let measured = run(&spec).unwrap();
            assert_eq!((measured.edges, measured.records, measured.times.wall_ns.len()), (5_000, 2_048, 2));
            assert!(measured.times.cpu_ns[0] > 10_000, "{measured:?}");
        }
    }
}
