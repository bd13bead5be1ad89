//! What stands between connections that come in and those that go out: a program that is server and client at once.

use foldhash::HashMap;
use redial_common::counts::Counts;
use serde::Serialize;

use super::{
    edge::{OwnerKind, Process},
    row::Row,
};
use crate::enrich::role::Role;

/// One side of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    /// Connections that were open when the window began.
    pub open_at_start: u64,
    /// Connections that opened.
    pub opened: u64,
    /// Exchanges; `None` where they are not known of all.
    pub exchanges: Option<u64>,
    /// Those per connection.
    pub exchanges_per_connection: Option<f64>,
}

/// A program that serves connections and opens others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chain {
    /// The program.
    pub process: Process,
    /// Its network namespace.
    pub netns: Option<u32>,
    /// In front: the connections that it serves.
    pub inbound: Side,
    /// Behind: the connections that it opens.
    pub outbound: Side,
    /// Connections opened behind per exchange in front.
    pub opened_per_inbound_exchange: Option<f64>,
}

/// How many processes of a side are remembered.
const MAX_PIDS: usize = 64;

/// The sums of one side.
#[derive(Clone, Debug, Default)]
struct Sum {
    /// Its processes, the first of them.
    pids: Vec<u32>,
    edges: u64,
    open_at_start: u64,
    opened: u64,
    /// Connections whose exchanges are known, and those.
    watched: u64,
    exchanges: u64,
}

impl Sum {
    fn add(&mut self, counts: &Counts) {
        self.edges += 1;
        self.open_at_start += counts.open_at_start;
        self.opened += counts.opened;
        self.watched += counts.watched;
        self.exchanges += counts.exchanges;
    }

    fn note(&mut self, pids: &[u32]) {
        for pid in pids {
            if self.pids.len() < MAX_PIDS && !self.pids.contains(pid) {
                self.pids.push(*pid);
            }
        }
    }

    /// Whether a process of this side may be one of the other, too: not all of many are remembered.
    fn meets(&self, other: &Self) -> bool {
        let is_many = |sum: &Self| sum.pids.len() >= MAX_PIDS;
        is_many(self) || is_many(other) || self.pids.iter().any(|pid| other.pids.contains(pid))
    }

    fn side(&self) -> Side {
        let is_known = self.watched == self.open_at_start + self.opened;
        Side {
            open_at_start: self.open_at_start,
            opened: self.opened,
            exchanges: is_known.then_some(self.exchanges),
            exchanges_per_connection: (self.watched > 0).then(|| self.exchanges as f64 / self.watched as f64),
        }
    }
}

/// What tells programs apart: where the executable is not known, the name does; then container and network namespace.
type Program<'a> = (Option<&'a str>, Option<&'a str>, u32);

/// Finds the chains among edges.
#[derive(Default)]
pub struct Chains<'a> {
    programs: HashMap<Program<'a>, (Row<'a>, Sum, Sum)>,
}

impl<'a> Chains<'a> {
    /// Takes in one edge.
    pub fn add(&mut self, row: Row<'a>, counts: &Counts) {
        if row.kind() != OwnerKind::Program || row.key.role == Role::Unknown {
            return;
        }
        let program = row.executable().or(row.comm()).map(AsRef::as_ref);
        let container = row.key.container.as_ref().map(|container| &*container.id);
        let program = (program, container, row.key.netns);
        let (_, inbound, outbound) =
            self.programs.entry(program).or_insert_with(|| (row, Sum::default(), Sum::default()));
        let side = if row.key.role == Role::Server { inbound } else { outbound };
        side.add(counts);
        side.note(row.pids().latest());
    }

    /// The chains, those that open most behind first: of programs of which a process does both.
    pub fn finish(self) -> Vec<Chain> {
        let chains = self
            .programs
            .into_iter()
            .filter(|(_, (_, inbound, outbound))| inbound.edges > 0 && outbound.edges > 0 && inbound.meets(outbound));
        let mut chains: Vec<_> = chains
            .map(|(program, (row, inbound, outbound))| {
                let (inbound, outbound) = (inbound.side(), outbound.side());
                let per_exchange = inbound.exchanges.filter(|&count| count > 0);
                let chain = Chain {
                    process: Process { pids: None, pid: None, ..row.process() },
                    netns: (program.2 != 0).then_some(program.2),
                    inbound,
                    outbound,
                    opened_per_inbound_exchange: per_exchange.map(|count| outbound.opened as f64 / count as f64),
                };
                (program, chain)
            })
            .collect();
        chains.sort_unstable_by(|(a, one), (b, other)| (other.outbound.opened, a).cmp(&(one.outbound.opened, b)));
        chains.into_iter().map(|(_, chain)| chain).collect()
    }
}
