//! What one network namespace holds now.

use std::{net::SocketAddr, time::Duration};

use redial_common::tcp::state;

use super::{
    conntrack::Conntrack,
    counters::TcpCounters,
    listeners::Listeners,
    port_counter::PortCounter,
    port_rules::PortRules,
    ports::Ports,
    sockets::{self, ALL_STATES, DumpError, Family},
    sockstat::Sockstat,
    sysctl,
};

/// A connection in TIME_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWait {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// This host's address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// How long it still lasts.
    pub remaining: Duration,
}

/// One network namespace at one time.
#[derive(Clone, Debug)]
pub struct NamespaceReading {
    /// Its inode number.
    pub netns: u32,
    /// TCP sockets of any state but SYN_RECV, listeners and TIME_WAIT included.
    pub sockets: u64,
    /// How many are in TIME_WAIT.
    pub time_wait: u64,
    /// How many TIME_WAIT there may be (`tcp_max_tw_buckets`); beyond, closing leaves none.
    pub time_wait_max: Option<u64>,
    /// Ephemeral ports; `None` where the rules for them cannot be read.
    pub ports: Option<Ports>,
    /// Listening sockets.
    pub listeners: Listeners,
    /// Cumulative counts.
    pub counters: TcpCounters,
    /// Connection tracking; `None` where it is not used.
    pub conntrack: Option<Conntrack>,
}

impl NamespaceReading {
    /// Reads the calling thread's namespace, whose inode number is `netns`, into room for so many tuples of ports and
    /// listeners, and passes every TIME_WAIT to `time_wait`.
    ///
    /// # Errors
    /// When the kernel does not list its sockets.
    pub fn read(
        netns: u32,
        tuples: usize,
        listeners: usize,
        time_wait: &mut dyn FnMut(&TimeWait),
    ) -> Result<Self, DumpError> {
        let mut reading = Self {
            netns,
            sockets: 0,
            time_wait: 0,
            time_wait_max: sysctl::number("ipv4/tcp_max_tw_buckets"),
            ports: None,
            listeners: Listeners::new(listeners),
            counters: TcpCounters::read(),
            conntrack: Conntrack::read(),
        };
        let mut counter = PortRules::read().map(|rules| PortCounter::new(rules, tuples));
        let population = Sockstat::read();
        // Listeners for IPv6 bind ports of IPv4 too, so they come first.
        for family in [Family::V6, Family::V4].into_iter().filter(|family| population.may_have(*family)) {
            sockets::dump(family, ALL_STATES, |socket| {
                reading.sockets += 1;
                if let Some(counter) = &mut counter {
                    counter.observe(socket);
                }
                match socket.state {
                    state::LISTEN => reading.listeners.observe(socket),
                    state::TIME_WAIT => {
                        reading.time_wait += 1;
                        let (local, remote) = (socket.local, socket.remote);
                        time_wait(&TimeWait { netns, local, remote, remaining: socket.expires });
                    }
                    _ => {}
                }
            })?;
        }
        reading.ports = counter.map(PortCounter::finish);
        Ok(reading)
    }
}
