//! From the state to a snapshot.

use std::{cmp::Reverse, net::IpAddr};

use redial_common::tcp::{closed_by, failed_by};

use super::{
    SCHEMA, Snapshot,
    distribution::{Distribution, seconds},
    edge::{ClosedBy, Counts, Edge, FailedBy, InFlight, OwnerKind, Peer, Process, Remote},
    losses::{LeftOut, Losses},
};
use crate::{
    enrich::{Owner, role::Role},
    kernel::status::ProbeStatus,
    state::{
        State, edge,
        key::{EdgeKey, Place},
        tally::Tally,
    },
};

/// What a snapshot holds beside the edges.
pub struct Frame<'a> {
    /// Length of the window, ns.
    pub window_ns: u64,
    /// This host's name.
    pub host: Option<String>,
    /// How the probes stand.
    pub probes: &'a [ProbeStatus],
    /// What is missing.
    pub losses: Losses,
    /// What was left out.
    pub left_out: LeftOut,
    /// Connections whose end was missed.
    pub repaired: u64,
}

/// The snapshot of connections that ended (`ended`) and that live (`live`). `name_of` names addresses.
pub fn build<'n>(
    frame: Frame<'_>,
    ended: &State,
    live: &State,
    name_of: &dyn Fn(IpAddr) -> Option<&'n str>,
) -> Snapshot {
    let window_s = seconds(frame.window_ns);
    let mut totals = Tally::default();
    let mut edges = Vec::new();
    let mut add = |key: &EdgeKey, totals_of_edge: &edge::Edge| {
        totals.merge(&totals_of_edge.tally);
        edges.push(edge(key, totals_of_edge, window_s, name_of));
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
        probes: frame.probes.to_vec(),
        losses: frame.losses,
        left_out: frame.left_out,
        edges_folded: ended.edges_folded + live.edges_folded,
        totals: counts(&totals, window_s),
        edges,
        repaired: frame.repaired,
        chains: None,
        findings: None,
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
        kind: key.owner.as_ref().map_or(OwnerKind::Other, OwnerKind::from),
        exe: match &key.owner {
            Some(Owner::Executable(exe)) => Some(exe.to_string()),
            Some(Owner::Named(_) | Owner::Kernel | Owner::NotAccepted | Owner::Unknown) => None,
            None => Some("~other".to_owned()),
        },
        comm: edge.comm.as_ref().map(ToString::to_string),
        container: key.container.as_ref().map(ToString::to_string),
        pod: None,
        pids: Some(edge.pids.count()).filter(|&count| count > 0),
        pid: edge.pids.only(),
    }
}

fn edge<'n>(key: &EdgeKey, edge: &edge::Edge, window_s: f64, name_of: &dyn Fn(IpAddr) -> Option<&'n str>) -> Edge {
    let name = |addr| name_of(addr).map(str::to_owned);
    let turns = Distribution::of(&edge.turns);
    let server = key.role == Role::Server;
    let tally = &edge.tally;
    Edge {
        process: process(key, edge),
        netns: (key.netns != 0).then_some(key.netns),
        role: key.role,
        remote: match key.place {
            Place::Remote(addr, port) => Some(Remote { addr, port, name: name(addr) }),
            Place::LocalPort(_) | Place::Any => None,
        },
        local_port: match key.place {
            Place::LocalPort(port) => Some(port),
            Place::Remote(..) | Place::Any => None,
        },
        peers: server.then(|| {
            let peers = edge.peers.top().into_iter();
            peers
                .map(|peer| Peer { addr: peer.address, name: name(peer.address), connections: peer.connections() })
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
            probes: &[],
            losses: Losses::default(),
            left_out: LeftOut::default(),
            repaired: 0,
        }
    }

    fn identity(owner: Owner) -> Identity {
        Identity { owner, pid: None, comm: None }
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
        let (mut ended, mut live) = (State::new(10), State::new(10));
        let who = identity(Owner::Executable(Arc::from("/bin/a")));
        ended.ended(&conn(flag::TURNS_WATCHED | flag::FINAL_READ), &who);
        live.live(&Conn { end_ns: 0, exchanges: 6, ..conn(flag::TURNS_WATCHED) }, &who);
        let snapshot = build(frame(), &ended, &live, &|_| Some("web"));
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
        let mut ended = State::new(10);
        ended.ended(&conn(flag::NO_OFFSETS), &identity(Owner::NotAccepted));
        let snapshot = build(frame(), &ended, &State::new(10), &|_| None);
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
