//! Chains and the pressure on the host's tables, in lines that the text and the Markdown of an audit share.

use super::{
    names::{arrow, endpoint, program},
    units::{count, duration, known, rate},
};
use crate::snapshot::{
    Snapshot,
    chain::{Chain, Side},
    edge::Edge,
    host::{Listener, Namespace, Pressure, ProcessDescriptors, busiest},
};

/// How many namespaces are told of.
const MAX_NAMESPACES: usize = 10;
/// How many listeners a namespace.
const MAX_LISTENERS: usize = 5;
/// How many edges whose ports run out.
const MAX_PORTS: usize = 20;
/// How many chains.
const MAX_CHAINS: usize = 20;
/// A queue or a limit below this share of it is not worth a line.
const WORTH_TELLING: f64 = 0.1;

/// A part of the text: its heading and its lines.
pub struct Part {
    /// The heading.
    pub title: &'static str,
    /// The lines; not empty.
    pub lines: Vec<String>,
}

/// What there is to tell beside the edges.
pub fn parts(snapshot: &Snapshot<'_>) -> Vec<Part> {
    let chains = snapshot.chains.as_deref().unwrap_or_default();
    let mut parts = vec![
        Part { title: "In front and behind", lines: chain_lines(chains) },
        Part { title: "Ports that run out", lines: port_lines(snapshot) },
    ];
    if let Some(pressure) = &snapshot.pressure {
        parts.push(Part { title: "The host's tables", lines: pressure_lines(pressure) });
    }
    parts.retain(|part| !part.lines.is_empty());
    parts
}

fn chain_lines(chains: &[Chain]) -> Vec<String> {
    let side = |side: &Side| {
        format!("{} opened, {} exchanges a connection", count(side.opened), known(side.exchanges_per_connection, rate))
    };
    let mut lines: Vec<String> = chains
        .iter()
        .take(MAX_CHAINS)
        .map(|chain| {
            format!(
                "{}: {} opened behind per exchange in front\n  in front: {}\n  behind: {}",
                program(&chain.process),
                known(chain.opened_per_inbound_exchange, rate),
                side(&chain.inbound),
                side(&chain.outbound),
            )
        })
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    more(&mut lines, chains.len(), MAX_CHAINS, "programs");
    lines
}

fn port_lines(snapshot: &Snapshot<'_>) -> Vec<String> {
    let line = |edge: Edge| {
        let (ports, remote) = (edge.ports?, edge.remote?);
        let place = endpoint(remote.addr, remote.port, remote.name.as_deref());
        Some(format!(
            "{} {} {place}: {} of {} left, none in {} at this rate",
            program(&edge.process),
            arrow(edge.role),
            count(ports.available.into()),
            count((ports.used + ports.available).into()),
            duration(ports.exhausted_in_s?),
        ))
    };
    snapshot.edges.iter().filter_map(line).take(MAX_PORTS).collect()
}

fn pressure_lines(pressure: &Pressure) -> Vec<String> {
    let namespaces = busiest(pressure.namespaces.iter().collect());
    let mut lines: Vec<String> = namespaces.iter().take(MAX_NAMESPACES).flat_map(|one| namespace_lines(one)).collect();
    more(&mut lines, namespaces.len(), MAX_NAMESPACES, "network namespaces");
    if pressure.namespaces_unread > 0 {
        lines.push(format!("{} network namespaces could not be read", pressure.namespaces_unread));
    }
    lines.extend(pressure.descriptors.iter().filter(|one| one.share() >= WORTH_TELLING).map(descriptor_line));
    lines
}

fn namespace_lines(one: &Namespace) -> Vec<String> {
    let of_max = |max: Option<u64>| max.map_or_else(String::new, |max| format!(" of {}", count(max)));
    let grown = one.time_wait_growth_per_s.map_or_else(String::new, |per_s| format!(" ({per_s:+.1}/s)"));
    let first = format!(
        "netns {}: {} sockets, {} in TIME-WAIT{}{grown}",
        one.netns,
        count(one.sockets),
        count(one.time_wait),
        of_max(one.time_wait_max),
    );
    let mut lines = vec![first];
    if let Some(ports) = one.ports {
        lines.push(format!("  {} ephemeral ports for a remote that has none yet", count(ports.into())));
    }
    if let Some(table) = one.conntrack {
        lines.push(format!("  connection tracking: {}{}", count(table.count), of_max(Some(table.max))));
    }
    let events = [
        ("connections found no room in TIME-WAIT", one.time_wait_overflows),
        ("segments of handshakes came to a full accept queue", one.listen_overflows),
        (
            "more were dropped by listeners for other causes",
            one.listen_drops.map(|drops| drops.saturating_sub(one.listen_overflows.unwrap_or(0))),
        ),
    ];
    lines.extend(events.into_iter().filter_map(|(what, times)| match times {
        Some(times) if times > 0 => Some(format!("  {} {what}", count(times))),
        _ => None,
    }));
    let full = one.listeners.iter().filter(|listener| listener.share() >= WORTH_TELLING);
    lines.extend(full.take(MAX_LISTENERS).map(listener_line));
    lines
}

fn listener_line(listener: &Listener) -> String {
    format!("  accept queue of {}:{}: {} of {}", listener.addr, listener.port, listener.queued, listener.max)
}

fn descriptor_line(process: &ProcessDescriptors) -> String {
    let limit = process.limit.map_or_else(|| "no limit".to_owned(), count);
    let name = super::safe::safe(process.comm.as_deref().unwrap_or("?")).into_owned();
    format!("{name} ({}): {} descriptors of {limit}", process.pid, count(process.open))
}

fn more(lines: &mut Vec<String>, all: usize, shown: usize, what: &str) {
    if all > shown {
        lines.push(format!("and {} more {what} (--format json has all)", all - shown));
    }
}
