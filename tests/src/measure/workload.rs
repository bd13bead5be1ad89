//! Connections of many programs in many containers, made up, the same on every run.

use std::sync::Arc;

use redial::enrich::{
    Identity, Owner,
    container::{Container, Runtime},
};
use redial_common::{
    record::conn::{Conn, flag},
    tcp::{closed_by, failed_by, family, role, state},
};
use serde::Deserialize;

/// Programs, each of which runs in every container and on the host.
const PROGRAMS: u32 = 16;

/// Containers; the last place is the host's.
const CONTAINERS: u32 = 50;

/// Every so many-th edge is a server's.
const SERVER_EVERY: u32 = 4;

/// What happens on an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Attempts that are refused; all edges are clients'.
    Refused,
    /// Connections with one to eight exchanges; a quarter of the edges are servers'.
    Exchanges,
}

/// The owners and edges.
pub struct Workload {
    kind: Kind,
    /// By program and container.
    owners: Vec<(Identity, u32)>,
    /// ns of CLOCK_MONOTONIC, as if it passed.
    now_ns: u64,
    random: fastrand::Rng,
}

impl Workload {
    /// Nothing has happened yet. The host's network namespace is `host_netns`.
    pub fn new(kind: Kind, host_netns: u32) -> Self {
        let owner = |n: u32| {
            let (program, place) = (n % PROGRAMS, n / PROGRAMS);
            let identity = Identity {
                owner: Owner::Executable(format!("/opt/services/service-{program}/bin/serve").into()),
                pid: Some(1_000 + n),
                comm: Some(format!("service-{program}").into()),
                container: (place < CONTAINERS).then(|| container(place)),
            };
            (identity, if place < CONTAINERS { 4_026_533_000 + place } else { host_netns })
        };
        let owners = (0..PROGRAMS * (CONTAINERS + 1)).map(owner).collect();
        Self { kind, owners, now_ns: 1_000_000_000_000, random: fastrand::Rng::with_seed(17) }
    }

    /// A number below `limit`, by chance.
    pub fn any(&mut self, limit: u32) -> u32 {
        self.random.u32(..limit)
    }

    /// The next connection of edge number `edge`, and whose it is. `lives`: it has not ended.
    pub fn connection(&mut self, edge: u32, lives: bool) -> (Conn, &Identity) {
        self.now_ns += 10_000;
        let (identity, netns) = &self.owners[edge as usize % self.owners.len()];
        let [_, a, b, c] = edge.to_be_bytes();
        let random = &mut self.random;
        // Spread evenly over sizes, from about 16 µs to about 1 s, as far as latencies are.
        let mut duration = || random.u64(1 << 13..1 << 14) << random.u32(1..16);
        let (connect, turn, idle, rest) = (duration(), duration(), duration(), duration());
        let exchanges = 1 + (turn as u32 >> 3) % 8;
        let mut conn = Conn {
            id: self.now_ns,
            flags: flag::TURNS_WATCHED | flag::FINAL_READ,
            tgid: identity.pid.unwrap_or(0),
            netns: *netns,
            family: family::INET,
            start_ns: self.now_ns,
            end_ns: self.now_ns + connect,
            remote_port: 443,
            local_port: 40_000,
            ..Conn::ZERO
        };
        conn.local[..4].copy_from_slice(&[10, 200, 0, 1]);
        conn.remote[..4].copy_from_slice(&[10, a, b, c]);
        if self.kind == Kind::Refused {
            (conn.role, conn.state, conn.failed_by) = (role::CLIENT, state::SYN_SENT, failed_by::REFUSED);
            return (conn, identity);
        }
        (conn.role, conn.state, conn.closed_by) = (role::CLIENT, state::FIN_WAIT2, closed_by::LOCAL);
        if edge.is_multiple_of(SERVER_EVERY) {
            (conn.role, conn.state, conn.closed_by) = (role::SERVER, state::LAST_ACK, closed_by::REMOTE);
            conn.local_port = 1_024 + (edge / SERVER_EVERY % 60_000) as u16;
            conn.remote[3] = (turn % 40) as u8;
        }
        conn.established_ns = conn.start_ns + connect;
        conn.exchanges = exchanges;
        conn.first_turn_ns = turn;
        for _ in 1..exchanges {
            conn.reused.add(turn / 2 + duration() / 4);
            conn.idle.add(idle + duration());
        }
        conn.busy_ns = turn + conn.reused.sum;
        conn.last_send_ns = conn.established_ns + conn.busy_ns + conn.idle.sum;
        conn.last_recv_ns = conn.last_send_ns;
        conn.bytes_sent = 100 * u64::from(exchanges);
        conn.bytes_received = 5_000 * u64::from(exchanges);
        (conn.closing_ns, conn.end_ns) = (conn.last_recv_ns + rest, conn.last_recv_ns + rest);
        if lives {
            (conn.closing_ns, conn.end_ns, conn.closed_by, conn.state) = (0, 0, closed_by::NONE, state::ESTABLISHED);
        }
        (conn, identity)
    }
}

fn container(n: u32) -> Arc<Container> {
    let pod_uid = Some(format!("{n:08x}-0000-4000-8000-000000000000").into());
    Arc::new(Container {
        id: format!("{:016x}{n:048x}", u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)).into(),
        runtime: Runtime::Containerd,
        pod_uid,
    })
}
