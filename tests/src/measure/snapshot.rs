//! How long it takes to build a snapshot of many edges, and to write it as JSON.

use std::{
    borrow::Cow,
    collections::HashMap,
    hint::black_box,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use redial::{
    enrich::{Enricher, hosts::Hosts, process::Processes, procfs::Procfs, role::Role},
    host::reading::{Limits, Reading},
    output::{self, screen::Screen},
    snapshot::{
        build::{Frame, build},
        host::HostTables,
        losses::{LeftOut, Losses},
    },
    state::{State, key::By},
};
use serde::{Deserialize, Serialize};

use super::{
    clock::{Times, peak_of},
    workload::{Kind, Workload},
};

/// Every so many-th edge has a connection that lives, and sockets in TIME-WAIT.
const BUSY_EVERY: u32 = 8;

/// What to do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// How many edges.
    pub edges: u32,
    /// Connections on each that ended.
    pub connections: u32,
    /// How many snapshots.
    pub samples: u32,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Edges in the snapshots.
    pub edges: usize,
    /// Edges of which connections live, too.
    pub live: usize,
    /// To build a snapshot.
    pub build: Times,
    /// To write it as JSON.
    pub json: Times,
    /// Length of the JSON, bytes.
    pub json_bytes: u64,
    /// How far building the first snapshot raised the resident memory at its peak, bytes.
    pub build_peak: u64,
    /// How far writing it as JSON raised that further, bytes.
    pub json_peak: u64,
}

/// Measures.
pub fn run(spec: &Spec) -> Result<Measured> {
    // The host's own tables, as they are: what a snapshot is always joined with.
    let reading = Reading::read(&Limits::default(), &mut |_| {}).context("read the host's tables")?;
    let mut workload = Workload::new(Kind::Exchanges, reading.namespaces.first().map_or(1, |own| own.netns));
    let mut ended = State::new(spec.edges as usize, By::Edge);
    let mut live = State::new(spec.edges as usize, By::Edge);
    for _ in 0..spec.connections {
        for edge in 0..spec.edges {
            let (conn, who) = workload.connection(edge, false);
            ended.ended(&conn, who);
        }
    }
    for edge in (0..spec.edges).step_by(BUSY_EVERY as usize) {
        let (conn, who) = workload.connection(edge, true);
        live.live(&conn, who);
    }
    let time_wait: HashMap<_, _> = live.edges().map(|(key, _)| (ended.hash(key), (Role::Client, 3))).collect();
    let tables = HostTables { first: Some(&reading), last: &reading, netns: None, time_wait, descriptors: Vec::new() };
    let enricher = Enricher::new(Processes::new(Procfs::new(Path::new("/proc")), 1), Hosts::default());
    let write = output::find("json", |output| output.top).context("there is no JSON")?;
    let screen = Screen::of_stdout(0);
    let mut measured = Measured {
        edges: 0,
        live: live.edges().count(),
        build: Times::default(),
        json: Times::default(),
        json_bytes: 0,
        build_peak: 0,
        json_peak: 0,
    };
    for number in 0..spec.samples {
        let frame = Frame {
            window_ns: 30_000_000_000,
            host: Some("host".to_owned()),
            probes: Vec::new(),
            self_limit: None,
            losses: Losses::default(),
            left_out: LeftOut::default(),
            repaired: 0,
            tables: Some(&tables),
        };
        let name_of = |address| enricher.resolve(address).map(|name| name.to_string());
        let (snapshot, build_peak) = peak_of(|| {
            measured.build.of(|| Ok(black_box(build(frame, Cow::Borrowed(&ended), Cow::Borrowed(&live), &name_of))))
        })?;
        measured.edges = snapshot.edges.len();
        ensure!(measured.edges == spec.edges as usize, "{} edges of {}", measured.edges, spec.edges);
        let mut out = Counted(0);
        let (_, json_peak) = peak_of(|| measured.json.of(|| Ok(write(&snapshot, &screen, &mut out)?)))?;
        measured.json_bytes = out.0;
        // What was given back once stays with the allocator: only the first growth tells.
        if number == 0 {
            (measured.build_peak, measured.json_peak) = (build_peak, json_peak);
        }
    }
    Ok(measured)
}

/// Takes text, counts its bytes and forgets it.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0 += text.len() as u64;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_all_edges_and_its_json_is_counted() {
        let measured = run(&Spec { edges: 2_000, connections: 2, samples: 2 }).unwrap();
        assert_eq!((measured.edges, measured.live, measured.build.wall_ns.len()), (2_000, 250, 2));
        assert!(measured.json_bytes > 1_000_000, "{measured:?}");
    }
}
