//! One TCP socket as the kernel's sock_diag shows it.

use std::{net::SocketAddr, time::Duration};

use netlink_packet_core::{DecodeError, Parseable as _};
use netlink_packet_sock_diag::inet::InetResponseHeader;

/// A row of a socket dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// One of [`redial_common::tcp::state`]. CLOSE is a socket that is bound and neither listens nor connects.
    pub state: u8,
    /// Its own address. An IPv4 address mapped into IPv6 is given as IPv4.
    pub local: SocketAddr,
    /// Its peer's, likewise; unspecified in LISTEN and CLOSE.
    pub remote: SocketAddr,
    /// Index of the interface that it is bound to; 0 for none.
    pub interface: u32,
    /// When its timer fires. In TIME_WAIT that is how long it still lasts.
    pub expires: Duration,
    /// Bytes not yet read; in LISTEN connections not yet accepted.
    pub receive_queue: u32,
    /// Bytes not yet acknowledged; in LISTEN the maximum of connections not yet accepted.
    pub send_queue: u32,
}

impl Socket {
    /// From a `struct inet_diag_msg` (linux/inet_diag.h).
    ///
    /// # Errors
    /// When it is too short or of another address family.
    pub fn parse(message: &[u8]) -> Result<Self, DecodeError> {
        /// Where `idiag_expires` is. The library leaves it out in TIME_WAIT, where it matters most.
        const EXPIRES: usize = 52;
        let header = InetResponseHeader::parse(message)?;
        let expires = message.get(EXPIRES..).and_then(|rest| rest.first_chunk());
        let expires = expires.ok_or_else(|| DecodeError::buffer_too_small(message.len(), EXPIRES + 4))?;
        let id = header.socket_id;
        Ok(Self {
            state: header.state,
            local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
            remote: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
            interface: id.interface_id,
            expires: Duration::from_millis(u32::from_ne_bytes(*expires).into()),
            receive_queue: header.recv_queue,
            send_queue: header.send_queue,
        })
    }
}

#[cfg(test)]
mod tests {
    use redial_common::tcp::{family, state};

    use super::*;

    fn message(family: u8, source: [u8; 16]) -> Vec<u8> {
        let mut message = vec![family, state::TIME_WAIT, 3, 0];
        message.extend([0x9c, 0x40, 0x00, 0x50]);
        message.extend(source);
        message.extend(source);
        message.extend(9_u32.to_ne_bytes());
        message.extend([0; 8]);
        for number in [59_000_u32, 5, 6, 0, 0] {
            message.extend(number.to_ne_bytes());
        }
        message
    }

    #[test]
    fn all_that_is_wanted_is_read() {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[192, 0, 2, 1]);
        let read = Socket::parse(&message(family::INET, bytes)).unwrap();
        let expected = Socket {
            state: state::TIME_WAIT,
            local: "192.0.2.1:40000".parse().unwrap(),
            remote: "192.0.2.1:80".parse().unwrap(),
            interface: 9,
            expires: Duration::from_secs(59),
            receive_queue: 5,
            send_queue: 6,
        };
        assert_eq!(read, expected);
        let mapped: std::net::Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(Socket::parse(&message(family::INET6, mapped.octets())).unwrap(), expected);
        let v6: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(
            Socket::parse(&message(family::INET6, v6.octets())).unwrap().local,
            "[2001:db8::1]:40000".parse().unwrap()
        );
    }

    #[test]
    fn what_is_no_socket_is_refused() {
        let whole = message(family::INET, [0; 16]);
        assert!(Socket::parse(&whole[..whole.len() - 1]).is_err());
        assert!(Socket::parse(&message(1, [0; 16])).is_err());
    }
}
