//! What redial's totals cost without a kernel: to count a record, to hold an edge, to build a snapshot, to write it.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Benchmark, Setup, built,
    figure::{Figure, Spec, Target, Unit},
};
use crate::{run, test::LIVE};

/// The row in the list of benchmarks.
pub const BENCHMARK: Benchmark = Benchmark {
    name: "snapshot",
    specs: &[BUILD, JSON, EDGE, REFUSED_EDGE, RECORD[0], RECORD[1], RECORD[2], RECORD[3], RECORD[4], RECORD[5]],
    run,
};

/// Fewer samples say too little of a time this short.
const LEAST_SAMPLES: usize = 15;

/// Edges of a snapshot, and connections that each has had.
const EDGES: u32 = 100_000;
const CONNECTIONS: u32 = 3;

/// Records of one sample.
const RECORDS: u32 = 100_000;

const BUILD: Spec = Spec {
    name: "building a snapshot of 100,000 edges",
    unit: Unit::Milliseconds,
    target: Some(Target::at_most(50.0)),
};
const JSON: Spec = untold("writing it as JSON", Unit::Milliseconds);
const EDGE: Spec = untold("an edge of 3 connections with exchanges, of 100,000", Unit::Bytes);
const REFUSED_EDGE: Spec = untold("an edge of refused connections, of 100,000", Unit::Bytes);
const RECORD: [Spec; 6] = [
    untold("counting a record, 1 edge", Unit::Nanoseconds),
    untold("counting a record, 10 edges", Unit::Nanoseconds),
    untold("counting a record, 100 edges", Unit::Nanoseconds),
    untold("counting a record, 1,000 edges", Unit::Nanoseconds),
    untold("counting a record, 10,000 edges", Unit::Nanoseconds),
    untold("counting a record, 100,000 edges", Unit::Nanoseconds),
];

const fn untold(name: &'static str, unit: Unit) -> Spec {
    Spec { name, unit, target: None }
}

#[derive(Deserialize)]
struct Times {
    wall_ns: Vec<u64>,
    cpu_ns: Vec<u64>,
}

impl Times {
    /// Each time as so many of `unit_ns`.
    fn wall(&self, unit_ns: f64) -> Vec<f64> {
        self.wall_ns.iter().map(|&ns| ns as f64 / unit_ns).collect()
    }

    fn cpu(&self, unit_ns: f64) -> Vec<f64> {
        self.cpu_ns.iter().map(|&ns| ns as f64 / unit_ns).collect()
    }
}

#[derive(Deserialize)]
struct Snapshots {
    build: Times,
    json: Times,
    json_bytes: u64,
    build_peak: u64,
    json_peak: u64,
}

#[derive(Deserialize)]
struct Records {
    records: u64,
    times: Times,
    resident: u64,
}

fn run(setup: &Setup) -> Result<Vec<Figure>> {
    let program = built(LIVE, "measure")?;
    let samples = setup.pairs.max(LEAST_SAMPLES);
    run::say(format!("snapshot: {samples} of {EDGES} edges"));
    let spec = json!({ "edges": EDGES, "connections": CONNECTIONS, "samples": samples });
    let snapshots: Snapshots = measure(&program, "snapshot", &spec)?;
    let mut figures = vec![
        Figure::of(&BUILD, snapshots.build.wall(1e6)).note(format!(
            "3 connections an edge, a quarter servers, 51 places; it takes {:.1} MB at its peak",
            snapshots.build_peak as f64 / 1e6
        )),
        Figure::of(&JSON, snapshots.json.wall(1e6)).note(format!(
            "{:.1} MB of text; {:.1} MB more are resident at its peak",
            snapshots.json_bytes as f64 / 1e6,
            snapshots.json_peak as f64 / 1e6
        )),
        Figure::detail("CPU time of building it".to_owned(), Unit::Milliseconds, snapshots.build.cpu(1e6)),
    ];
    for (spec, edges) in RECORD.iter().zip([1, 10, 100, 1_000, 10_000, EDGES]) {
        run::say(format!("snapshot: records of {edges} edges"));
        let records = records(&program, "exchanges", edges, samples)?;
        if edges == EDGES {
            figures.push(Figure::of(&EDGE, vec![records.resident as f64 / f64::from(edges)]));
        }
        figures.push(Figure::of(spec, records.times.cpu(records.records as f64)).note("CPU time"));
    }
    let refused = records(&program, "refused", EDGES, 1)?;
    figures.push(Figure::of(&REFUSED_EDGE, vec![refused.resident as f64 / f64::from(EDGES)]));
    Ok(figures)
}

fn records(program: &Path, kind: &str, edges: u32, samples: usize) -> Result<Records> {
    let spec = json!({
        "kind": kind, "edges": edges, "connections": CONNECTIONS, "samples": samples, "records": RECORDS,
    });
    measure(program, "records", &spec)
}

fn measure<T: DeserializeOwned>(program: &Path, what: &str, spec: &Value) -> Result<T> {
    let out = run::output(Command::new(program).args([what, &spec.to_string()]))?;
    serde_json::from_str(&out).with_context(|| format!("cannot read {out:?}"))
}
