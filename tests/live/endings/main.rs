//! How connections end, and why attempts fail: one test per cause.

mod attempts;
mod closes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCALHOST6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
