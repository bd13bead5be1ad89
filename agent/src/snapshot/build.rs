//! From the state to a snapshot.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

use redial_common::tcp::{closed_by, failed_by};

use super::{
    SCHEMA, Snapshot,
    chain::chains,
    distribution::{Distribution, seconds},
    edge::{ClosedBy, Counts, Edge, FailedBy, InFlight, OwnerKind, Peer, Process, Remote},
    host::{HostTables, Ports, pressure, scarcest},
    losses::{LeftOut, Losses},
};
use crate::{
    enrich::{Owner, role::Role},
    host::ports::PortUse,
    intake::limit::SelfLimit,
    kernel::status::ProbeStatus,
    state::{
        State, edge,
        key::{By, EdgeKey, Place},
        tally::Tally,
        time_wait::EdgeHash,
    },
};

/// What a snapshot holds beside the edges.
pub struct Frame<'a> {
    /// Length of the window, ns.
    pub window_ns: u64,
    /// This host's name.
    pub host: Option<String>,
    /// How the probes stand.
    pub probes: Vec<ProbeStatus>,
    /// How the limits worked.
    pub self_limit: Option<SelfLimit>,
    /// What is missing.
    pub losses: Losses,
    /// What was left out.
    pub left_out: LeftOut,
    /// Connections whose end was missed.
    pub repaired: u64,
    /// The host's tables, if they were read.
    pub tables: Option<&'a HostTables<'a>>,
}

/// The snapshot of connections that ended (`ended`) and that live (`live`). `name_of` names addresses.
pub fn build(frame: Frame<'_>, ended: &State, live: &State, name_of: &dyn Fn(IpAddr) -> Option<String>) -> Snapshot {
    let window_s = seconds(frame.window_ns);
    let mut totals = Tally::default();
    let mut edges = Vec::new();
    let mut tables = frame.tables.map(Tables::new);
    let mut add = |key: &EdgeKey, totals_of_edge: &edge::Edge| {
        totals.merge(&totals_of_edge.tally);
        let mut edge = edge(key, totals_of_edge, window_s, name_of);
        if let Some(tables) = &mut tables {
            tables.complete(&mut edge, key, ended.hash(key), window_s);
        }
        edges.push(edge);
    };
    for (key, edge) in ended.edges() {
        match live.get(key) {
            None => add(key, edge),
            Some(more) => {
                let mut both = edge.clone();
                both.merge(more);
                add(key, &both);
            }
        }
    }
    live.edges().filter(|(key, _)| ended.get(key).is_none()).for_each(|(key, edge)| add(key, edge));
    if let Some(tables) = tables {
        tables.add_rest(&mut edges);
    }
    edges.sort_by_cached_key(|edge| {
        let process = (edge.process.exe.clone(), edge.process.comm.clone(), edge.process.kind);
        let remote = edge.remote.as_ref().map(|remote| (remote.addr, remote.port));
        (
            Reverse((edge.counts.opened, edge.counts.failed, edge.counts.open)),
            process,
            edge.role,
            remote,
            edge.local_port,
            edge.netns,
        )
    });
    Snapshot {
        schema: SCHEMA,
        window_s,
        host: frame.host,
        probes: frame.probes,
        self_limit: frame.self_limit,
        records: ended.records,
        folded: ended.folded,
        losses: frame.losses,
        left_out: frame.left_out,
        edges_folded: ended.edges_folded + live.edges_folded,
        totals: Counts { time_wait: frame.tables.map(HostTables::time_wait), ..counts(&totals, window_s) },
        chains: (ended.by() == By::Edge).then(|| chains(&edges)),
        edges,
        repaired: frame.repaired,
        pressure: frame.tables.map(|tables| pressure(tables, window_s)),
        findings: None,
    }
}

/// The host's tables while they are joined with the edges.
struct Tables<'a> {
    read: BTreeSet<u32>,
    time_wait: HashMap<EdgeHash, (Role, u64)>,
    ports: HashMap<(u32, SocketAddr), PortUse>,
    host: &'a HostTables<'a>,
}

impl<'a> Tables<'a> {
    fn new(host: &'a HostTables<'a>) -> Self {
        let read = host.last.namespaces.iter().map(|namespace| namespace.netns).collect();
        Self { read, time_wait: host.time_wait.clone(), ports: scarcest(host.last), host }
    }

    /// Writes what the tables say of an edge.
    fn complete(&mut self, edge: &mut Edge, key: &EdgeKey, hash: EdgeHash, window_s: f64) {
        let held = self.time_wait.remove(&hash).map_or(0, |(_, held)| held);
        // Edges that are folded over namespaces have none.
        let was_read = key.netns == 0 || self.read.contains(&key.netns);
        edge.counts.time_wait = was_read.then_some(held);
        if let Place::Remote(addr, port) = key.place
            && key.role == Role::Client
            && let Some(namespace) = self.host.last.namespace(key.netns)
        {
            let unused = || namespace.ports.as_ref().map(|ports| PortUse { used: 0, available: ports.capacity() });
            let ports = self.ports.get(&(key.netns, SocketAddr::new(addr, port))).copied().or_else(unused);
            let per_s = if window_s > 0.0 { edge.counts.time_wait_inferred as f64 / window_s } else { 0.0 };
            edge.ports = ports.map(|ports| Ports::new(ports, per_s));
        }
    }

    /// What belongs to edges that have no row of their own any more is in those for all others.
    fn add_rest(self, edges: &mut [Edge]) {
        for (role, held) in self.time_wait.into_values() {
            let other = edges.iter_mut().find(|edge| edge.process.kind == OwnerKind::Other && edge.role == role);
            if let Some(other) = other {
                other.counts.time_wait = Some(other.counts.time_wait.unwrap_or(0) + held);
            }
        }
    }
}

/// `part` per `whole`; `None` when there is no whole.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A tally as it is shown, over a window in seconds.
pub fn counts(tally: &Tally, window_s: f64) -> Counts {
    let counted = &tally.counts;
    let watched = |count: u64| (counted.watched > 0).then_some(count);
    let measured = |count: u64| (counted.measured > 0).then_some(count);
    let closed = |code: u8| counted.closed_by[usize::from(code)];
    let failed = |code: u8| counted.failed_by[usize::from(code)];
    Counts {
        attempts: tally.attempts(),
        opened: counted.opened,
        closed: counted.closed(),
        failed: counted.failed(),
        open: tally.open,
        open_at_start: counted.open_at_start,
        unused: watched(counted.unused),
        opened_per_s: (window_s > 0.0).then(|| counted.opened as f64 / window_s),
        exchanges: watched(counted.exchanges),
        exchanges_per_connection: ratio(counted.exchanges, counted.watched),
        reuse_ratio: ratio(counted.exchanges.saturating_sub(counted.first_exchanges), counted.exchanges),
        closed_by: ClosedBy {
            local: closed(closed_by::LOCAL),
            remote: closed(closed_by::REMOTE),
            reset_local: closed(closed_by::RESET_LOCAL),
            reset_remote: closed(closed_by::RESET_REMOTE),
            timeout: closed(closed_by::TIMEOUT),
            aborted: closed(closed_by::ABORTED),
            unknown: closed(closed_by::UNKNOWN),
        },
        failed_by: FailedBy {
            refused: failed(failed_by::REFUSED),
            timed_out: failed(failed_by::TIMED_OUT),
            reset: failed(failed_by::RESET),
            unreachable: failed(failed_by::UNREACHABLE),
            no_ports: failed(failed_by::NO_PORTS),
            cancelled: failed(failed_by::CANCELLED),
            denied: failed(failed_by::DENIED),
            other: failed(failed_by::OTHER),
        },
        time_wait: None,
        time_wait_inferred: counted.time_wait,
        bytes_sent: measured(counted.bytes_sent),
        bytes_received: measured(counted.bytes_received),
        retransmits: measured(counted.retransmits),
    }
}

fn process(key: &EdgeKey, edge: &edge::Edge) -> Process {
    Process {
        kind: match &key.owner {
            _ if key.is_other => OwnerKind::Other,
            Some(_) if key.pid.is_some() => OwnerKind::Process,
            Some(owner) => OwnerKind::from(owner),
            None if key.name.is_some() => OwnerKind::Program,
            None => OwnerKind::Any,
        },
        exe: match &key.owner {
            _ if key.is_other => Some("~other".to_owned()),
            Some(Owner::Executable(exe)) => Some(exe.to_string()),
            Some(Owner::Named(_) | Owner::Kernel | Owner::NotAccepted | Owner::Unknown) | None => None,
        },
        comm: key.name.as_ref().or(edge.comm.as_ref().filter(|_| key.owner.is_some())).map(ToString::to_string),
        container: key.container.as_ref().map(|container| container.id.to_string()),
        pod: match &key.container {
            Some(container) => container.pod_uid.as_ref().map(ToString::to_string),
            None => key.pod.as_ref().map(ToString::to_string),
        },
        pids: Some(edge.pids.count()).filter(|&count| count > 0),
        pid: key.pid.or_else(|| edge.pids.only()),
    }
}

fn edge(key: &EdgeKey, edge: &edge::Edge, window_s: f64, name_of: &dyn Fn(IpAddr) -> Option<String>) -> Edge {
    let turns = Distribution::of(&edge.turns);
    let server = key.role == Role::Server;
    let tally = &edge.tally;
    Edge {
        process: process(key, edge),
        netns: (key.netns != 0).then_some(key.netns),
        role: key.role,
        remote: match key.place {
            Place::Remote(addr, port) => Some(Remote { addr, port, name: name_of(addr) }),
            Place::LocalPort(_) | Place::Any => None,
        },
        ports: None,
        local_port: match key.place {
            Place::LocalPort(port) => Some(port),
            Place::Remote(..) | Place::Any => None,
        },
        peers: server.then(|| {
            let peers = edge.peers.top().into_iter();
            peers
                .map(|peer| Peer { addr: peer.address, name: name_of(peer.address), connections: peer.connections() })
                .collect()
        }),
        counts: counts(tally, window_s),
        lifetime_s: Distribution::of(&edge.lifetime),
        connect_s: Distribution::of(&edge.connect),
        idle_before_reuse_s: Distribution::of(&edge.idle_before_reuse),
        idle_at_close_s: Distribution::of(&edge.idle_at_close),
        first_response_s: Distribution::of(&edge.first_response),
        reused_response_s: if server { None } else { turns },
        service_s: if server { turns } else { None },
        in_flight: (tally.counts.timed > 0 && window_s > 0.0)
            .then(|| InFlight { mean: seconds(tally.counts.busy_ns) / window_s, max: None }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redial_common::{
        record::conn::{Conn, flag},
        tcp::{family, role, state},
    };

    use super::*;
    use crate::enrich::Identity;

    fn frame() -> Frame<'static> {
        Frame {
            window_ns: 2_000_000_000,
            host: Some("host".to_owned()),
            probes: Vec::new(),
            self_limit: None,
            losses: Losses::default(),
            left_out: LeftOut::default(),
            repaired: 0,
            tables: None,
        }
    }

    fn identity(owner: Owner) -> Identity {
        Identity { owner, pid: None, comm: None, container: None }
    }

    fn conn(flags: u32) -> Conn {
        Conn {
            flags,
            start_ns: 1,
            established_ns: 2,
            end_ns: 3,
            exchanges: 2,
            family: family::INET,
            role: role::CLIENT,
            state: state::ESTABLISHED,
            remote_port: 80,
            ..Conn::ZERO
        }
    }

    #[test]
    fn ended_and_live_are_one_edge() {
        let (mut ended, mut live) = (State::new(10, By::Edge), State::new(10, By::Edge));
        let who = identity(Owner::Executable(Arc::from("/bin/a")));
        ended.ended(&conn(flag::TURNS_WATCHED | flag::FINAL_READ), &who);
        live.live(&Conn { end_ns: 0, exchanges: 6, ..conn(flag::TURNS_WATCHED) }, &who);
        let snapshot = build(frame(), &ended, &live, &|_| Some("web".to_owned()));
        assert_eq!(snapshot.edges.len(), 1);
        let counts = &snapshot.edges[0].counts;
        assert_eq!((counts.opened, counts.closed, counts.open, counts.exchanges), (2, 1, 1, Some(8)));
        assert_eq!((counts.opened_per_s, counts.exchanges_per_connection), (Some(1.0), Some(4.0)));
        assert_eq!(counts.reuse_ratio, Some(0.75));
        assert_eq!(snapshot.totals, *counts);
        assert_eq!(snapshot.edges[0].remote.as_ref().unwrap().name.as_deref(), Some("web"));
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let mut ended = State::new(10, By::Edge);
        ended.ended(&conn(flag::NO_OFFSETS), &identity(Owner::NotAccepted));
        let snapshot = build(frame(), &ended, &State::new(10, By::Edge), &|_| None);
        let json = serde_json::to_value(&snapshot).unwrap();
        let edge = &json["edges"][0];
        for name in ["exchanges", "exchanges_per_connection", "reuse_ratio", "unused", "bytes_sent", "retransmits"] {
            assert!(edge[name].is_null(), "{name}");
        }
        for name in ["lifetime_s", "connect_s"] {
            assert_eq!(edge[name]["count"], 1, "{name}");
        }
        assert!(edge["first_response_s"].is_null() && edge["time_wait"].is_null() && edge["in_flight"].is_null());
        assert!(edge["process"]["exe"].is_null());
        assert!(edge["process"]["pids"].is_null() && json["findings"].is_null());
        assert_eq!(edge["process"]["kind"], "not_accepted");
    }
}
