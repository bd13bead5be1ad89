//! Tells the kernel's MPTCP path manager to open a further subflow (generic netlink family `mptcp_pm`).

use std::{
    io::{IoSlice, Read},
    net::Ipv4Addr,
};

use anyhow::{Context, Result, ensure};
use nix::{errno::Errno, libc};
use socket2::{Domain, Protocol, Socket, Type};

/// linux/mptcp_pm.h: commands, attributes and flags.
const CMD_ADD_ADDR: u8 = 1;
const CMD_SET_LIMITS: u8 = 5;
const ATTR_ADDR: u16 = 1;
const ATTR_SUBFLOWS: u16 = 3;
const ADDR_ATTR_FAMILY: u16 = 1;
const ADDR_ATTR_ID: u16 = 2;
const ADDR_ATTR_ADDR4: u16 = 3;
const ADDR_ATTR_FLAGS: u16 = 6;
const ADDR_FLAG_SUBFLOW: u32 = 1 << 1;

/// Has every new connection of the calling thread's namespace open one more subflow, from `address`.
pub fn add_subflow_endpoint(address: Ipv4Addr) -> Result<()> {
    let mut socket =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_GENERIC)))
            .context("open a generic netlink socket")?;
    let name = attribute(libc::CTRL_ATTR_FAMILY_NAME as u16, b"mptcp_pm\0");
    let family = call(&mut socket, libc::GENL_ID_CTRL as u16, libc::CTRL_CMD_GETFAMILY as u8, &name)
        .context("find the family mptcp_pm (needs CONFIG_MPTCP)")?;
    let family = find(&family, libc::CTRL_ATTR_FAMILY_ID as u16).context("mptcp_pm has no number")?;
    let limits = attribute(ATTR_SUBFLOWS, &1_u32.to_ne_bytes());
    call(&mut socket, family, CMD_SET_LIMITS, &limits).context("allow a further subflow")?;
    let parts = [
        attribute(ADDR_ATTR_FAMILY, &(libc::AF_INET as u16).to_ne_bytes()),
        attribute(ADDR_ATTR_ID, &[3]),
        attribute(ADDR_ATTR_ADDR4, &address.octets()),
        attribute(ADDR_ATTR_FLAGS, &ADDR_FLAG_SUBFLOW.to_ne_bytes()),
    ];
    let endpoint = attribute(ATTR_ADDR | libc::NLA_F_NESTED as u16, &parts.concat());
    call(&mut socket, family, CMD_ADD_ADDR, &endpoint).context("add an endpoint for subflows")?;
    Ok(())
}

/// An attribute with its header, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends a command and returns the attributes of its answer; none where the answer is a bare acknowledgement.
fn call(socket: &mut Socket, family: u16, command: u8, attributes: &[u8]) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    message.extend((20 + attributes.len() as u32).to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    message.extend([0; 8]); // sequence and port
    message.extend([command, 1, 0, 0]); // genlmsghdr: version 1
    message.extend(attributes);
    socket.send_vectored(&[IoSlice::new(&message)]).context("send to netlink")?;
    let mut answer = Vec::new();
    loop {
        let mut buffer = vec![0; 8192];
        let n = socket.read(&mut buffer).context("read from netlink")?;
        ensure!(n >= 20, "a short answer of netlink");
        let kind = u16::from_ne_bytes([buffer[4], buffer[5]]);
        if i32::from(kind) == libc::NLMSG_ERROR {
            let error = i32::from_ne_bytes([buffer[16], buffer[17], buffer[18], buffer[19]]);
            ensure!(error == 0, "netlink refuses: {}", Errno::from_raw(-error));
            return Ok(answer);
        }
        answer = buffer[20..n].to_vec();
    }
}

/// The 16-bit value of an attribute.
fn find(mut attributes: &[u8], wanted: u16) -> Option<u16> {
    while let [len0, len1, kind0, kind1, rest @ ..] = attributes {
        let len = usize::from(u16::from_ne_bytes([*len0, *len1]));
        if u16::from_ne_bytes([*kind0, *kind1]) == wanted {
            return Some(u16::from_ne_bytes([*rest.first()?, *rest.get(1)?]));
        }
        attributes = attributes.get(len.next_multiple_of(4).max(4)..)?;
    }
    None
}
