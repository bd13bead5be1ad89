//! `redial audit`: what it says beside the plain counts, against what the tests did and what other tools see.

mod chains;
mod fold;
mod load;
mod ports;
mod pressure;
mod print;
mod repair;
mod time_wait;

use std::net::{IpAddr, Ipv4Addr};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
