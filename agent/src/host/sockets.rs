//! The kernel's TCP sockets, row by row, by NETLINK_SOCK_DIAG (sock_diag(7)) in the calling thread's network namespace.

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::IPPROTO_TCP,
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use redial_common::tcp::{family, state};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{SOCK_DIAG, SocketAddrNetlink},
        recv, sendto, socket_with,
    },
};
use thiserror::Error;

use super::socket::Socket;

/// What the kernel fills at most in one go (`netlink_recvmsg`).
const BUFFER: usize = 32 << 10;

/// `TCPF_BOUND_INACTIVE`: asks for sockets that are bound and nothing else. Kernels before 6.8 know none.
const BOUND_INACTIVE: u32 = 1 << 13;

/// All states but SYN_RECV: what a listener was asked for and has not got is no socket yet, and can be many.
pub const ALL_STATES: u32 = ((1 << (state::CLOSING + 1)) - 2) & !(1 << state::SYN_RECV) | BOUND_INACTIVE;

/// An address family of sockets. IPv6 has those that carry IPv4 as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AF_INET.
    V4,
    /// AF_INET6.
    V6,
}

/// Why the sockets could not be read.
#[derive(Debug, Error)]
pub enum DumpError {
    /// The netlink socket did not work.
    #[error("cannot ask the kernel for its sockets (sock_diag): {0}")]
    Netlink(#[from] io::Error),
    /// The kernel cannot list TCP sockets.
    #[error("the kernel does not list TCP sockets: load its module tcp_diag (CONFIG_INET_TCP_DIAG)")]
    Unsupported,
    /// The kernel refused.
    #[error("the kernel does not list its TCP sockets: {0}")]
    Refused(io::Error),
    /// The answer makes no sense.
    #[error("sock_diag's answer cannot be read: {0}")]
    Malformed(#[from] DecodeError),
}

/// Passes every TCP socket of `family` that is in one of `states` (bits by [`state`], e.g. [`ALL_STATES`]) to `row`:
/// listening ones first, then those that are only bound, then the others. Nothing is kept.
///
/// The kernel locks one hash bucket at a time: what opens or ends meanwhile may be there or not.
///
/// # Errors
/// When the kernel cannot tell, or its answer breaks off; rows may have been passed then.
pub fn dump(family: Family, states: u32, mut row: impl FnMut(&Socket)) -> Result<(), DumpError> {
    let netlink = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(SOCK_DIAG))
        .map_err(io::Error::from)?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&netlink, &request(family, states), SendFlags::empty(), &kernel).map_err(io::Error::from)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = receive(&netlink, &mut buffer)?;
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest)?;
            match message.message_type() {
                NLMSG_DONE => return result(message.payload(), DumpError::Refused),
                NLMSG_ERROR => {
                    result(message.payload(), |error| match error.kind() {
                        io::ErrorKind::NotFound => DumpError::Unsupported,
                        _ => DumpError::Refused(error),
                    })?;
                }
                _ => row(&Socket::parse(message.payload())?),
            }
            // Messages begin at multiples of four bytes.
            let taken = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

/// A chunk of the answer; its length.
fn receive(netlink: &OwnedFd, buffer: &mut [u8]) -> Result<usize, DumpError> {
    loop {
        match recv(netlink, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, length)) if length > buffer.len() => {
                return Err(DecodeError::buffer_too_small(buffer.len(), length).into());
            }
            Ok((_, length)) => return Ok(length),
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// The status with which an answer ends: zero, or a negative error number.
fn result(payload: &[u8], or: impl FnOnce(io::Error) -> DumpError) -> Result<(), DumpError> {
    let status = payload.first_chunk().ok_or_else(|| DecodeError::buffer_too_small(payload.len(), 4))?;
    match i32::from_ne_bytes(*status) {
        0.. => Ok(()),
        error => Err(or(io::Error::from_raw_os_error(error.saturating_neg()))),
    }
}

fn request(family: Family, states: u32) -> Vec<u8> {
    let (family, socket_id) = match family {
        Family::V4 => (family::INET, SocketId::new_v4()),
        Family::V6 => (family::INET6, SocketId::new_v6()),
    };
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::from_bits_retain(states),
        socket_id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    fn all(family: Family, states: u32) -> Vec<Socket> {
        let mut rows = Vec::new();
        dump(family, states, |socket| rows.push(*socket)).unwrap();
        rows
    }

    #[test]
    fn a_connection_and_its_listener_are_seen_in_their_family() {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        for (listener, family) in [(&v4, Family::V4), (&v6, Family::V6)] {
            let port = listener.local_addr().unwrap().port();
            // The listener for IPv6 takes IPv4 too, and then its end has an IPv4 address in an IPv6 socket.
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let server = listener.accept().unwrap().0;
            let rows = all(family, ALL_STATES);
            let find = |wanted: u8, local| rows.iter().find(|row| row.state == wanted && row.local == local);
            let listening = find(state::LISTEN, listener.local_addr().unwrap()).unwrap();
            assert_eq!((listening.receive_queue, listening.send_queue > 0), (0, true));
            let accepted = find(state::ESTABLISHED, client.peer_addr().unwrap()).unwrap();
            assert_eq!(accepted.remote, client.local_addr().unwrap());
            drop(server);
            let only = all(family, 1 << state::LISTEN);
            assert!(!only.is_empty() && only.iter().all(|row| row.state == state::LISTEN));
        }
    }

    #[test]
    fn every_state_but_requests_is_asked_for() {
        for wanted in state::ESTABLISHED..=state::CLOSING {
            assert_eq!(ALL_STATES >> wanted & 1, u32::from(wanted != state::SYN_RECV), "{wanted}");
        }
        assert_eq!(ALL_STATES & 1, 0);
        assert_eq!(ALL_STATES >> 12, 2);
    }

    #[test]
    fn an_error_of_the_kernel_is_an_error() {
        let status = (-libc::EPERM).to_ne_bytes();
        assert!(matches!(result(&status, DumpError::Refused), Err(DumpError::Refused(_))));
        assert!(result(&[0; 4], DumpError::Refused).is_ok());
        assert!(matches!(result(&[0; 3], DumpError::Refused), Err(DumpError::Malformed(_))));
    }
}
