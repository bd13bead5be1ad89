//! The edges of a snapshot. Each is worked out when it is looked at: who looks at twenty of them does not wait for all.

use std::{borrow::Cow, net::IpAddr};

use foldhash::HashMap;
use serde::{Serialize, Serializer};

use super::{
    build::counts,
    distribution::seconds,
    edge::{Counts, Edge, InFlight, Peer, Remote},
    host::Ports,
    row::Row,
};
use crate::{
    enrich::role::Role,
    state::{self, State, key::Place},
};

/// Where there is no edge.
const NOWHERE: u32 = u32::MAX;

/// The edges, most opened first.
#[derive(Clone, Debug)]
pub struct Edges<'a> {
    pub(super) ended: Cow<'a, State>,
    pub(super) live: Cow<'a, State>,
    pub(super) seats: Vec<Seat>,
    /// The addresses that have names.
    pub(super) names: HashMap<IpAddr, String>,
    pub(super) window_s: f64,
}

/// Where what is known of one edge is to be found, and what the host's tables say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    ended: u32,
    live: u32,
    pub(super) ports: Option<Ports>,
    pub(super) time_wait: Option<u64>,
}

impl Seat {
    /// The edge in the states that it is of.
    pub(super) fn row<'a>(&self, ended: &'a State, live: &'a State) -> Row<'a> {
        let live = || live.at(self.live as usize);
        if self.ended == NOWHERE {
            let (key, edge) = live();
            return Row { key, edge, more: None };
        }
        let (key, edge) = ended.at(self.ended as usize);
        Row { key, edge, more: (self.live != NOWHERE).then(|| live().1) }
    }
}

/// The edges of both states, each once.
pub(super) fn seats(ended: &State, live: &State) -> Vec<Seat> {
    let seat = |ended, live| Seat { ended, live, ports: None, time_wait: None };
    let mut seats = Vec::with_capacity(ended.edges().len() + live.edges().len());
    seats.extend((0..).zip(ended.edges()).map(|(position, _)| seat(position, NOWHERE)));
    for (position, (key, _)) in (0..).zip(live.edges()) {
        match ended.position(key) {
            Some(known) => seats[known].live = position,
            None => seats.push(seat(NOWHERE, position)),
        }
    }
    seats
}

impl Edges<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Each, worked out as it comes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Edge> {
        self.seats.iter().map(|seat| self.edge(seat))
    }

    fn name_of(&self, address: IpAddr) -> Option<String> {
        if self.names.is_empty() { None } else { self.names.get(&address).cloned() }
    }

    fn edge(&self, seat: &Seat) -> Edge {
        let row = seat.row(&self.ended, &self.live);
        let (key, window_s) = (row.key, self.window_s);
        let tally = row.tally();
        let turns = row.distribution(|edge| &edge.turns);
        let server = key.role == Role::Server;
        let counts = Counts { time_wait: seat.time_wait, ..counts(&tally, window_s) };
        Edge {
            process: row.process(),
            netns: (key.netns != 0).then_some(key.netns),
            role: key.role,
            remote: match key.place {
                Place::Remote(addr, port) => Some(Remote { addr, port, name: self.name_of(addr) }),
                Place::LocalPort(_) | Place::Any => None,
            },
            ports: seat.ports,
            local_port: match key.place {
                Place::LocalPort(port) => Some(port),
                Place::Remote(..) | Place::Any => None,
            },
            peers: server.then(|| {
                let peer = |peer: state::peers::Peer| Peer {
                    addr: peer.address,
                    name: self.name_of(peer.address),
                    connections: peer.connections(),
                };
                row.peers().top().into_iter().map(peer).collect()
            }),
            counts,
            lifetime_s: row.distribution(|edge| &edge.lifetime),
            connect_s: row.distribution(|edge| &edge.connect),
            idle_before_reuse_s: row.distribution(|edge| &edge.idle_before_reuse),
            idle_at_close_s: row.distribution(|edge| &edge.idle_at_close),
            first_response_s: row.distribution(|edge| &edge.first_response),
            reused_response_s: if server { None } else { turns },
            service_s: if server { turns } else { None },
            in_flight: (tally.counts.timed > 0 && window_s > 0.0)
                .then(|| InFlight { mean: seconds(tally.counts.busy_ns) / window_s, max: None }),
        }
    }
}

impl Serialize for Edges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}
