//! What the host's own tables hold, beside the edges: the names here are the names in JSON.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::Serialize;

use crate::{
    enrich::role::Role,
    host::{self, namespace_reading::NamespaceReading, ports::PortUse, reading::Reading},
    state::time_wait::EdgeHash,
};

/// How many processes are listed with their descriptors.
const MAX_PROCESSES: usize = 20;

/// What the kernel's tables held at the end of the window, joined with the edges.
pub struct HostTables<'a> {
    /// Those at its beginning.
    pub first: Option<&'a Reading>,
    /// Those at its end.
    pub last: &'a Reading,
    /// The only network namespace that is wanted.
    pub netns: Option<u32>,
    /// Sockets in TIME-WAIT, by the edge that they belong to.
    pub time_wait: HashMap<EdgeHash, (Role, u64)>,
    /// Processes and their descriptors.
    pub descriptors: Vec<ProcessDescriptors>,
}

impl HostTables<'_> {
    /// Sockets in TIME-WAIT that belong to edges.
    pub fn time_wait(&self) -> u64 {
        self.time_wait.values().map(|(_, held)| held).sum()
    }
}

/// Pressure on the host's tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// The network namespaces that could be read.
    pub namespaces: Vec<Namespace>,
    /// How many could not, or were too many.
    pub namespaces_unread: u64,
    /// The processes with edges that come nearest to their limit of descriptors.
    pub descriptors: Vec<ProcessDescriptors>,
}

/// One network namespace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Namespace {
    /// Its inode number.
    pub netns: u32,
    /// TCP sockets of all states.
    pub sockets: u64,
    /// Those in TIME-WAIT.
    pub time_wait: u64,
    /// How many more of them there are by the second, over the window.
    pub time_wait_growth_per_s: Option<f64>,
    /// How many the kernel keeps at most (`tcp_max_tw_buckets`).
    pub time_wait_max: Option<u64>,
    /// Connections of the window that should have gone to TIME-WAIT and found no room (`TCPTimeWaitOverflow`).
    pub time_wait_overflows: Option<u64>,
    /// Ephemeral ports that may be had for a remote that has none yet.
    pub ports: Option<u32>,
    /// Segments of handshakes that came to a full accept queue in the window, one again for each try (`ListenOverflows`).
    pub listen_overflows: Option<u64>,
    /// Those that a listener dropped for any cause, that one included (`ListenDrops`).
    pub listen_drops: Option<u64>,
    /// Its listeners, the fullest first.
    pub listeners: Vec<Listener>,
    /// Listeners that are not listed.
    pub listeners_left_out: u64,
    /// Connection tracking, where it is on and visible.
    pub conntrack: Option<Conntrack>,
}

/// A listener and its accept queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

impl Listener {
    /// How full its queue is.
    pub fn share(&self) -> f64 {
        f64::from(self.queued) / f64::from(self.max.max(1))
    }
}

/// The connection tracking table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Conntrack {
    /// Entries.
    pub count: u64,
    /// How many there may be.
    pub max: u64,
}

/// A process's descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessDescriptors {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: Option<String>,
    /// Open descriptors of all kinds.
    pub open: u64,
    /// Its soft limit; `None` when it has none.
    pub limit: Option<u64>,
}

impl ProcessDescriptors {
    /// How near it is to its limit.
    pub fn share(&self) -> f64 {
        self.limit.map_or(0.0, |limit| self.open as f64 / limit.max(1) as f64)
    }
}

/// Ephemeral ports of a client's edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ports {
    /// Taken by this remote's connections, those in TIME-WAIT included unless they may be replaced.
    pub used: u32,
    /// Left for it.
    pub available: u32,
    /// When none is left if the window's churn goes on; `None` when that does not come.
    pub exhausted_in_s: Option<f64>,
}

impl Ports {
    /// The ports of a remote.
    pub fn new(ports: PortUse) -> Self {
        Self { used: ports.used, available: ports.available, exhausted_in_s: None }
    }

    /// The same, where `per_s` connections to the remote leave a socket in TIME-WAIT by the second, which keeps its port
    /// for `held`: ports run out where more are kept in that time than there are.
    #[must_use]
    pub fn with_churn(self, per_s: f64, held: Duration) -> Self {
        let kept = per_s * held.as_secs_f64();
        let runs_out = kept > f64::from(self.used + self.available);
        Self { exhausted_in_s: runs_out.then(|| f64::from(self.available) / per_s), ..self }
    }
}

/// The tuple of each (namespace, remote) that has the fewest ports left: a host may have several addresses.
pub fn scarcest(reading: &Reading) -> HashMap<(u32, SocketAddr), PortUse> {
    let mut scarcest: HashMap<(u32, SocketAddr), PortUse> = HashMap::new();
    for namespace in &reading.namespaces {
        for (tuple, ports) in namespace.ports.iter().flat_map(host::ports::Ports::iter) {
            let remote = (namespace.netns, SocketAddr::new(tuple.remote, tuple.remote_port));
            let known = scarcest.entry(remote).or_insert(ports);
            if ports.available < known.available {
                *known = ports;
            }
        }
    }
    scarcest
}

/// The pressure that `tables` show over a window of `window_s` seconds.
pub fn pressure(tables: &HostTables<'_>, window_s: f64) -> Pressure {
    let first: BTreeMap<u32, &NamespaceReading> =
        tables.first.into_iter().flat_map(|first| &first.namespaces).map(|one| (one.netns, one)).collect();
    let wanted = tables.last.namespaces.iter().filter(|one| tables.netns.is_none_or(|netns| netns == one.netns));
    let mut descriptors = tables.descriptors.clone();
    descriptors.sort_by(|a, b| b.share().total_cmp(&a.share()).then(a.pid.cmp(&b.pid)));
    descriptors.truncate(MAX_PROCESSES);
    Pressure {
        namespaces: wanted.map(|one| namespace(one, first.get(&one.netns).copied(), window_s)).collect(),
        namespaces_unread: tables.last.unread.len() as u64 + tables.last.left_out,
        descriptors,
    }
}

fn namespace(last: &NamespaceReading, first: Option<&NamespaceReading>, window_s: f64) -> Namespace {
    let rise = |now: Option<u64>, then: Option<Option<u64>>| Some(now?.saturating_sub(then??));
    let before = first.map(|first| first.counters);
    let mut listeners: Vec<Listener> = last
        .listeners
        .list()
        .iter()
        .map(|one| Listener { addr: one.address.ip(), port: one.address.port(), queued: one.queued, max: one.max })
        .collect();
    listeners.sort_by(|a, b| b.share().total_cmp(&a.share()).then((a.port, a.addr).cmp(&(b.port, b.addr))));
    let grown = |first: &NamespaceReading| (last.time_wait as f64 - first.time_wait as f64) / window_s;
    Namespace {
        netns: last.netns,
        sockets: last.sockets,
        time_wait: last.time_wait,
        time_wait_growth_per_s: first.filter(|_| window_s > 0.0).map(grown),
        time_wait_max: last.time_wait_max,
        time_wait_overflows: rise(last.counters.time_wait_overflows, before.map(|c| c.time_wait_overflows)),
        ports: last.ports.as_ref().map(host::ports::Ports::capacity),
        listen_overflows: rise(last.counters.listen_overflows, before.map(|c| c.listen_overflows)),
        listen_drops: rise(last.counters.listen_drops, before.map(|c| c.listen_drops)),
        listeners,
        listeners_left_out: last.listeners.left_out(),
        conntrack: last.conntrack.map(|table| Conntrack { count: table.count, max: table.max }),
    }
}

/// Busiest first: what is listed when not all can be.
pub fn busiest(mut namespaces: Vec<&Namespace>) -> Vec<&Namespace> {
    namespaces.sort_by_key(|one| (Reverse(one.time_wait), Reverse(one.sockets), one.netns));
    namespaces
}
