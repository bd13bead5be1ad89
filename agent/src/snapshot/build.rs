//! From the state to a snapshot.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use foldhash::HashMap;
use redial_common::tcp::{closed_by, failed_by};

use super::{
    SCHEMA, Snapshot,
    chain::Chains,
    distribution::seconds,
    edge::{ClosedBy, Counts, FailedBy},
    edges::{Edges, Seat, seats},
    host::{HostTables, Ports, pressure, scarcest},
    losses::{LeftOut, Losses},
    order::Order,
};
use crate::{
    enrich::role::Role,
    host::{namespace_reading::NamespaceReading, ports::PortUse},
    intake::limit::SelfLimit,
    kernel::status::ProbeStatus,
    state::{
        State,
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
pub fn build<'a>(
    frame: Frame<'_>,
    ended: Cow<'a, State>,
    live: Cow<'a, State>,
    name_of: &dyn Fn(IpAddr) -> Option<String>,
) -> Snapshot<'a> {
    let window_s = seconds(frame.window_ns);
    let mut totals = Tally::default();
    let mut tables = frame.tables.map(Tables::new);
    let mut chains = (ended.by() == By::Edge).then(Chains::default);
    let mut names = HashMap::default();
    let mut seats = seats(&ended, &live);
    let mut order = Order::with_capacity(seats.len());
    for seat in &mut seats {
        let row = seat.row(&ended, &live);
        let tally = row.tally();
        totals.merge(&tally);
        if let Some(tables) = &mut tables {
            tables.complete(seat, row.key, tally.counts.time_wait, || ended.hash(row.key));
        }
        if let Some(chains) = &mut chains {
            chains.add(row, &tally.counts);
        }
        row.each_address(|address| {
            if let Some(name) = name_of(address) {
                names.insert(address, name);
            }
        });
        order.add(&row, &tally);
    }
    if let Some(tables) = tables {
        tables.forecast(&mut seats, &ended, &live, window_s);
        tables.add_rest(&mut seats, &ended, &live);
    }
    let chains = chains.map(Chains::finish);
    let seats = order.sorted().map(|position| seats[position]).collect();
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
        chains,
        edges: Edges { ended, live, seats, names, window_s },
        repaired: frame.repaired,
        pressure: frame.tables.map(|tables| pressure(tables, window_s)),
        findings: None,
    }
}

/// The host's tables while they are joined with the edges.
struct Tables<'a> {
    time_wait: HashMap<EdgeHash, (Role, u64)>,
    ports: HashMap<(u32, SocketAddr), PortUse>,
    /// Sockets that went to TIME-WAIT, by the remote that they keep a port for, whatever the program.
    gone: HashMap<(u32, SocketAddr), u64>,
    namespaces: HashMap<u32, &'a NamespaceReading>,
}

impl<'a> Tables<'a> {
    fn new(host: &'a HostTables<'a>) -> Self {
        let namespaces = host.last.namespaces.iter().map(|namespace| (namespace.netns, namespace)).collect();
        let time_wait = host.time_wait.iter().map(|(&edge, &held)| (edge, held)).collect();
        let ports = scarcest(host.last).into_iter().collect();
        Self { time_wait, ports, gone: HashMap::default(), namespaces }
    }

    /// Writes what the tables say of an edge, of which `went` sockets went to TIME-WAIT.
    fn complete(&mut self, seat: &mut Seat, key: &EdgeKey, went: u64, hash: impl FnOnce() -> EdgeHash) {
        let held = if self.time_wait.is_empty() { None } else { self.time_wait.remove(&hash()) };
        let held = held.map_or(0, |(_, held)| held);
        // Edges that are folded over namespaces have none.
        let was_read = key.netns == 0 || self.namespaces.contains_key(&key.netns);
        seat.time_wait = was_read.then_some(held);
        if let Place::Remote(addr, port) = key.place
            && key.role == Role::Client
            && was_read
            && let Some(namespace) = self.namespaces.get(&key.netns)
        {
            // Those that found no room in the reading are not unused.
            let all = namespace.ports.as_ref().filter(|ports| ports.left_out() == 0);
            let unused = || all.map(|ports| PortUse { used: 0, available: ports.capacity() });
            let remote = (key.netns, SocketAddr::new(addr, port));
            seat.ports = self.ports.get(&remote).copied().or_else(unused).map(Ports::new);
            if went > 0 {
                *self.gone.entry(remote).or_default() += went;
            }
        }
    }

    /// Says of edges when their remote has no ports left, by what all edges to it leave behind.
    fn forecast(&self, seats: &mut [Seat], ended: &State, live: &State, window_s: f64) {
        if self.gone.is_empty() || window_s <= 0.0 {
            return;
        }
        for seat in seats {
            let key = seat.row(ended, live).key;
            if let Some(ports) = seat.ports
                && let Place::Remote(addr, port) = key.place
                && let Some(went) = self.gone.get(&(key.netns, SocketAddr::new(addr, port)))
                && let Some(rules) = self.namespaces.get(&key.netns).and_then(|one| one.ports.as_ref())
            {
                seat.ports = Some(ports.with_churn(*went as f64 / window_s, rules.held(addr)));
            }
        }
    }

    /// What belongs to edges that have no row of their own any more is in those for all others.
    fn add_rest(self, seats: &mut [Seat], ended: &State, live: &State) {
        let mut rest: HashMap<Role, u64> = HashMap::default();
        for (role, held) in self.time_wait.into_values() {
            *rest.entry(role).or_default() += held;
        }
        if rest.is_empty() {
            return;
        }
        for seat in seats {
            let key = seat.row(ended, live).key;
            if key.is_other
                && let Some(held) = rest.remove(&key.role)
            {
                seat.time_wait = Some(seat.time_wait.unwrap_or(0) + held);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redial_common::{
        record::conn::{Conn, flag},
        tcp::{family, role, state},
    };

    use super::*;
    use crate::enrich::{Identity, Owner};

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
        let snapshot = build(frame(), Cow::Owned(ended), Cow::Owned(live), &|_| Some("web".to_owned()));
        assert_eq!(snapshot.edges.len(), 1);
        let edge = snapshot.edges.iter().next().unwrap();
        let counts = &edge.counts;
        assert_eq!((counts.opened, counts.closed, counts.open, counts.exchanges), (2, 1, 1, Some(8)));
        assert_eq!((counts.opened_per_s, counts.exchanges_per_connection), (Some(1.0), Some(4.0)));
        assert_eq!(counts.reuse_ratio, Some(0.75));
        assert_eq!(snapshot.totals, *counts);
        assert_eq!(edge.remote.as_ref().unwrap().name.as_deref(), Some("web"));
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let mut ended = State::new(10, By::Edge);
        ended.ended(&conn(flag::NO_OFFSETS), &identity(Owner::NotAccepted));
        let snapshot = build(frame(), Cow::Owned(ended), Cow::Owned(State::new(10, By::Edge)), &|_| None);
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
