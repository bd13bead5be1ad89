//! Connections that are older than the agent: there when it begins, counted once, and only from then on.

mod load;
mod pools;

use std::net::{IpAddr, Ipv4Addr};

/// What trace calls a connection that is older than the agent.
const OLDER: &str = "adopted";

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
