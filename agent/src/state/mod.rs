//! Totals per edge, folded from records. No clock is read and nothing is opened here: time comes with the data.

pub mod binned;
pub mod edge;
pub mod histogram;
pub mod key;
pub mod peers;
pub mod pids;
pub mod tally;
pub mod time_wait;

use std::{hash::BuildHasher as _, net::SocketAddr};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use redial_common::{
    edge::{FoldKey, FoldTotals},
    record::conn::{Conn, flag},
};

use crate::enrich::{Identity, role::Role};
use edge::Edge;
use key::{By, EdgeKey, EdgeRef, Place};
use time_wait::{EdgeHash, MAX_TUPLES, TimeWaits};

/// The edges and what was counted on them.
///
/// At most so many edges are kept as the limit says; one takes 0.7 to 7 KB. When a new one finds no room, the eighth of all that was silent
/// for longest goes into one edge per role for all others: totals stay exact, and how many edges that took is counted.
#[derive(Clone, Debug)]
pub struct State {
    edges: IndexMap<EdgeKey, Edge, RandomState>,
    limit: usize,
    by: By,
    time_waits: TimeWaits,
    /// Records of single connections taken in.
    pub records: u64,
    /// Connections taken in as the kernel's totals.
    pub folded: u64,
    /// Edges that went into those for all others.
    pub edges_folded: u64,
}

impl State {
    /// No edges yet, and never more than `limit` (besides those for all others), told apart `by` this.
    pub fn new(limit: usize, by: By) -> Self {
        let time_waits = TimeWaits::new(MAX_TUPLES);
        Self { edges: IndexMap::default(), limit: limit.max(1), by, time_waits, records: 0, folded: 0, edges_folded: 0 }
    }

    /// What edges are told apart by.
    pub fn by(&self) -> By {
        self.by
    }

    /// Takes in a connection that ended.
    pub fn ended(&mut self, conn: &Conn, identity: &Identity) {
        self.records += 1;
        let key = EdgeRef::of_conn(conn, identity, self.by);
        if conn.has(flag::TIME_WAIT) {
            let edge = self.edges.hasher().hash_one(key);
            self.time_waits.remember(conn, edge);
        }
        self.edge(&key).add_ended(conn, identity);
    }

    /// Takes in a connection that lives. Meant for a state of live ones only, which a snapshot adds to the totals.
    pub fn live(&mut self, conn: &Conn, identity: &Identity) {
        // A row that has ended already is counted by its record.
        if conn.end_ns == 0 {
            self.edge(&EdgeRef::of_conn(conn, identity, self.by)).add_live(conn, identity);
        }
    }

    /// Takes in connections that the kernel folded.
    pub fn folded(&mut self, key: &FoldKey, totals: &FoldTotals, identity: &Identity, now_ns: u64) {
        self.folded += totals.records;
        let key = EdgeRef::of_fold(key, identity, self.by);
        let edge = self.edge(&key);
        edge.add_fold(totals, key.role(), identity);
        edge.last_ns = edge.last_ns.max(now_ns);
    }

    /// The hash of the edge that a socket in TIME-WAIT belongs to ([`State::hash`]), and its role. `None` when the end of
    /// its connection was not seen, or is forgotten.
    pub fn edge_of_time_wait(&self, netns: u32, local: SocketAddr, remote: SocketAddr) -> Option<(EdgeHash, Role)> {
        self.time_waits.edge_of(netns, local, remote)
    }

    /// The edge of sockets that nobody was seen to own, made if it is not there.
    pub fn unowned(&mut self, netns: u32, role: Role, place: Place) -> EdgeKey {
        let key = match self.by {
            By::Edge => EdgeKey::unowned(netns, role, place),
            By::Remote => EdgeKey { owner: None, ..EdgeKey::unowned(0, role, place) },
            By::Exe | By::Pid | By::Container | By::Pod | By::Name => EdgeKey::unowned(0, role, Place::Any),
        };
        if self.edges.len() < self.limit || self.edges.contains_key(&key) {
            self.edges.entry(key.clone()).or_default();
            return key;
        }
        let other = EdgeKey::other(role);
        self.edges.entry(other.clone()).or_default();
        other
    }

    /// An edge's hash within this state.
    pub fn hash(&self, key: &EdgeKey) -> EdgeHash {
        self.edges.hasher().hash_one(key)
    }

    /// The edges, each at its position.
    pub fn edges(&self) -> impl ExactSizeIterator<Item = (&EdgeKey, &Edge)> {
        self.edges.iter()
    }

    /// The position of an edge among [`State::edges`].
    pub fn position(&self, key: &EdgeKey) -> Option<usize> {
        self.edges.get_index_of(key)
    }

    /// The edge at a position of [`State::edges`].
    ///
    /// # Panics
    /// When there are not so many.
    pub fn at(&self, position: usize) -> (&EdgeKey, &Edge) {
        self.edges.get_index(position).expect("a position of this state")
    }

    fn edge(&mut self, key: &EdgeRef<'_>) -> &mut Edge {
        if let Some(position) = self.edges.get_index_of(key) {
            return &mut self.edges[position];
        }
        if !key.is_other() && self.edges.len() >= self.limit {
            self.make_room();
        }
        self.edges.entry(EdgeKey::from(key)).or_default()
    }

    fn make_room(&mut self) {
        let keys = self.edges.keys().enumerate();
        let mut order: Vec<usize> = keys.filter(|(_, key)| !key.is_other).map(|(position, _)| position).collect();
        if order.is_empty() {
            return;
        }
        // With the key as a tie-breaker, the same records give the same edges.
        let leave = (self.limit / 8).max(1).min(order.len());
        let age = |&position: &usize| self.edges.get_index(position).map(|(key, edge)| (edge.last_ns, key));
        order.select_nth_unstable_by(leave - 1, |one, other| age(one).cmp(&age(other)));
        order.truncate(leave);
        // The last edge comes to the place of one that leaves: from the end on, none that leaves later moves.
        order.sort_unstable_by(|one, other| other.cmp(one));
        for position in order {
            if let Some((key, edge)) = self.edges.swap_remove_index(position) {
                let other = self.edges.entry(EdgeKey::other(key.role)).or_default();
                other.merge(&edge);
                // Peers and names of many servers say nothing together.
                other.peers = peers::Peers::default();
                other.comm = None;
                self.edges_folded += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
