//! Counts the ephemeral ports that the sockets of a namespace take, while they are listed.

use redial_common::tcp::state;

use super::{
    port_rules::PortRules,
    port_set::PortSet,
    ports::{Ports, Tuple},
    socket::Socket,
};

/// The sockets seen so far; 16 KiB and the tuples.
#[derive(Clone, Debug)]
pub struct PortCounter {
    rules: PortRules,
    /// Those of the range that are neither reserved nor bound.
    usable: PortSet,
    ports: Ports,
    room: usize,
}

impl PortCounter {
    /// Nothing taken yet, with room for `room` tuples.
    pub fn new(rules: PortRules, room: usize) -> Self {
        let usable = rules.ports();
        let (reuse, reuse_delay) = (rules.reuse, rules.reuse_delay);
        let ports = Ports { capacity: usable.count(), reuse, reuse_delay, ..Ports::default() };
        Self { rules, usable, ports, room }
    }

    /// Takes in a socket of the namespace. Those that are bound must come before those that are connected, lest their
    /// port be taken twice.
    pub fn observe(&mut self, socket: &Socket) {
        let port = socket.local.port();
        let Ports { capacity, used, left_out, .. } = &mut self.ports;
        match socket.state {
            // A bound port is bound for every address and family (`inet_bind_bucket`).
            state::LISTEN | state::CLOSE => *capacity -= u32::from(self.usable.remove(port)),
            _ if !self.usable.contains(port) || self.rules.is_reusable(socket) => {}
            _ => {
                let tuple = Tuple::new(socket.local.ip(), socket.remote);
                if let Some(used) = used.get_mut(&tuple) {
                    *used += 1;
                } else if used.len() < self.room {
                    used.insert(tuple, 1);
                } else {
                    *left_out += 1;
                }
            }
        }
    }

    /// What was counted.
    pub fn finish(mut self) -> Ports {
        self.ports.used.shrink_to_fit();
        self.ports
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use super::{super::port_rules::Reuse, *};

    fn counter(room: usize) -> PortCounter {
        let rules = PortRules {
            range: 40000..=40039,
            reserved: PortSet::parse("40039,80").unwrap(),
            reuse: Reuse::Loopback,
            reuse_delay: Duration::from_secs(1),
        };
        PortCounter::new(rules, room)
    }

    fn socket(state: u8, port: u16, remote: &str) -> Socket {
        Socket {
            state,
            local: SocketAddr::from(([192, 0, 2, 1], port)),
            remote: remote.parse().unwrap(),
            interface: 0,
            expires: Duration::ZERO,
            receive_queue: 0,
            send_queue: 0,
        }
    }

    fn use_of(ports: &Ports, remote: &str) -> Option<(u32, u32)> {
        let tuple = Tuple::new([192, 0, 2, 1].into(), remote.parse().unwrap());
        ports.of(&tuple).map(|ports| (ports.used, ports.available))
    }

    const A: &str = "192.0.2.9:80";
    const B: &str = "192.0.2.9:81";
    const NONE: &str = "0.0.0.0:0";

    #[test]
    fn each_tuple_has_its_own_and_bound_ports_are_nobodys() {
        let mut counter = counter(10);
        let all = [
            socket(state::LISTEN, 40000, NONE),
            socket(state::LISTEN, 40000, NONE),
            socket(state::CLOSE, 40001, NONE),
            socket(state::LISTEN, 80, NONE),
            socket(state::ESTABLISHED, 40000, "192.0.2.9:50000"),
            socket(state::ESTABLISHED, 40002, A),
            socket(state::TIME_WAIT, 40003, A),
            socket(state::SYN_SENT, 40002, B),
            socket(state::ESTABLISHED, 40039, A),
            socket(state::ESTABLISHED, 50000, A),
        ];
        all.iter().for_each(|socket| counter.observe(socket));
        let ports = counter.finish();
        assert_eq!(ports.capacity(), 40 - 1 - 2);
        assert_eq!(use_of(&ports, A), Some((2, 35)));
        assert_eq!(use_of(&ports, B), Some((1, 36)));
        assert_eq!(use_of(&ports, "192.0.2.9:82"), Some((0, 37)));
        assert_eq!(ports.iter().count(), 2, "an accepted connection takes no port");
    }

    #[test]
    fn what_may_be_replaced_takes_no_port() {
        let mut counter = counter(10);
        counter.observe(&socket(state::TIME_WAIT, 40002, "127.0.0.1:80"));
        assert_eq!(use_of(&counter.finish(), "127.0.0.1:80"), Some((0, 39)));
    }

    #[test]
    fn tuples_over_the_limit_are_not_known() {
        let mut counter = counter(1);
        for (port, remote) in [(40000, A), (40001, B), (40002, A), (40003, B)] {
            counter.observe(&socket(state::ESTABLISHED, port, remote));
        }
        let ports = counter.finish();
        assert_eq!(use_of(&ports, A), Some((2, 37)));
        assert_eq!((use_of(&ports, B), ports.left_out()), (None, 2));
    }
}
