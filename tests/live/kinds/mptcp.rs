//! MPTCP: its subflows are TCP connections, made by the kernel for a process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use nix::libc::IPPROTO_MPTCP;
use redial_tests::{
    agent::Agent,
    clock::poll_until,
    gate::live,
    netns::Netns,
    record::{Record, Trace},
};

use crate::{
    LOCALHOST, LOCALHOST6,
    pair::{self, ANSWER, ASK, Answerer, Expected, ask, both, local, own, settle},
    path_manager,
};

/// The client's end of a connection with three exchanges: payload and owner are exact, turns cannot be told.
fn client<'a>(comm: &'a str) -> Expected<'a> {
    Expected {
        owner: Some((std::process::id(), comm)),
        exchanges: None,
        bytes: (3 * ASK, 3 * ANSWER),
        closed_by: "local",
        labels: &["mptcp"],
    }
}

/// Three exchanges between sockets of these protocols: the trace, the client's address, the server's, and the server.
fn run(ip: IpAddr, client: i32, server: i32) -> Result<(Trace, SocketAddr, SocketAddr, Answerer)> {
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = pair::listener(&netns, ip, server, |_| Ok(()))?;
    let answerer = Answerer::start(listener)?;
    let socket = pair::socket(&netns, ip, client)?;
    socket.connect(&to.into())?;
    let from = local(&socket)?;
    ask(&socket, 3)?;
    drop(socket);
    settle();
    Ok((agent.stop()?, from, to, answerer))
}

#[test]
fn both_ends() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (_, comm) = own();
    for ip in [LOCALHOST, LOCALHOST6] {
        let (trace, from, to, answerer) = run(ip, IPPROTO_MPTCP, IPPROTO_MPTCP)?;
        let (client_end, server_end) = both(&trace, from, to)?;
        client(&comm).check(client_end)?;
        let server = Expected {
            owner: Some(answerer.owner()),
            bytes: (3 * ANSWER, 3 * ASK),
            closed_by: "remote",
            ..client(&comm)
        };
        server.check(server_end)?;
        ensure!(client_end.connect_s.is_some() && client_end.time_wait == Some(true), "{client_end:?}");
    }
    Ok(())
}

/// What many programs do without knowing: their listener speaks MPTCP, their clients do not.
#[test]
fn plain_client_of_a_multipath_listener() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (_, comm) = own();
    let (trace, from, to, answerer) = run(LOCALHOST, 0, IPPROTO_MPTCP)?;
    let (client_end, server_end) = both(&trace, from, to)?;
    let plain = Expected { exchanges: Some(3), labels: &[], ..client(&comm) };
    plain.check(client_end)?;
    let server = Expected { owner: Some(answerer.owner()), bytes: (3 * ANSWER, 3 * ASK), closed_by: "remote", ..plain };
    server.check(server_end)
}

/// The client asked for MPTCP and got TCP; its socket is still one of MPTCP.
#[test]
fn multipath_client_of_a_plain_listener() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (_, comm) = own();
    let (trace, from, to, answerer) = run(LOCALHOST, IPPROTO_MPTCP, 0)?;
    let (client_end, server_end) = both(&trace, from, to)?;
    client(&comm).check(client_end)?;
    let server = Expected {
        owner: Some(answerer.owner()),
        exchanges: Some(3),
        bytes: (3 * ANSWER, 3 * ASK),
        closed_by: "remote",
        labels: &[],
    };
    server.check(server_end)
}

/// A further subflow is opened by a kernel thread, which is not its owner; it belongs to the connection's process.
#[test]
fn further_subflow() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (_, comm) = own();
    let netns = Netns::new()?;
    let second = Ipv4Addr::new(127, 0, 0, 2);
    netns.run(|| path_manager::add_subflow_endpoint(second))?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = pair::listener(&netns, LOCALHOST, IPPROTO_MPTCP, |_| Ok(()))?;
    let answerer = Answerer::start(listener)?;
    let socket = pair::socket(&netns, LOCALHOST, IPPROTO_MPTCP)?;
    socket.connect(&to.into())?;
    let from = local(&socket)?;
    ask(&socket, 1)?;
    // The path manager joins once the peer is known to speak MPTCP.
    let joined =
        || netns.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/tcp")?.matches("0200007F:").count()));
    ensure!(poll_until(pair::JOIN_LIMIT, || joined().is_ok_and(|n| n >= 2)), "no second subflow: {:?}", joined());
    drop(socket);
    settle();
    let trace = agent.stop()?;
    // The server's own path manager may try one too, towards the client's port, and is refused.
    let subflows: Vec<_> = trace.records.iter().filter(|r| r.event == "closed" && r.labelled("mptcp")).collect();
    ensure!(subflows.len() == 4, "two subflows with two ends: {:#?}", trace.records);
    let sum = |part: fn(&Record) -> Option<u64>, client: bool| -> u64 {
        subflows.iter().filter(|r| (SocketAddr::from(r.remote) == to) == client).filter_map(|r| part(r)).sum()
    };
    ensure!(sum(|r| r.bytes_sent, true) == ASK && sum(|r| r.bytes_received, true) == ANSWER, "{subflows:#?}");
    ensure!(sum(|r| r.bytes_sent, false) == ANSWER && sum(|r| r.bytes_received, false) == ASK, "{subflows:#?}");
    for record in subflows {
        ensure!(record.exchanges.is_none() && record.unused.is_none(), "turns cannot be told: {record:?}");
        let is_client = SocketAddr::from(record.remote) == to;
        let owner = if is_client { (std::process::id(), &*comm) } else { answerer.owner() };
        let recorded = record.pid.zip(record.comm.as_deref());
        let is_first = [record.local, record.remote].iter().any(|e| SocketAddr::from(*e) == from);
        if is_first {
            ensure!(recorded == Some(owner), "the owner is {owner:?}: {record:?}");
        } else {
            ensure!(recorded.is_none_or(|r| r == owner), "the owner is {owner:?} or not known: {record:?}");
        }
    }
    Ok(())
}

/// Nobody accepts: neither a process's connection nor one of the kernel's.
#[test]
fn never_accepted() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = pair::listener(&netns, LOCALHOST, IPPROTO_MPTCP, |_| Ok(()))?;
    let mut clients = Vec::new();
    for protocol in [0, IPPROTO_MPTCP] {
        let socket = pair::socket(&netns, LOCALHOST, protocol)?;
        socket.connect(&to.into())?;
        clients.push((local(&socket)?, protocol, socket));
    }
    drop(listener);
    settle();
    let trace = agent.stop()?;
    for (from, protocol, _) in &clients {
        let (_, server) = both(&trace, *from, to)?;
        ensure!(server.pid.is_none() && server.labelled("never_accepted"), "nobody's: {server:?}");
        ensure!(!server.labelled("kernel_socket"), "a process listened: {server:?}");
        ensure!(server.labelled("mptcp") == (*protocol == IPPROTO_MPTCP), "{server:?}");
    }
    Ok(())
}
