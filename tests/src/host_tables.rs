//! What the agent prints beside the edges as JSON, as far as the tests look at it: ports, chains, the host's tables.

use std::net::IpAddr;

use serde::Deserialize;

use crate::snapshot::Process;

/// Ephemeral ports of a client's edge.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Ports {
    /// Taken by this remote's connections.
    pub used: u32,
    /// Left for it.
    pub available: u32,
    /// When none is left, s.
    pub exhausted_in_s: Option<f64>,
}

/// A program that serves connections and opens others.
#[derive(Clone, Debug, Deserialize)]
pub struct Chain {
    /// The program.
    pub process: Process,
    /// Its network namespace.
    pub netns: Option<u64>,
    /// The connections that it serves.
    pub inbound: Side,
    /// The connections that it opens.
    pub outbound: Side,
    /// Connections opened behind per exchange in front.
    pub opened_per_inbound_exchange: Option<f64>,
}

/// One side of a chain.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Side {
    /// Connections that opened.
    pub opened: u64,
    /// Exchanges.
    pub exchanges: Option<u64>,
    /// Those per connection.
    pub exchanges_per_connection: Option<f64>,
}

/// Pressure on the host's tables.
#[derive(Clone, Debug, Deserialize)]
pub struct Pressure {
    /// The network namespaces.
    pub namespaces: Vec<Namespace>,
    /// How many could not be read.
    pub namespaces_unread: u64,
    /// Processes and their descriptors.
    pub descriptors: Vec<ProcessDescriptors>,
}

/// One network namespace.
#[derive(Clone, Debug, Deserialize)]
pub struct Namespace {
    /// Its inode number.
    pub netns: u64,
    /// Sockets in TIME-WAIT.
    pub time_wait: u64,
    /// How many the kernel keeps at most.
    pub time_wait_max: Option<u64>,
    /// Connections of the window that found no room in TIME-WAIT.
    pub time_wait_overflows: Option<u64>,
    /// Ephemeral ports for a remote that has none yet.
    pub ports: Option<u32>,
    /// Handshakes of the window that ended at a full accept queue.
    pub listen_overflows: Option<u64>,
    /// Its listeners.
    pub listeners: Vec<Listener>,
}

/// A listener and its accept queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Listener {
    /// Where it listens.
    pub addr: IpAddr,
    /// Its port.
    pub port: u16,
    /// Connections that wait to be accepted.
    pub queued: u32,
    /// How many may.
    pub max: u32,
}

/// A process's descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ProcessDescriptors {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: Option<String>,
    /// Open descriptors.
    pub open: u64,
    /// Its soft limit.
    pub limit: Option<u64>,
}

impl Pressure {
    /// What is said of the namespace with this inode number.
    pub fn namespace(&self, netns: u64) -> Option<&Namespace> {
        self.namespaces.iter().find(|one| one.netns == netns)
    }
}
