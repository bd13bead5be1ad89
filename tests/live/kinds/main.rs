//! Kinds of sockets that are not plain TCP between two processes: what is exact of them, and what is labelled.

mod bpf;
mod fast_open;
mod keepalive;
mod mptcp;
mod opens;
mod pair;
mod path_manager;
mod repair;
mod sockmap;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCALHOST6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
