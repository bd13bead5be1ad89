//! Counts: a line per end of every connection, and totals that equal what the generator did.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use redial_tests::{
    agent::Agent,
    check::{self, ClosedBy},
    gate::live,
    join::join,
    netns::Netns,
    peer::Peer,
    traffic::{
        spec::{Client, End, Repeat, Script, Server, Step},
        truth::Conn,
    },
};

const V4: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))];
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// A server that answers once and closes first.
fn once() -> Script {
    Script::new(Repeat::Times(1), &[Step::Recv(100), Step::Send(200)])
}

/// Its client.
fn asks_once() -> Script {
    Script::asks(1).tail(&[Step::Eof])
}

fn clients_of(server: &Peer, connections: u32, script: Script) -> Client {
    Client::new(server.listening(), connections, script)
}

/// The kinds of use: who asks how, and who closes.
#[test]
fn every_end_is_one_line() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let inside = Some(&netns);
    let both = [V4[0], V4[1], V6];
    let mut answering = Peer::server(inside, &Server::new(&both, Script::answers()))?;
    let mut closing = Peer::server(inside, &Server::new(&both, once()))?;
    let mut mapped = Peer::server(inside, &Server::new(&[ANY], Script::answers()))?;
    let over4 = SocketAddr::new(V4[0], mapped.port());
    let over46 = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 3).to_ipv6_mapped().into(), mapped.port());
    let reset = Script::asks(2).tail(&[Step::Sleep(60)]).end(End::Reset);
    let groups = [
        (clients_of(&answering, 60, Script::asks(5)), ClosedBy::CLIENT),
        (clients_of(&answering, 30, Script::asks(1)).threads(3), ClosedBy::CLIENT),
        (clients_of(&answering, 9, Script::asks(0)), ClosedBy::CLIENT),
        (clients_of(&answering, 9, reset).threads(9), ClosedBy::CLIENT_RESETS),
        (clients_of(&closing, 30, asks_once()), ClosedBy::SERVER),
        (Client::new(&[over4, over46], 20, Script::asks(3)), ClosedBy::CLIENT),
    ];
    let mut peers = groups.iter().map(|(spec, _)| Peer::client(inside, spec)).collect::<Result<Vec<_>>>()?;
    for peer in &mut peers {
        peer.go()?;
    }
    let mut clients = Vec::new();
    for (peer, (_, closed_by)) in peers.iter_mut().zip(&groups) {
        clients.extend(peer.finish()?.into_iter().map(|conn| (conn, *closed_by)));
    }
    let mut servers = answering.wait_truth(108)?;
    servers.extend(closing.wait_truth(30)?);
    servers.extend(mapped.wait_truth(20)?);
    let trace = agent.stop()?;

    let inode = netns.inode()?;
    let truth: Vec<Conn> = clients.iter().map(|(c, _)| c.clone()).chain(servers).collect();
    ensure!(truth.len() == 2 * 158);
    let by: HashMap<_, _> = clients.iter().map(|(c, by)| (c.ends(), *by)).collect();
    for (conn, record) in join(&truth, &trace.records)? {
        let closed_by = by.get(&conn.ends()).context("a server's end without a client's")?;
        check::closed(conn, record, closed_by.of(conn.role))?;
        ensure!(record.netns == Some(inode), "netns is {inode}: {record:?}");
        ensure!(record.labels.is_empty(), "no labels: {record:?}");
    }
    let ids: HashSet<_> = trace.records.iter().map(|r| &r.id).collect();
    ensure!(ids.len() == trace.records.len(), "ids are not unique");
    let all: Vec<&Conn> = truth.iter().collect();
    check::totals(&trace, &all, 0)?;
    for word in ["local", "remote", "reset_local", "reset_remote"] {
        let n = clients.iter().flat_map(|(_, by)| [by.client, by.server]).filter(|w| *w == word).count() as u64;
        ensure!(trace.summary.totals.closed_by(word) == n, "closed_by {word} is {n}: {:?}", trace.summary);
    }
    ensure!(trace.summary.totals.opened == 2 * 158 && trace.summary.totals.open == 0, "{:?}", trace.summary);
    Ok(())
}

/// Opened = closed + open, with connections that stay; those older than the agent are in no count.
#[test]
fn open_before_and_after() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let inside = Some(&netns);
    let mut server = Peer::server(inside, &Server::new(&[V4[0], V6], Script::answers()))?;
    let held = |n| clients_of(&server, n, Script::asks(1).tail(&[Step::Hold])).threads(n);
    let mut older = Peer::client(inside, &held(5))?;
    let mut stays = Peer::client(inside, &held(6))?;
    older.go()?;
    older.wait_held(5)?;
    let agent = Agent::in_netns_with(&netns, &["--opens"])?;
    stays.go()?;
    stays.wait_held(6)?;
    older.release()?;
    older.finish()?;
    let mut truth = Peer::client(inside, &clients_of(&server, 10, Script::asks(2)))?.run()?;
    let ports: HashSet<_> = truth.iter().map(|c| c.local).collect();
    truth.extend(server.wait_truth(15)?.into_iter().filter(|c| ports.contains(&c.remote)));
    let trace = agent.stop()?;

    let totals = &trace.summary.totals;
    // Two ends each: 5 from before and 16 opened, of which 15 closed and 6 stay.
    ensure!((totals.open_at_start, totals.opened) == (10, 32), "{:?}", trace.summary);
    ensure!((totals.closed, totals.open) == (30, 12), "{:?}", trace.summary);
    ensure!(totals.closed_by("local") == 15 && totals.closed_by("remote") == 15, "{:?}", trace.summary);
    check::balance(&trace)?;
    let (older, younger): (Vec<_>, Vec<_>) = trace.records.into_iter().partition(|r| r.labelled("adopted"));
    ensure!(older.len() == 10 && older.iter().all(|r| r.connect_s.is_none()), "{older:?}");
    for (conn, record) in join(&truth, &younger)? {
        ensure!(record.pid == Some(conn.pid), "pid is {}: {record:?}", conn.pid);
        check::closed(conn, record, ClosedBy::CLIENT.of(conn.role))?;
    }
    let opened: HashSet<_> = trace.opened.iter().map(|r| &r.id).collect();
    ensure!(trace.opened.len() == 32 && opened.len() == 32, "{} lines of --opens, 32 wanted", trace.opened.len());
    ensure!(younger.len() == 20 && younger.iter().all(|r| opened.contains(&r.id)), "ids differ");
    Ok(())
}

/// Filters by process, on the machine's own loopback, and their absence of side effects.
#[test]
fn by_process() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let mut server = Peer::server(None, &Server::new(&V4, Script::answers()))?;
    let mut other_server = Peer::server(None, &Server::new(&V4, Script::answers()))?;
    let mut client = Peer::client(None, &clients_of(&server, 50, Script::asks(4)))?;
    let mut other = Peer::client(None, &clients_of(&other_server, 50, Script::asks(4)))?;
    let pids = [client.pid().to_string(), server.pid().to_string()];
    let both = Agent::start(["--pid", &pids[0], "--pid", &pids[1]])?;
    let one = Agent::start(["--pid", &pids[0]])?;
    client.go()?;
    other.run()?;
    let clients = client.finish()?;
    let servers = server.wait_truth(50)?;
    other_server.wait_truth(50)?;
    let (one, both) = (one.stop()?, both.stop()?);
    for (conn, record) in join(&clients, &one.records)? {
        check::closed(conn, record, "local")?;
    }
    check::totals(&one, &clients.iter().collect::<Vec<_>>(), 0)?;
    let truth: Vec<Conn> = clients.into_iter().chain(servers).collect();
    for (conn, record) in join(&truth, &both.records)? {
        check::closed(conn, record, ClosedBy::CLIENT.of(conn.role))?;
    }
    check::totals(&both, &truth.iter().collect::<Vec<_>>(), 0)
}

/// Filters by role and port.
#[test]
fn by_role_and_port() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let inside = Some(&netns);
    let mut server = Peer::server(inside, &Server::new(&V4[..1], Script::answers()))?;
    let mut other = Peer::server(inside, &Server::new(&V4[..1], Script::answers()))?;
    let port = server.port().to_string();
    let by_role = Agent::in_netns_with(&netns, &["--role", "server"])?;
    let by_port = Agent::in_netns_with(&netns, &["--port", &port])?;
    let targets = [server.listening()[0], other.listening()[0]];
    let clients = Peer::client(inside, &Client::new(&targets, 20, Script::asks(1)))?.run()?;
    let mut servers = server.wait_truth(10)?;
    let at_port: Vec<Conn> =
        clients.into_iter().filter(|c| c.remote == targets[0]).chain(servers.iter().cloned()).collect();
    servers.extend(other.wait_truth(10)?);
    let (by_role, by_port) = (by_role.stop()?, by_port.stop()?);
    ensure!(join(&servers, &by_role.records).context("--role server")?.len() == 20);
    ensure!(join(&at_port, &by_port.records).context("--port")?.len() == 20);
    check::totals(&by_role, &servers.iter().collect::<Vec<_>>(), 0).context("--role server")?;
    check::totals(&by_port, &at_port.iter().collect::<Vec<_>>(), 0).context("--port")
}

/// The three ways to end: SIGTERM, the time given, SIGINT (all other tests).
#[test]
fn ends_cleanly() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let mut terminated = Agent::in_netns(&netns)?;
    let begin = Instant::now();
    let mut timed = Agent::in_netns_with(&netns, &["--for", "1s"])?;
    let mut server = Peer::server(Some(&netns), &Server::new(&V4[..1], Script::answers()))?;
    Peer::client(Some(&netns), &clients_of(&server, 3, Script::asks(1)))?.run()?;
    server.wait_truth(3)?;
    terminated.signal(Signal::SIGTERM)?;
    ensure!(terminated.finish()?.records.len() == 6, "SIGTERM lost records");
    ensure!(timed.finish()?.records.len() == 6, "--for lost records");
    ensure!(begin.elapsed() > Duration::from_secs(1), "--for 1s ended early");
    Ok(())
}
