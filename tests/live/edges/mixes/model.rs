//! What must come out of a mix, told from its plan alone.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use redial_tests::{
    ledger::{Far, Ledger, Name, Wanted},
    settle::Standing,
    traffic::spec::Serving,
};

use super::plan::{ClientPlan, Ending, Fault, FaultPlan, Mix, ServerPlan};

/// What only running a mix shows: who was who.
pub struct Ids {
    /// The namespace.
    pub netns: u64,
    /// The server's port.
    pub port: u16,
    /// The server's first process.
    pub server: u32,
    /// The processes that served, where that is known.
    pub served: BTreeSet<u32>,
    /// The clients' processes.
    pub clients: Vec<u32>,
    /// The process whose attempts fail, and where it tried.
    pub fault: Option<(u32, SocketAddr)>,
}

/// The executables, as the agent writes them.
pub struct Programs {
    /// Of servers.
    pub servers: Vec<String>,
    /// Of clients.
    pub clients: Vec<String>,
}

/// Exchanges of each connection.
pub fn exchanges(server: &ServerPlan, client: &ClientPlan) -> u64 {
    u64::from(client.rounds) + u64::from(server.ending == Ending::HalfCloses)
}

/// Bytes from the client to the server on each connection.
pub fn asked(server: &ServerPlan, client: &ClientPlan) -> u64 {
    exchanges(server, client) * server.request as u64 + u64::from(server.ending == Ending::ServerResets)
}

fn answered(server: &ServerPlan, client: &ClientPlan) -> u64 {
    exchanges(server, client) * server.answer as u64
}

/// Who closed, as the client and the server see it; none where nobody did.
fn words(ending: Ending) -> Option<[&'static str; 2]> {
    match ending {
        Ending::ClientCloses | Ending::ClientExits | Ending::HalfCloses => Some(["local", "remote"]),
        Ending::ServerCloses => Some(["remote", "local"]),
        Ending::ClientResets => Some(["reset_local", "reset_remote"]),
        Ending::ServerResets => Some(["reset_remote", "reset_local"]),
        Ending::Held | Ending::HeldHalfClosed => None,
    }
}

/// Where each connection goes, and where it comes from as the server sees it.
fn connections(client: &ClientPlan) -> impl Iterator<Item = [IpAddr; 2]> {
    (0..client.connections as usize).map(|i| {
        let target = client.targets[i % client.targets.len()].to_canonical();
        let loopback = match target {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let source = client.sources.get(i % client.sources.len().max(1));
        [target, source.map_or(loopback, |&source| source.into())]
    })
}

/// Enters what a mix does to all its edges.
pub fn enter(ledger: &mut Ledger, mix: &Mix, ids: &Ids, programs: &Programs) {
    let Ids { netns, port, .. } = *ids;
    let story = format!("{mix:?}");
    for (client, &pid) in mix.clients.iter().zip(&ids.clients) {
        let exe = Some(programs.clients[client.program].clone());
        for [target, _] in connections(client) {
            let far = Far::Remote(SocketAddr::new(target, port));
            let edge = ledger.edge(Name { exe: exe.clone(), netns, far });
            add_one(edge, &mix.server, client, 0);
            edge.pids.get_or_insert_default().insert(pid);
            tell(edge, &story);
        }
    }
    let exe = Some(programs.servers[mix.server.program].clone());
    let edge = ledger.edge(Name { exe, netns, far: Far::LocalPort(port) });
    // The same port over IPv4 and IPv6 may be that of two servers: one edge.
    let known = edge.pids.take().unwrap_or_default();
    let is_open = !edge.story.is_empty() && known.is_empty();
    edge.pids = server_pids(mix, ids).filter(|_| !is_open).map(|pids| &pids | &known);
    for client in &mix.clients {
        for [_, source] in connections(client) {
            add_one(edge, &mix.server, client, 1);
            *edge.peers.get_or_insert_default().entry(source).or_default() += 1;
        }
    }
    tell(edge, &story);
    if let (Some(plan), Some((pid, target))) = (&mix.fault, ids.fault) {
        let exe = Some(programs.clients[plan.program].clone());
        let edge = ledger.edge(Name { exe, netns, far: Far::Remote(target) });
        add_fault(edge, plan);
        edge.pids.get_or_insert_default().insert(pid);
        tell(edge, &story);
    }
}

/// Adds a connection as the client (0) or the server (1) sees it.
fn add_one(edge: &mut Wanted, server: &ServerPlan, client: &ClientPlan, end: usize) {
    let exchanges = exchanges(server, client);
    let bytes = [asked(server, client), answered(server, client)];
    edge.add_opened(1, exchanges);
    match words(server.ending) {
        Some(words) => edge.add_closed(1, exchanges, words[end], [bytes[end], bytes[1 - end]]),
        None => edge.open += 1,
    }
}

fn add_fault(edge: &mut Wanted, plan: &FaultPlan) {
    let attempts = u64::from(plan.attempts);
    match plan.fault {
        Fault::Refused => *edge.failed_by.entry("refused").or_default() += attempts,
        Fault::Unreachable => *edge.failed_by.entry("unreachable").or_default() += attempts,
        Fault::Cancelled => *edge.failed_by.entry("cancelled").or_default() += attempts,
        Fault::Connecting => edge.connecting += attempts,
    }
}

/// The processes that own a server's connections. Whose a connection is that was never used is left open where one
/// process accepts and another serves.
fn server_pids(mix: &Mix, ids: &Ids) -> Option<BTreeSet<u32>> {
    if mix.server.serving == Serving::Threads {
        return Some([ids.server].into());
    }
    let all_used = mix.clients.iter().all(|client| exchanges(&mix.server, client) > 0);
    (all_used && !mix.server.ending.is_held()).then(|| ids.served.clone())
}

fn tell(edge: &mut Wanted, story: &str) {
    if edge.story.last().is_none_or(|last| last != story) {
        edge.story.push(story.to_owned());
    }
}

/// Adds the sockets that a mix leaves behind.
pub fn leave(standing: &mut Standing, mix: &Mix) {
    let connections: u32 = mix.clients.iter().map(|client| client.connections).sum();
    match mix.server.ending {
        Ending::Held => standing.established += 2 * connections as usize,
        Ending::HeldHalfClosed => {
            standing.fin_wait2 += connections as usize;
            standing.close_wait += connections as usize;
        }
        _ => {}
    }
    if let Some(FaultPlan { fault: Fault::Connecting, attempts, .. }) = mix.fault {
        standing.connecting += attempts as usize;
    }
}
