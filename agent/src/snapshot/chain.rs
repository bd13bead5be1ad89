//! What stands between connections that come in and those that go out: a program that is server and client at once.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::Serialize;

use super::edge::{Edge, OwnerKind, Process};
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

#[derive(Default)]
struct Sides<'a> {
    process: Option<&'a Process>,
    inbound: Vec<&'a Edge>,
    outbound: Vec<&'a Edge>,
}

fn side(edges: &[&Edge]) -> Side {
    let sum = |of: fn(&Edge) -> u64| edges.iter().map(|edge| of(edge)).sum::<u64>();
    let exchanges = edges.iter().map(|edge| edge.counts.exchanges).sum::<Option<u64>>();
    let (open_at_start, opened) = (sum(|edge| edge.counts.open_at_start), sum(|edge| edge.counts.opened));
    let connections = open_at_start + opened;
    Side {
        open_at_start,
        opened,
        exchanges,
        exchanges_per_connection: exchanges
            .filter(|_| connections > 0)
            .map(|exchanges| exchanges as f64 / connections as f64),
    }
}

/// The chains among `edges`, those that open most behind first.
pub fn chains(edges: &[Edge]) -> Vec<Chain> {
    let mut programs: BTreeMap<_, Sides<'_>> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| edge.process.kind == OwnerKind::Program) {
        let process = &edge.process;
        // Where the executable is not known, the name is what identifies the program.
        let program = process.exe.as_ref().or(process.comm.as_ref());
        let sides = programs.entry((program, &process.container, edge.netns)).or_default();
        sides.process.get_or_insert(process);
        match edge.role {
            Role::Server => sides.inbound.push(edge),
            Role::Client => sides.outbound.push(edge),
            Role::Unknown => {}
        }
    }
    let mut chains: Vec<Chain> = programs
        .into_iter()
        .filter(|(_, sides)| !sides.inbound.is_empty() && !sides.outbound.is_empty())
        .filter_map(|((.., netns), sides)| {
            let (inbound, outbound) = (side(&sides.inbound), side(&sides.outbound));
            let per_exchange = inbound.exchanges.filter(|&count| count > 0);
            Some(Chain {
                process: Process { pids: None, pid: None, ..sides.process?.clone() },
                netns,
                inbound,
                outbound,
                opened_per_inbound_exchange: per_exchange.map(|count| outbound.opened as f64 / count as f64),
            })
        })
        .collect();
    chains.sort_by_key(|chain| Reverse(chain.outbound.opened));
    chains
}
