//! What `redial trace --format jsonl` prints, as far as the tests look at it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::snapshot::Counts;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Server,
}

/// An address as it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// IPv4 also for v4-mapped.
    pub addr: IpAddr,
    /// 0 where there is none.
    pub port: u16,
}

impl From<Endpoint> for SocketAddr {
    fn from(e: Endpoint) -> Self {
        Self::new(e.addr, e.port)
    }
}

/// A distribution. Times are seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Dist {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
}

/// A line about one connection. Times are seconds.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are redial's vocabulary, explained there")]
pub struct Record {
    pub event: String,
    pub id: String,
    pub start: String,
    pub end: Option<String>,
    pub role: Option<String>,
    pub family: Option<String>,
    pub local: Endpoint,
    pub remote: Endpoint,
    pub netns: Option<u64>,
    pub pid: Option<u32>,
    pub comm: Option<String>,
    pub acceptor_pid: Option<u32>,
    pub closer_pid: Option<u32>,
    pub closed_by: Option<String>,
    pub failed_by: Option<String>,
    pub error: Option<String>,
    pub connect_s: Option<f64>,
    pub lifetime_s: Option<f64>,
    pub first_send_s: Option<f64>,
    pub first_answer_s: Option<f64>,
    pub last_activity_s: Option<f64>,
    pub first_turn_s: Option<f64>,
    pub first_response_s: Option<f64>,
    pub reused_response_s: Option<Dist>,
    pub service_s: Option<Dist>,
    pub idle_before_reuse_s: Option<Dist>,
    pub idle_at_close_s: Option<f64>,
    pub busy_s: Option<f64>,
    pub exchanges: Option<u64>,
    pub unused: Option<bool>,
    pub bytes_sent: Option<u64>,
    pub bytes_received: Option<u64>,
    pub retransmits: Option<u64>,
    pub unanswered_retransmits: Option<u64>,
    pub srtt_s: Option<f64>,
    pub min_rtt_s: Option<f64>,
    pub keepalive: Option<bool>,
    pub keepalive_idle_s: Option<f64>,
    pub time_wait: Option<bool>,
    pub close_wait_s: Option<f64>,
    #[serde(default)]
    pub labels: Vec<String>,
}

impl Record {
    /// Whether the line is about this end.
    pub fn is(&self, role: Role) -> bool {
        let name = match role {
            Role::Client => "client",
            Role::Server => "server",
        };
        self.role.as_deref() == Some(name)
    }

    /// Whether the line has a label.
    pub fn labelled(&self, label: &str) -> bool {
        self.labels.iter().any(|l| l == label)
    }

    /// `start` as ns since 1970.
    pub fn start_ns(&self) -> Result<u64> {
        let time =
            humantime::parse_rfc3339(&self.start).with_context(|| format!("`start` is no time: {}", self.start))?;
        Ok(u64::try_from(time.duration_since(UNIX_EPOCH)?.as_nanos())?)
    }
}

/// The last line.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// Lines about connections printed before.
    pub records: u64,
    /// Connections without a line, counted in the totals.
    pub folded: u64,
    /// What was lost, by cause.
    pub losses: BTreeMap<String, u64>,
    /// What was left out on purpose.
    pub left_out: LeftOut,
    /// Sums over all connections.
    pub totals: Counts,
}

impl Summary {
    /// Connections that were not tracked, whatever the cause.
    pub fn untracked(&self) -> u64 {
        ["map_full", "map_no_memory", "map_error", "recursion"].iter().filter_map(|&c| self.losses.get(c)).sum()
    }
}

/// Connections left out on purpose.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct LeftOut {
    /// The agent's own.
    pub own: u64,
    /// By a filter.
    pub filtered: u64,
}

/// Everything that a run of the agent printed.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Ends of connections, in the order printed.
    pub records: Vec<Record>,
    /// Lines of `--opens`.
    pub opened: Vec<Record>,
    /// The last line.
    pub summary: Summary,
}

impl Trace {
    /// Reads the lines of one run: every one must be known, the summary last.
    pub fn parse(lines: &[String]) -> Result<Self> {
        let (last, lines) = lines.split_last().context("the agent printed nothing, not even a summary")?;
        let summary = serde_json::from_str(last).with_context(|| format!("the last line is no summary: {last}"))?;
        let mut trace = Self { records: Vec::new(), opened: Vec::new(), summary };
        for line in lines {
            let record: Record = serde_json::from_str(line).with_context(|| format!("not understood: {line}"))?;
            if record.event == "opened" { trace.opened.push(record) } else { trace.records.push(record) }
        }
        Ok(trace)
    }
}
