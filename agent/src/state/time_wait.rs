//! Whose the sockets in TIME-WAIT are: the kernel keeps no owner with them, so the tuples of the connections that left
//! them behind are remembered.

use std::{hash::BuildHasher as _, net::SocketAddr};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use redial_common::record::conn::Conn;

use crate::enrich::{address::address, role::Role};

/// How many tuples are remembered; one takes 25 to 50 bytes. As many as the kernel holds sockets in TIME-WAIT at most
/// (`tcp_max_tw_buckets`) on hosts of usual size.
pub const MAX_TUPLES: usize = 262_144;

/// How long a socket is in TIME-WAIT (TCP_TIMEWAIT_LEN), and a second for what comes late, ns.
const HELD_NS: u64 = 61_000_000_000;

/// A connection's end points, hashed: of 262,144 tuples two are taken for one once in 500 million hosts.
type TupleHash = u64;

/// An edge's identity, hashed.
pub type EdgeHash = u64;

#[derive(Clone, Copy, Debug)]
struct Remembered {
    edge: EdgeHash,
    role: Role,
    since_ns: u64,
}

/// The tuples.
#[derive(Clone, Debug)]
pub struct TimeWaits {
    tuples: HashMap<TupleHash, Remembered, RandomState>,
    hasher: RandomState,
    limit: usize,
    /// Tuples that had to be forgotten while their sockets may still have been there.
    pub forgotten: u64,
}

impl TimeWaits {
    /// None yet, and never more than `limit`.
    pub fn new(limit: usize) -> Self {
        Self { tuples: HashMap::default(), hasher: RandomState::default(), limit: limit.max(2), forgotten: 0 }
    }

    /// Remembers that the end of `conn`, of `edge`, left a socket in TIME-WAIT behind.
    pub fn remember(&mut self, conn: &Conn, edge: EdgeHash) {
        let local = SocketAddr::new(address(conn.family, &conn.local), conn.local_port);
        let remote = SocketAddr::new(address(conn.family, &conn.remote), conn.remote_port);
        if self.tuples.len() >= self.limit {
            self.make_room(conn.end_ns);
        }
        let tuple = self.hash(conn.netns, local, remote);
        self.tuples.insert(tuple, Remembered { edge, role: Role::from_raw(conn.role), since_ns: conn.end_ns });
    }

    /// The edge that a socket in TIME-WAIT belongs to, and its role.
    pub fn edge_of(&self, netns: u32, local: SocketAddr, remote: SocketAddr) -> Option<(EdgeHash, Role)> {
        self.tuples.get(&self.hash(netns, local, remote)).map(|remembered| (remembered.edge, remembered.role))
    }

    fn hash(&self, netns: u32, local: SocketAddr, remote: SocketAddr) -> TupleHash {
        let end = |end: SocketAddr| (end.ip(), end.port());
        self.hasher.hash_one((netns, end(local), end(remote)))
    }

    /// Forgets what is over, and the older half of the rest if that is not a quarter.
    fn make_room(&mut self, now_ns: u64) {
        self.tuples.retain(|_, remembered| now_ns.saturating_sub(remembered.since_ns) < HELD_NS);
        if self.tuples.len() <= self.limit / 4 * 3 {
            return;
        }
        let mut times: Vec<u64> = self.tuples.values().map(|remembered| remembered.since_ns).collect();
        let middle = times.len() / 2;
        let (_, &mut cut, _) = times.select_nth_unstable(middle);
        let before = self.tuples.len();
        self.tuples.retain(|_, remembered| remembered.since_ns > cut);
        self.forgotten += (before - self.tuples.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use redial_common::tcp::family;

    use super::*;

    fn conn(port: u16, end_ns: u64) -> Conn {
        Conn {
            netns: 7,
            family: family::INET,
            local: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            remote: [10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            local_port: port,
            remote_port: 80,
            end_ns,
            ..Conn::ZERO
        }
    }

    fn edge_of(tuples: &TimeWaits, netns: u32, port: u16) -> Option<EdgeHash> {
        tuples
            .edge_of(netns, SocketAddr::from(([10, 0, 0, 1], port)), SocketAddr::from(([10, 0, 0, 2], 80)))
            .map(|found| found.0)
    }

    #[test]
    fn a_socket_belongs_to_the_edge_that_left_it() {
        let mut tuples = TimeWaits::new(10);
        tuples.remember(&conn(1, 5), 11);
        tuples.remember(&conn(2, 5), 22);
        assert_eq!((edge_of(&tuples, 7, 1), edge_of(&tuples, 7, 2)), (Some(11), Some(22)));
        assert_eq!((edge_of(&tuples, 8, 1), edge_of(&tuples, 7, 3)), (None, None));
        tuples.remember(&conn(1, 9), 33);
        assert_eq!(edge_of(&tuples, 7, 1), Some(33), "the port was used again");
    }

    #[test]
    fn room_is_made_of_what_is_over_and_then_of_the_oldest() {
        let mut tuples = TimeWaits::new(100);
        (0..100).for_each(|port| tuples.remember(&conn(port, u64::from(port)), 1));
        tuples.remember(&conn(100, HELD_NS + 50), 1);
        assert_eq!((tuples.tuples.len(), tuples.forgotten), (50, 0));
        (200..300).for_each(|port| tuples.remember(&conn(port, HELD_NS + u64::from(port)), 1));
        assert!(tuples.tuples.len() <= 100 && tuples.forgotten > 0);
        assert!(edge_of(&tuples, 7, 299).is_some() && edge_of(&tuples, 7, 99).is_none());
    }
}
