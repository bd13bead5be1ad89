//! Programs, addresses and the ways that connections end, as people read them.

use std::net::IpAddr;

use super::safe::safe;
use crate::{enrich::role::Role, snapshot::edge::Edge};

/// Which way the first SYN went: out, in, or not known.
pub fn arrow(role: Role) -> &'static str {
    match role {
        Role::Client => "→",
        Role::Server => "←",
        Role::Unknown => "↔",
    }
}

/// Address and port, or name and port.
pub fn endpoint(address: IpAddr, port: u16, name: Option<&str>) -> String {
    match (name, address) {
        (Some(name), _) => format!("{}:{port}", safe(name)),
        (None, IpAddr::V4(v4)) => format!("{v4}:{port}"),
        (None, IpAddr::V6(v6)) => format!("[{v6}]:{port}"),
    }
}

/// The last part of a path.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path)
}

/// What to call a program that has no name.
pub const UNKNOWN: &str = "(unknown)";

/// What to call the program of an edge.
pub fn program(edge: &Edge) -> String {
    let process = &edge.process;
    let name = match (&process.exe, process.kind.placeholder(), &process.comm) {
        (Some(exe), ..) => base_name(exe),
        (None, Some(placeholder), _) => placeholder,
        (None, None, Some(comm)) => comm,
        (None, None, None) => UNKNOWN,
    };
    safe(name).into_owned()
}

/// A short form, of at most nine characters, of the words for how a connection ended.
pub fn short_end(word: &str) -> &str {
    match word {
        "reset_local" => "rst sent",
        "reset_remote" => "rst rcvd",
        "timed_out" => "timed out",
        "unreachable" => "unreach",
        "no_ports" => "no ports",
        "other" => "failed",
        same => same,
    }
}
