//! What the agent prints of edges as JSON, as far as the tests look at it, and the rules that it must keep by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::{
    host_tables::{Chain, Ports, Pressure},
    record::Role,
};

/// Everything at the end of an observation.
#[derive(Clone, Debug, Deserialize)]
pub struct Snapshot {
    /// The version of the format.
    pub schema: u32,
    /// Connections that the kernel told in totals only.
    pub folded: u64,
    /// What was lost, by cause.
    pub losses: BTreeMap<String, u64>,
    /// Edges without room of their own.
    pub edges_folded: u64,
    /// Connections whose end was missed and told later.
    pub repaired: u64,
    /// All edges together.
    pub totals: Counts,
    /// The edges.
    pub edges: Vec<Edge>,
    /// How long was observed, s.
    pub window_s: f64,
    /// Programs that are server and client; none where edges are folded otherwise than by program.
    pub chains: Option<Vec<Chain>>,
    /// The host's tables.
    pub pressure: Option<Pressure>,
}

/// The counters of an edge, or of all.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are redial's vocabulary, explained there")]
pub struct Counts {
    pub attempts: u64,
    pub opened: u64,
    pub closed: u64,
    pub failed: u64,
    pub open: u64,
    pub open_at_start: u64,
    pub unused: Option<u64>,
    pub exchanges: Option<u64>,
    pub exchanges_per_connection: Option<f64>,
    pub reuse_ratio: Option<f64>,
    pub bytes_sent: Option<u64>,
    pub bytes_received: Option<u64>,
    pub retransmits: Option<u64>,
    pub time_wait: Option<u64>,
    pub time_wait_inferred: u64,
    pub closed_by: BTreeMap<String, u64>,
    pub failed_by: BTreeMap<String, u64>,
}

/// One edge.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are redial's vocabulary, explained there")]
pub struct Edge {
    pub process: Process,
    pub netns: Option<u64>,
    pub role: String,
    pub remote: Option<Remote>,
    pub local_port: Option<u16>,
    pub peers: Option<Vec<Peer>>,
    pub ports: Option<Ports>,
    #[serde(flatten)]
    pub counts: Counts,
}

/// Whose an edge is.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are redial's vocabulary, explained there")]
pub struct Process {
    pub kind: String,
    pub exe: Option<String>,
    pub comm: Option<String>,
    pub container: Option<String>,
    pub pod: Option<String>,
    pub pids: Option<u64>,
    pub pid: Option<u32>,
}

/// A client's far end.
#[derive(Clone, Copy, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are redial's vocabulary, explained there")]
pub struct Remote {
    pub addr: IpAddr,
    pub port: u16,
}

/// One of a server's peers.
#[derive(Clone, Copy, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are redial's vocabulary, explained there")]
pub struct Peer {
    pub addr: IpAddr,
    pub connections: u64,
}

/// The executable that stands for all edges without room of their own.
pub const OTHER: &str = "~other";

impl Counts {
    /// Closed by `word`, 0 where it is absent.
    pub fn closed_by(&self, word: &str) -> u64 {
        self.closed_by.get(word).copied().unwrap_or(0)
    }

    /// Failed by `word`, 0 where it is absent.
    pub fn failed_by(&self, word: &str) -> u64 {
        self.failed_by.get(word).copied().unwrap_or(0)
    }

    /// Every number that must add up over edges, with its name. What was not measured adds nothing.
    pub fn sums(&self) -> BTreeMap<String, u64> {
        let plain = [
            ("attempts", Some(self.attempts)),
            ("opened", Some(self.opened)),
            ("closed", Some(self.closed)),
            ("failed", Some(self.failed)),
            ("open", Some(self.open)),
            ("open_at_start", Some(self.open_at_start)),
            ("unused", self.unused),
            ("exchanges", self.exchanges),
            ("bytes_sent", self.bytes_sent),
            ("bytes_received", self.bytes_received),
            ("time_wait", self.time_wait),
            ("time_wait_inferred", Some(self.time_wait_inferred)),
        ];
        let plain = plain.into_iter().map(|(name, count)| (name.to_owned(), count.unwrap_or(0)));
        let closed = self.closed_by.iter().map(|(word, count)| (format!("closed_by {word}"), *count));
        let failed = self.failed_by.iter().map(|(word, count)| (format!("failed_by {word}"), *count));
        plain.chain(closed).chain(failed).collect()
    }

    /// Checks what holds of the counters at every time.
    pub fn balance(&self) -> Result<()> {
        ensure!(self.open_at_start + self.opened == self.closed + self.open, "older + opened = closed + open");
        ensure!(self.attempts >= self.opened + self.failed, "attempts are at least opened + failed");
        ensure!(self.closed_by.values().sum::<u64>() == self.closed, "closed_by sums to closed");
        ensure!(self.failed_by.values().sum::<u64>() == self.failed, "failed_by sums to failed");
        ensure!(self.unused.unwrap_or(0) <= self.closed, "who was unused has closed");
        ensure!(self.reuse_ratio.is_none() == (self.exchanges.unwrap_or(0) == 0), "no ratio of nothing, and only then");
        ensure!(self.reuse_ratio.is_none_or(|ratio| (0.0..=1.0).contains(&ratio)), "a ratio is from 0 to 1");
        Ok(())
    }
}

impl Edge {
    /// Which end this host is; none where that is not known.
    pub fn role(&self) -> Option<Role> {
        match self.role.as_str() {
            "client" => Some(Role::Client),
            "server" => Some(Role::Server),
            _ => None,
        }
    }

    /// The far end of a client's edge.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote.map(|remote| SocketAddr::new(remote.addr, remote.port))
    }

    /// Whether nothing is known of it but what is in TIME-WAIT: its connections ended before the agent began, or in the
    /// kernel's totals, which remember no single one.
    pub fn is_over(&self) -> bool {
        let counts = &self.counts;
        self.process.kind == "unknown" && counts.attempts + counts.open_at_start + counts.closed == 0
    }

    /// Whether it stands for edges without room of their own.
    pub fn is_other(&self) -> bool {
        self.process.exe.as_deref() == Some(OTHER)
    }
}

impl Snapshot {
    /// Fails unless each edge, and all together, keep the rules: what began is what ended and what is there, causes sum
    /// to their sums, totals are the sums of the edges, and no edge is there twice.
    pub fn balance(&self) -> Result<()> {
        ensure!(self.schema == 1, "the schema is {}", self.schema);
        let mut sums = BTreeMap::new();
        let mut names = BTreeSet::new();
        for edge in &self.edges {
            edge.counts.balance().map_err(|rule| rule.context(format!("{edge:#?}")))?;
            for (name, count) in edge.counts.sums() {
                *sums.entry(name).or_default() += count;
            }
            let process = (&edge.process.kind, &edge.process.exe, &edge.process.comm);
            // Only where edges are folded by process does it make one.
            let pid = edge.process.pid.filter(|_| edge.process.kind == "process");
            let inside = (pid, &edge.process.container, &edge.process.pod);
            // A program without an executable goes by its name, which is part of no other edge's identity.
            let comm = if edge.process.exe.is_none() { process.2 } else { &None };
            let is_new = names.insert((
                process.0,
                process.1,
                comm,
                inside,
                edge.netns,
                &edge.role,
                edge.remote(),
                edge.local_port,
            ));
            ensure!(is_new, "an edge is there twice: {edge:#?}");
        }
        self.totals.balance().map_err(|rule| rule.context(format!("{:#?}", self.totals)))?;
        let totals = self.totals.sums();
        let differ: Vec<_> = totals
            .iter()
            .map(|(name, total)| (name, *total, sums.get(name).copied().unwrap_or(0)))
            .filter(|(_, total, sum)| total != sum)
            .collect();
        ensure!(differ.is_empty(), "totals are not the sums of the edges (name, total, sum): {differ:?}");
        Ok(())
    }

    /// What was lost; skipped runs aside, which lose nothing by themselves: what they did lose, counts show.
    pub fn lost(&self) -> BTreeMap<&str, u64> {
        let causes = self.losses.iter().filter(|(cause, lost)| *cause != "recursion" && **lost > 0);
        causes.map(|(cause, lost)| (cause.as_str(), *lost)).collect()
    }
}
