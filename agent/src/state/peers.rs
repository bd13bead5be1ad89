//! The peers that a server's edge hears from most, in bounded memory.

use std::net::IpAddr;

/// How many peers are kept.
pub const MAX_PEERS: usize = 32;

/// One peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its connections, those it may have inherited included.
    count: u64,
    /// How many of them may belong to peers that were pushed out.
    inherited: u64,
}

impl Peer {
    /// How many connections it has had at least; exact while no peer was pushed out.
    pub fn connections(&self) -> u64 {
        self.count - self.inherited
    }
}

/// The most frequent peers: Space-Saving (Metwally, Agrawal, El Abbadi 2005). A peer with more than 1/[`MAX_PEERS`] of
/// all connections is always among them.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    peers: Vec<Peer>,
}

impl Peers {
    /// Notes `connections` of the peer at `address`.
    pub fn note(&mut self, address: IpAddr, connections: u64) {
        if let Some(known) = self.peers.iter_mut().find(|peer| peer.address == address) {
            known.count += connections;
        } else if self.peers.len() < MAX_PEERS {
            self.peers.push(Peer { address, count: connections, inherited: 0 });
        } else if let Some(least) = self.peers.iter_mut().min_by_key(|peer| peer.count) {
            *least = Peer { address, count: least.count + connections, inherited: least.count };
        }
    }

    /// Adds the peers of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.peers.iter().for_each(|peer| self.note(peer.address, peer.connections()));
    }

    /// Their addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.peers.iter().map(|peer| peer.address)
    }

    /// Those with connections of their own, most first.
    pub fn top(&self) -> Vec<Peer> {
        let mut top: Vec<Peer> = self.peers.iter().filter(|peer| peer.connections() > 0).copied().collect();
        top.sort_by_key(|peer| (std::cmp::Reverse(peer.connections()), peer.address));
        top
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_heaviest_stays_when_many_come() {
        let mut peers = Peers::default();
        let heavy = IpAddr::from([10, 0, 0, 1]);
        for i in 0..2_000_u32 {
            peers.note(Ipv4Addr::from(i + 1).into(), 1);
            if i % 5 == 0 {
                peers.note(heavy, 1);
            }
        }
        assert!(peers.peers.len() <= MAX_PEERS);
        let top = peers.top();
        assert_eq!(top[0].address, heavy);
        assert!(top[0].connections() <= 400, "a lower bound: {}", top[0].connections());
        let mut few = Peers::default();
        few.note(heavy, 3);
        assert_eq!(few.top()[0].connections(), 3);
    }
}
