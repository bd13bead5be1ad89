//! Destroys another process's socket, as `ss -K` does (sock_diag's SOCK_DESTROY).

use std::{
    io::{IoSlice, Read},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result, bail};
use nix::{errno::Errno, libc};
use socket2::{Domain, Protocol, Socket, Type};

/// `SOCK_DESTROY` of linux/sock_diag.h.
const SOCK_DESTROY: u16 = 21;

/// Destroys the TCP socket with these addresses in the calling thread's namespace.
pub fn destroy(local: SocketAddr, remote: SocketAddr) -> Result<()> {
    let mut socket =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_SOCK_DIAG)))
            .context("open a sock_diag socket")?;
    let request = request(local, remote);
    socket.send_vectored(&[IoSlice::new(&request)]).context("ask to destroy a socket")?;
    let mut answer = [0; 256];
    let n = socket.read(&mut answer).context("read the answer of sock_diag")?;
    // nlmsghdr (16 bytes), then nlmsgerr, whose first member is the error: 0 or a negative number.
    let error = answer.get(16..20).filter(|_| n >= 20).context("a short answer of sock_diag")?;
    match i32::from_ne_bytes(error.try_into()?) {
        0 => Ok(()),
        error => bail!(
            "destroy the socket {local} -> {remote}: {} (needs CONFIG_INET_DIAG_DESTROY and CAP_NET_ADMIN)",
            Errno::from_raw(-error)
        ),
    }
}

/// nlmsghdr and inet_diag_req_v2 (linux/inet_diag.h), as bytes.
fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut body = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend(u32::MAX.to_ne_bytes()); // any state
    body.extend(local.port().to_be_bytes());
    body.extend(remote.port().to_be_bytes());
    body.extend(sixteen(local.ip()));
    body.extend(sixteen(remote.ip()));
    body.extend(0_u32.to_ne_bytes()); // any interface
    body.extend([0xff; 8]); // no cookie
    let mut message = Vec::new();
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(SOCK_DESTROY.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    message.extend([0; 8]); // sequence and port
    message.extend(body);
    message
}

fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}
