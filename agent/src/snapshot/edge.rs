//! One edge as it is shown: the names here are the names in JSON.

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

use super::{distribution::Distribution, host::Ports};
use crate::enrich::{Owner, role::Role};

/// How established connections ended; sums to `closed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClosedBy {
    /// Our FIN went before theirs came.
    pub local: u64,
    /// Their FIN came first.
    pub remote: u64,
    /// We sent RST before any FIN.
    pub reset_local: u64,
    /// They sent RST before any FIN.
    pub reset_remote: u64,
    /// The kernel gave up on an unanswering peer.
    pub timeout: u64,
    /// Another process destroyed the socket.
    pub aborted: u64,
    /// The kernel did not tell.
    pub unknown: u64,
}

impl ClosedBy {
    /// Every way with its name and count.
    pub fn each(&self) -> [(&'static str, u64); 7] {
        [
            ("local", self.local),
            ("remote", self.remote),
            ("reset_local", self.reset_local),
            ("reset_remote", self.reset_remote),
            ("timeout", self.timeout),
            ("aborted", self.aborted),
            ("unknown", self.unknown),
        ]
    }
}

/// Why attempts failed; sums to `failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailedBy {
    /// ECONNREFUSED.
    pub refused: u64,
    /// ETIMEDOUT.
    pub timed_out: u64,
    /// ECONNRESET.
    pub reset: u64,
    /// EHOSTUNREACH, ENETUNREACH and their like.
    pub unreachable: u64,
    /// EADDRNOTAVAIL: no local port left.
    pub no_ports: u64,
    /// The application closed while connecting.
    pub cancelled: u64,
    /// EACCES or EPERM.
    pub denied: u64,
    /// Anything else.
    pub other: u64,
}

/// The counters of an edge, or of all edges together. What was not measured is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Opened, failed and still connecting.
    pub attempts: u64,
    /// Reached ESTABLISHED in the window.
    pub opened: u64,
    /// Were established and ended.
    pub closed: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Established now.
    pub open: u64,
    /// Were there when the window began: with `opened` they are `closed` and `open`.
    pub open_at_start: u64,
    /// Closed without an exchange.
    pub unused: Option<u64>,
    /// Opened per second.
    pub opened_per_s: Option<f64>,
    /// Answered turns, of the connections whose turns were watched.
    pub exchanges: Option<u64>,
    /// Those per connection.
    pub exchanges_per_connection: Option<f64>,
    /// The share of exchanges that were not their connection's first.
    pub reuse_ratio: Option<f64>,
    /// How connections ended.
    pub closed_by: ClosedBy,
    /// Why attempts failed.
    pub failed_by: FailedBy,
    /// Sockets in TIME-WAIT now; `None` where the kernel's table was not read.
    pub time_wait: Option<u64>,
    /// Ends that imply a TIME-WAIT socket, held or not by now.
    pub time_wait_inferred: u64,
    /// Payload bytes that peers acknowledged, of the connections whose end was read.
    pub bytes_sent: Option<u64>,
    /// Payload bytes received.
    pub bytes_received: Option<u64>,
    /// Segments sent again.
    pub retransmits: Option<u64>,
}

/// Whose an edge is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    /// A program's.
    Program,
    /// The kernel's own.
    Kernel,
    /// Nobody's: no process accepted.
    NotAccepted,
    /// Not known.
    #[default]
    Unknown,
    /// Of all that found no room.
    Other,
    /// One process's: edges are folded by process.
    Process,
    /// Of whatever programs: edges are folded over them.
    Any,
}

impl From<&Owner> for OwnerKind {
    fn from(owner: &Owner) -> Self {
        match owner {
            Owner::Executable(_) | Owner::Named(_) => Self::Program,
            Owner::Kernel => Self::Kernel,
            Owner::NotAccepted => Self::NotAccepted,
            Owner::Unknown => Self::Unknown,
        }
    }
}

impl OwnerKind {
    /// What is shown where there is no program to name.
    pub fn placeholder(self) -> Option<&'static str> {
        match self {
            Self::Program | Self::Process | Self::Other => None,
            Self::Any => Some("*"),
            Self::Kernel => Some("(kernel)"),
            Self::NotAccepted => Some("(not accepted)"),
            Self::Unknown => Some("(unknown)"),
        }
    }
}

/// The program of an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Whose it is.
    pub kind: OwnerKind,
    /// Its executable; `~other` for the edge of all that found no room.
    pub exe: Option<Arc<str>>,
    /// The latest name of a process of it.
    pub comm: Option<Arc<str>>,
    /// The id of its container; `None` on the host and when not known.
    pub container: Option<Arc<str>>,
    /// The uid of its pod.
    pub pod: Option<Arc<str>>,
    /// How many processes; `None` where none was seen.
    pub pids: Option<u64>,
    /// The process, when there is one.
    pub pid: Option<u32>,
}

/// The remote of a client's edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remote {
    /// Its address.
    pub addr: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its name in the hosts file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One peer of a server's edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its address.
    pub addr: IpAddr,
    /// Its name in the hosts file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many connections it has had at least; exact while the edge has few peers.
    pub connections: u64,
}

/// Connections within a turn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct InFlight {
    /// Time within turns that are over, per time of the window.
    pub mean: f64,
    /// The most at one time; not sampled by this version.
    pub max: Option<f64>,
}

/// One edge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edge {
    /// Who.
    pub process: Process,
    /// Inode number of the network namespace; `None` when not known.
    pub netns: Option<u32>,
    /// Which end this host is.
    pub role: Role,
    /// The far end; clients.
    pub remote: Option<Remote>,
    /// The own port; servers.
    pub local_port: Option<u16>,
    /// Who connects most; servers.
    pub peers: Option<Vec<Peer>>,
    /// Its ephemeral ports; clients, where the kernel's table was read.
    pub ports: Option<Ports>,
    /// The counters.
    #[serde(flatten)]
    pub counts: Counts,
    /// ESTABLISHED to CLOSED.
    pub lifetime_s: Option<Distribution>,
    /// SYN-SENT to ESTABLISHED; clients.
    pub connect_s: Option<Distribution>,
    /// Idle time before later turns.
    pub idle_before_reuse_s: Option<Distribution>,
    /// Idle time when the end began.
    pub idle_at_close_s: Option<Distribution>,
    /// Connecting and the first turn; clients.
    pub first_response_s: Option<Distribution>,
    /// Later turns; clients.
    pub reused_response_s: Option<Distribution>,
    /// Receive to send; servers.
    pub service_s: Option<Distribution>,
    /// Connections within a turn; `None` where turns are not watched.
    pub in_flight: Option<InFlight>,
}
