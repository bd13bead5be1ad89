//! Totals per edge, folded from records. No clock is read and nothing is opened here: time comes with the data.

pub mod edge;
pub mod histogram;
pub mod key;
pub mod peers;
pub mod pids;
pub mod tally;

use foldhash::{HashMap, HashMapExt as _};
use redial_common::{
    edge::{FoldKey, FoldTotals},
    record::conn::Conn,
};

use crate::enrich::Identity;
use edge::Edge;
use key::EdgeKey;

/// How many edges are told apart; one takes 1 to 8 KB.
pub const MAX_EDGES: usize = 4_096;

/// The edges and what was counted on them.
///
/// At most so many edges are kept as the limit says. When a new one finds no room, the eighth of all that was silent
/// for longest goes into one edge per role for all others: totals stay exact, and how many edges that took is counted.
#[derive(Clone, Debug)]
pub struct State {
    edges: HashMap<EdgeKey, Edge>,
    limit: usize,
    /// Records of single connections taken in.
    pub records: u64,
    /// Connections taken in as the kernel's totals.
    pub folded: u64,
    /// Edges that went into those for all others.
    pub edges_folded: u64,
}

impl State {
    /// No edges yet, and never more than `limit` (besides those for all others).
    pub fn new(limit: usize) -> Self {
        Self { edges: HashMap::new(), limit: limit.max(1), records: 0, folded: 0, edges_folded: 0 }
    }

    /// Takes in a connection that ended.
    pub fn ended(&mut self, conn: &Conn, identity: &Identity) {
        self.records += 1;
        let key = EdgeKey::of_conn(conn, identity.owner.clone());
        self.edge(key).add_ended(conn, identity);
    }

    /// Takes in a connection that lives. Meant for a state of live ones only, which a snapshot adds to the totals.
    pub fn live(&mut self, conn: &Conn, identity: &Identity) {
        // A row that has ended already is counted by its record.
        if conn.end_ns == 0 {
            let key = EdgeKey::of_conn(conn, identity.owner.clone());
            self.edge(key).add_live(conn, identity);
        }
    }

    /// Takes in connections that the kernel folded.
    pub fn folded(&mut self, key: &FoldKey, totals: &FoldTotals, identity: &Identity, now_ns: u64) {
        self.folded += totals.records;
        let key = EdgeKey::of_fold(key, identity.owner.clone());
        let role = key.role;
        let edge = self.edge(key);
        edge.add_fold(totals, role, identity);
        edge.last_ns = edge.last_ns.max(now_ns);
    }

    /// The edges, in no order.
    pub fn edges(&self) -> impl Iterator<Item = (&EdgeKey, &Edge)> {
        self.edges.iter()
    }

    /// One edge.
    pub fn get(&self, key: &EdgeKey) -> Option<&Edge> {
        self.edges.get(key)
    }

    fn edge(&mut self, key: EdgeKey) -> &mut Edge {
        if key.owner.is_some() && self.edges.len() >= self.limit && !self.edges.contains_key(&key) {
            self.make_room();
        }
        self.edges.entry(key).or_default()
    }

    fn make_room(&mut self) {
        let mut order: Vec<(u64, EdgeKey)> = self
            .edges
            .iter()
            .filter(|(key, _)| key.owner.is_some())
            .map(|(key, edge)| (edge.last_ns, key.clone()))
            .collect();
        if order.is_empty() {
            return;
        }
        // With the key as a tie-breaker, the same records give the same edges.
        let leave = (self.limit / 8).max(1).min(order.len());
        order.select_nth_unstable(leave - 1);
        for (_, key) in order.drain(..leave) {
            if let Some(edge) = self.edges.remove(&key) {
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
