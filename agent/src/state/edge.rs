//! All that is kept of one edge: counters, distributions, and bounded detail beneath.

use std::sync::Arc;

use redial_common::{
    edge::FoldTotals,
    facts,
    record::conn::{Conn, flag},
    tcp::role,
};

use super::{histogram::Histogram, peers::Peers, pids::Pids, tally::Tally};
use crate::enrich::{Identity, address::address, role::Role};

/// One edge's totals.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// Counters.
    pub tally: Tally,
    /// ESTABLISHED to CLOSED.
    pub lifetime: Histogram,
    /// SYN-SENT to ESTABLISHED; clients.
    pub connect: Histogram,
    /// Connecting and the first turn; clients.
    pub first_response: Histogram,
    /// Clients: later turns. Servers: all turns, receive to send.
    pub turns: Histogram,
    /// Idle time before later turns.
    pub idle_before_reuse: Histogram,
    /// Idle time when the end began.
    pub idle_at_close: Histogram,
    /// Its processes.
    pub pids: Pids,
    /// Its peers; servers.
    pub peers: Peers,
    /// The latest name of its process.
    pub comm: Option<Arc<str>>,
    /// When it was last heard of, ns of CLOCK_MONOTONIC.
    pub last_ns: u64,
}

impl Edge {
    /// Adds a connection that ended.
    pub fn add_ended(&mut self, conn: &Conn, identity: &Identity) {
        self.tally.counts.add_ended(conn);
        self.last_ns = self.last_ns.max(conn.end_ns);
        self.add_common(conn, identity);
        add(&mut self.lifetime, facts::lifetime_ns(conn));
        add(&mut self.idle_at_close, facts::idle_at_close_ns(conn));
    }

    /// Adds a connection that lives.
    pub fn add_live(&mut self, conn: &Conn, identity: &Identity) {
        self.tally.add_live(conn);
        self.add_common(conn, identity);
    }

    fn add_common(&mut self, conn: &Conn, identity: &Identity) {
        self.note(identity);
        add(&mut self.connect, facts::connect_ns(conn));
        add(&mut self.first_response, facts::first_response_ns(conn));
        if conn.role == role::SERVER {
            self.peers.note(address(conn.family, &conn.remote), 1);
            add(&mut self.turns, facts::first_turn_ns(conn));
        }
        if conn.has(flag::TURNS_WATCHED) {
            self.turns.add_dist(&conn.reused);
            self.idle_before_reuse.add_dist(&conn.idle);
        }
    }

    /// Adds connections that the kernel folded.
    pub fn add_fold(&mut self, totals: &FoldTotals, role: Role, identity: &Identity) {
        self.tally.counts.merge(&totals.counts);
        self.note(identity);
        self.lifetime.add_dist(&totals.lifetime);
        self.connect.add_dist(&totals.connect);
        match role {
            Role::Server => self.turns.add_dist(&totals.first),
            Role::Client | Role::Unknown => self.first_response.add_dist(&totals.first),
        }
        self.turns.add_dist(&totals.reused);
        self.idle_before_reuse.add_dist(&totals.idle);
        self.idle_at_close.add_dist(&totals.idle_at_close);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.lifetime.merge(&other.lifetime);
        self.connect.merge(&other.connect);
        self.first_response.merge(&other.first_response);
        self.turns.merge(&other.turns);
        self.idle_before_reuse.merge(&other.idle_before_reuse);
        self.idle_at_close.merge(&other.idle_at_close);
        self.pids.merge(&other.pids);
        self.peers.merge(&other.peers);
        if other.comm.is_some() {
            self.comm.clone_from(&other.comm);
        }
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    fn note(&mut self, identity: &Identity) {
        if let Some(pid) = identity.pid {
            self.pids.note(pid);
        }
        // Mostly the same text, in the same place.
        if let Some(comm) = &identity.comm
            && !self.comm.as_ref().is_some_and(|known| Arc::ptr_eq(known, comm))
        {
            self.comm = Some(Arc::clone(comm));
        }
    }
}

fn add(histogram: &mut Histogram, ns: Option<u64>) {
    if let Some(ns) = ns {
        histogram.add(ns);
    }
}
