//! Listening sockets and their accept queues.

use std::net::SocketAddr;

use super::socket::Socket;

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens. `[::]` may take IPv4 as well.
    pub address: SocketAddr,
    /// Connections that are established and wait to be accepted.
    pub queued: u32,
    /// How many may wait: the lesser of the application's backlog and `somaxconn`. The kernel lets one more in.
    pub max: u32,
}

/// The listening sockets of a network namespace, up to a limit.
#[derive(Clone, Debug)]
pub struct Listeners {
    list: Vec<Listener>,
    room: usize,
    left_out: u64,
}

impl Listeners {
    /// Empty, with room for so many.
    pub fn new(room: usize) -> Self {
        Self { list: Vec::new(), room, left_out: 0 }
    }

    /// Takes in a socket in LISTEN.
    pub fn observe(&mut self, socket: &Socket) {
        if self.list.len() < self.room {
            let Socket { local, receive_queue, send_queue, .. } = *socket;
            self.list.push(Listener { address: local, queued: receive_queue, max: send_queue });
        } else {
            self.left_out += 1;
        }
    }

    /// The listeners, in no order. Several sockets may share one address (SO_REUSEPORT).
    pub fn list(&self) -> &[Listener] {
        &self.list
    }

    /// How many found no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redial_common::tcp::state;

    use super::*;

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut listeners = Listeners::new(2);
        for port in 1..=5 {
            listeners.observe(&Socket {
                state: state::LISTEN,
                local: SocketAddr::from(([0, 0, 0, 0], port)),
                remote: SocketAddr::from(([0, 0, 0, 0], 0)),
                interface: 0,
                expires: Duration::ZERO,
                receive_queue: 3,
                send_queue: 128,
            });
        }
        assert_eq!((listeners.list().len(), listeners.left_out()), (2, 3));
        assert_eq!((listeners.list()[1].queued, listeners.list()[1].max), (3, 128));
    }
}
