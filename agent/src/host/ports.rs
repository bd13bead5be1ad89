//! How many ephemeral ports are left for connections from one source to one remote.
//!
//! What sock_diag does not show, so that `available` is too high by it:
//! - ports whose `bind` is seen no more: of a socket that was bound with a port (or with port 0 and without
//!   IP_BIND_ADDRESS_NO_PORT) before it connected, and of accepted connections whose listener is closed;
//! - sockets that are bound and neither listen nor connect, before Linux 6.8, and always where no other socket of their
//!   family is in the namespace.
//!
//! Not considered: a socket's own range (IP_LOCAL_PORT_RANGE); VRFs, in which ports are bound apart; that of a range of
//! odd size the kernel leaves one port out at each try; and peers that do not use TCP timestamps, whose TIME_WAIT is
//! never replaced.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use foldhash::fast::RandomState;

use super::port_rules::{Reuse, TIME_WAIT_LENGTH};

/// What a local port has to be unique for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Remote address.
    pub remote: IpAddr,
    /// Remote port.
    pub remote_port: u16,
}

impl Tuple {
    /// From a source address to a remote.
    pub fn new(source: IpAddr, remote: SocketAddr) -> Self {
        Self { source, remote: remote.ip(), remote_port: remote.port() }
    }
}

/// The ephemeral ports of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortUse {
    /// Taken by its connections, open or in TIME_WAIT and not yet reusable.
    pub used: u32,
    /// How many more connections the kernel would find a port for.
    pub available: u32,
}

/// The ephemeral ports of a network namespace, counted per tuple, up to a limit of tuples.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    pub(super) capacity: u32,
    pub(super) used: HashMap<Tuple, u32, RandomState>,
    pub(super) left_out: u64,
    pub(super) reuse: Reuse,
    pub(super) reuse_delay: Duration,
}

impl Ports {
    /// How many ports there are for a remote that has no connection yet.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The ports of `tuple`; `None` where it may be one of those that found no room.
    pub fn of(&self, tuple: &Tuple) -> Option<PortUse> {
        match self.used.get(tuple) {
            Some(used) => Some(self.port_use(*used)),
            None => (self.left_out == 0).then(|| self.port_use(0)),
        }
    }

    /// For how long TIME_WAIT keeps a port from further connections to `remote`.
    pub fn held(&self, remote: IpAddr) -> Duration {
        match self.reuse {
            Reuse::All => self.reuse_delay,
            Reuse::Loopback if remote.is_loopback() => self.reuse_delay,
            Reuse::Off | Reuse::Loopback => TIME_WAIT_LENGTH,
        }
    }

    /// Every tuple that takes a port, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Tuple, PortUse)> {
        self.used.iter().map(|(tuple, used)| (tuple, self.port_use(*used)))
    }

    /// How many connections belong to tuples that found no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn port_use(&self, used: u32) -> PortUse {
        PortUse { used, available: self.capacity.saturating_sub(used) }
    }
}
