//! What redial costs by the number of edges it tells apart: CPU per connection, and memory.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use super::{
    Benchmark, Setup, bpf,
    figure::{Figure, Spec, Target, Unit},
    load::{self, Spread},
    observer::Observer,
    proc::{self, Cpu, Resident},
};
use crate::run;

/// The row in the list of benchmarks.
pub const BENCHMARK: Benchmark = Benchmark { name: "edges", specs: &SPECS, run };

const SPECS: [Spec; 2 * CASES.len()] = {
    let mut specs = [CASES[0].user; 2 * CASES.len()];
    let mut case = 0;
    while case < CASES.len() {
        (specs[2 * case], specs[2 * case + 1]) = (CASES[case].user, CASES[case].memory);
        case += 1;
    }
    specs
};

/// Connections of a load at least: CPU times are known to 10 ms.
const ATTEMPTS: u64 = 200_000;

/// Between a load and the look: the agent has taken in everything by then.
const SETTLE: Duration = Duration::from_millis(600);

/// Room for the edges of the largest case, and for those that the host has besides.
const OPTIONS: &[&str] = &["--max-edges", "120000"];

/// A number of edges.
struct Case {
    edges: u32,
    refused: bool,
    user: Spec,
    memory: Spec,
}

const CASES: &[Case] = &[
    refused(1, "user CPU per 100,000 connections, 1 edge", "resident + maps, 1 edge"),
    refused(10, "user CPU per 100,000 connections, 10 edges", "resident + maps, 10 edges"),
    refused(100, "user CPU per 100,000 connections, 100 edges", "resident + maps, 100 edges"),
    refused(1_000, "user CPU per 100,000 connections, 1,000 edges", "resident + maps, 1,000 edges"),
    refused(10_000, "user CPU per 100,000 connections, 10,000 edges", "resident + maps, 10,000 edges"),
    within_target(refused(
        100_000,
        "user CPU per 100,000 connections, 100,000 edges",
        "resident + maps, 100,000 edges",
    )),
    within_target(Case {
        refused: false,
        ..refused(
            100_000,
            "user CPU per 100,000 connections, 100,000 edges with exchanges",
            "resident + maps, 100,000 edges with exchanges",
        )
    }),
];

const fn refused(edges: u32, user: &'static str, memory: &'static str) -> Case {
    let user = Spec { name: user, unit: Unit::Seconds, target: None };
    Case { edges, refused: true, user, memory: Spec { name: memory, unit: Unit::Megabytes, target: None } }
}

const fn within_target(case: Case) -> Case {
    Case { memory: Spec { target: Some(Target::at_most(150.0)), ..case.memory }, ..case }
}

fn run(setup: &Setup) -> Result<Vec<Figure>> {
    let figures = CASES.iter().flat_map(|case| {
        measure(setup, case).unwrap_or_else(|error| {
            let why = format!("{error:#}");
            vec![Figure::unmeasured(&case.user, &why), Figure::unmeasured(&case.memory, why)]
        })
    });
    Ok(figures.collect())
}

/// One agent and several loads: the first makes the edges, the others come back to them.
fn measure(setup: &Setup, case: &Case) -> Result<Vec<Figure>> {
    let spread = Spread { addresses: case.edges, refused: case.refused, port: load::free_port()? };
    // Each address equally often.
    let attempts = ATTEMPTS.next_multiple_of(u64::from(case.edges));
    let watching = Observer::Redial.start(setup, OPTIONS)?;
    let mut expected = 0;
    let mut load = |attempts: u64| -> Result<Cpu> {
        let before = proc::cpu(watching.id())?;
        let done = spread.run(setup, attempts)?;
        thread::sleep(SETTLE);
        expected += done.refused + 2 * done.connections;
        Ok(proc::cpu(watching.id())? - before)
    };
    load(2 * attempts)?;
    // Looked at now, that it does not depend on how many loads are to follow.
    let Resident { now, map_pages } = proc::resident(watching.id())?;
    let maps = bpf::memory(watching.id())?;
    let mut samples = Vec::new();
    for number in 1..=setup.pairs {
        let user = load(attempts)?.user * 100_000.0 / attempts as f64;
        run::say(format!(
            "edges: {}: load {number} of {}: {user:.3} s user per 100,000 connections",
            case.edges, setup.pairs
        ));
        samples.push(user);
    }
    let watched = watching.end()?;
    let (seen, edges) = (watched.totals()?.attempts, watched.edges()?);
    ensure!(seen * 1000 >= expected * 999, "redial saw {seen} attempts, of the {expected} there were");
    ensure!(edges >= case.edges as usize, "redial told {edges} edges apart, of the {} there were", case.edges);
    let peak = watched.peak_resident.saturating_sub(map_pages);
    Ok(vec![
        Figure::of(&case.user, samples).note(if case.refused {
            "connections are refused: redial sees one end; known to 10 ms of a load of 200,000"
        } else {
            "redial sees both ends; known to 10 ms of a load of 200,000"
        }),
        Figure::of(&case.memory, vec![megabytes(now + maps)]).note(format!(
            "after {} connections; resident {:.1} (without {:.1} of mapped map pages), maps and programs {:.1}; with the \
             peak of the resident size, which comes when all is printed as JSON: {:.1}",
            2 * attempts,
            megabytes(now),
            megabytes(map_pages),
            megabytes(maps),
            megabytes(peak + maps),
        )),
    ])
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
