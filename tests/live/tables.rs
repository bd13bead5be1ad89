//! Tables that overflow: more edges, peers and processes than are told apart. All is bounded, and sums stay exact.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    gate::{live, slowdown},
    netns::Netns,
    observer::Observer,
    peer::{Peer, churn},
    record::Role,
    settle::{EMPTY, settle},
    snapshot::{Edge, Snapshot},
    traffic::{
        churn::{Churn, Close},
        spec::{Client, Script, Server, Serving},
    },
};

/// How many edges the agent shall tell apart; by default it is so many that reading them takes a test too long.
const MAX_EDGES: u64 = 4_096;

/// How many more there are here.
const EXCESS: u64 = 10_000;

/// How many peers of a server it lists.
const MAX_PEERS: usize = 32;

/// More processes than it remembers of an edge.
const MANY: u32 = 100;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn only_edge(snapshot: &Snapshot, role: Role) -> Result<&Edge> {
    let mut found = snapshot.edges.iter().filter(|edge| edge.role() == Some(role));
    let edge = found.next().with_context(|| format!("no edge of a {role:?}: {snapshot:?}"))?;
    ensure!(found.next().is_none(), "one edge of a {role:?}: {:#?}", snapshot.edges);
    Ok(edge)
}

/// Each attempt goes to a remote of its own, twice over all remotes: edges leave and come back.
#[test]
fn more_edges_than_places() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let remotes = MAX_EDGES + EXCESS;
    let netns = Netns::new()?;
    let observer = Observer::in_netns(&netns, &["--max-edges", &MAX_EDGES.to_string()])?;
    let seconds = 30.0 * f64::from(slowdown());
    let spec = Churn {
        clients: 2,
        servers: 0,
        connections: Some(remotes),
        addresses: u32::try_from(remotes)?,
        refused_every: Some(1),
        seconds,
        ..Churn::default()
    };
    let done = churn(Some(&netns), &spec)?;
    ensure!(done.refused == 2 * remotes && done.failed == 0, "the generator itself failed: {done:?}");
    settle(&netns, EMPTY)?;
    let snapshot = observer.stop()?;

    let totals = &snapshot.totals;
    let refused = totals.failed_by.get("refused").copied();
    let said = (totals.attempts, totals.failed, refused, totals.opened, totals.open);
    ensure!(said == (2 * remotes, 2 * remotes, Some(2 * remotes), 0, 0), "totals are exact: {totals:?}");
    let (others, own): (Vec<&Edge>, Vec<&Edge>) = snapshot.edges.iter().partition(|edge| edge.is_other());
    ensure!(own.len() as u64 <= MAX_EDGES, "{} edges, more than {MAX_EDGES}", own.len());
    ensure!(others.len() == 1 && others[0].role() == Some(Role::Client), "one edge for all others: {others:?}");
    let other = &others[0];
    ensure!(other.process.kind == "other" && other.remote().is_none(), "it is nobody's: {other:?}");
    // Each remote was tried twice.
    ensure!(other.counts.failed >= 2 * EXCESS, "what has no place is there: {other:?}");
    let told = snapshot.edges_folded + snapshot.losses.get("folded_other").copied().unwrap_or(0);
    ensure!(told >= EXCESS, "it is said how many found no place: {told}");
    let odd = own.iter().find(|edge| edge.counts.failed == 0 || edge.counts.failed > 2);
    ensure!(odd.is_none(), "one or two attempts each: {odd:?}");
    Ok(())
}

/// A client from `from` addresses, one more often than all others together, and what the server's edge says of them.
fn peers_of(from: u8, heavy: usize) -> Result<(BTreeMap<IpAddr, u64>, Edge)> {
    let netns = Netns::new()?;
    let observer = Observer::in_netns(&netns, &[])?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    let mut sources: Vec<IpAddr> = (1..=from).map(|n| Ipv4Addr::new(127, 0, 1, n).into()).collect();
    let heaviest: IpAddr = Ipv4Addr::new(127, 0, 2, 1).into();
    sources.extend(vec![heaviest; heavy]);
    let connections = u32::try_from(sources.len())?;
    let spec = Client::new(server.listening(), connections, Script::asks(1)).from(&sources);
    Peer::client(Some(&netns), &spec)?.run()?;
    server.wait_truth(sources.len())?;
    settle(&netns, EMPTY)?;
    let snapshot = observer.stop()?;
    let edge = only_edge(&snapshot, Role::Server)?;
    let n = sources.len() as u64;
    let counts = (edge.counts.opened, edge.counts.closed, edge.counts.exchanges);
    ensure!(counts == (n, n, Some(n)), "all are counted: {edge:?}");
    let mut truth = BTreeMap::new();
    sources.into_iter().for_each(|source| *truth.entry(source).or_default() += 1);
    Ok((truth, edge.clone()))
}

#[test]
fn few_peers_are_exact() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (truth, edge) = peers_of(u8::try_from(MAX_PEERS)? - 1, 40)?;
    let told: BTreeMap<_, _> = edge.peers.iter().flatten().map(|peer| (peer.addr, peer.connections)).collect();
    ensure!(told == truth, "each peer is counted: {told:?} for {truth:?}");
    Ok(())
}

#[test]
fn more_peers_than_places() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (truth, edge) = peers_of(120, 130)?;
    let peers = edge.peers.clone().context("a server has peers")?;
    ensure!(!peers.is_empty() && peers.len() <= MAX_PEERS, "{} peers: {peers:?}", peers.len());
    let (heaviest, most) = truth.iter().max_by_key(|(_, count)| **count).context("no peers")?;
    ensure!(peers[0].addr == *heaviest, "who connects most is the first of {most}: {peers:?}");
    for peer in &peers {
        let most = truth.get(&peer.addr).copied().unwrap_or(0);
        ensure!((1..=most).contains(&peer.connections), "no more than there were ({most}): {peer:?}");
    }
    Ok(())
}

/// A process a connection, at both ends.
#[test]
fn more_processes_than_places() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let observer = Observer::in_netns(&netns, &[])?;
    let everywhere = Ipv4Addr::UNSPECIFIED.into();
    let spec = Server::new(&[everywhere], Script::answers()).serving(Serving::Fork);
    let mut server = Peer::server(Some(&netns), &spec)?;
    let base = Churn { servers: 0, addresses: 1, port: Some(server.port()), close: Close::Fin, ..Churn::default() };
    let seconds = 30.0 * f64::from(slowdown());
    // As many bytes as the server's script wants.
    let spec = Churn { clients: MANY, connections: Some(1), request: 100, answer: 200, seconds, ..base };
    let done = churn(Some(&netns), &spec)?;
    ensure!(done.connections == u64::from(MANY) && done.failed == 0, "the generator itself failed: {done:?}");
    server.wait_truth(MANY as usize)?;
    settle(&netns, EMPTY)?;
    let snapshot = observer.stop()?;
    let n = u64::from(MANY);
    for role in [Role::Client, Role::Server] {
        let edge = only_edge(&snapshot, role)?;
        ensure!((edge.counts.opened, edge.counts.closed) == (n, n), "all are counted: {edge:?}");
        ensure!((edge.process.pids, edge.process.pid) == (Some(n), None), "{n} processes, none the only one: {edge:?}");
    }
    Ok(())
}
