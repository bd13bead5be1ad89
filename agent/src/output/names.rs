//! Programs, addresses and the ways that connections end, as people read them.

use std::net::IpAddr;

use super::safe::safe;
use crate::{
    enrich::role::Role,
    snapshot::edge::{OwnerKind, Process},
};

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

/// How much of a container's id tells it apart, as container tools show it.
const SHORT_ID: usize = 12;

/// What to call the program of an edge, or what edges are folded by.
pub fn program(process: &Process) -> String {
    let short = |id: &str| id.get(..SHORT_ID).unwrap_or(id).to_owned();
    let folded = process.container.as_deref().map(short).or_else(|| process.pod.as_deref().map(str::to_owned));
    let name = match (&process.exe, process.kind.placeholder(), &process.comm) {
        (Some(exe), ..) => base_name(exe),
        (None, Some(placeholder), _) => {
            folded.as_deref().filter(|_| process.kind == OwnerKind::Any).unwrap_or(placeholder)
        }
        (None, None, Some(comm)) => comm,
        (None, None, None) => UNKNOWN,
    };
    match process.pid {
        Some(pid) if process.kind == OwnerKind::Process => format!("{} {pid}", safe(name)),
        _ => safe(name).into_owned(),
    }
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
