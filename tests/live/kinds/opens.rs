//! Uncommon ways to open: to oneself, both at once, by many listeners on one port. And sockets that are none of TCP's.

use std::{
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::libc;
use redial_tests::{
    agent::Agent,
    check,
    gate::live,
    netns::Netns,
    record::Role,
    relay::{CLIENT, Relay, SERVER},
};

use crate::{
    LOCALHOST, LOCALHOST6,
    pair::{self, ANSWER, ASK, Answerer, Expected, ask, both, local, own, record, settle},
};

/// A socket connected to itself is one connection with one end, a client's; it reads what it has written.
#[test]
fn to_oneself() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (pid, comm) = own();
    for ip in [LOCALHOST, LOCALHOST6] {
        let netns = Netns::new()?;
        let agent = Agent::in_netns(&netns)?;
        let mut socket = pair::socket(&netns, ip, 0)?;
        socket.bind(&SocketAddr::new(ip, 0).into())?;
        let here = local(&socket)?;
        socket.connect(&here.into())?;
        for _ in 0..3 {
            socket.write_all(&[0; ASK as usize])?;
            socket.read_exact(&mut [0; ASK as usize])?;
        }
        drop(socket);
        settle();
        let trace = agent.stop()?;
        ensure!(trace.records.len() == 1, "one end: {:#?}", trace.records);
        let expected = Expected {
            owner: Some((pid, &comm)),
            exchanges: Some(3),
            bytes: (3 * ASK, 3 * ASK),
            closed_by: "local",
            labels: &[],
        };
        expected.check(record(&trace, Role::Client, here, here)?)?;
    }
    Ok(())
}

/// SYNs that cross: both ends are clients.
#[test]
fn both_at_once() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (pid, comm) = own();
    let relay = Relay::new(Duration::from_millis(100))?;
    let agents = [Agent::in_netns(&relay.client)?, Agent::in_netns(&relay.server)?];
    let ends = [(&relay.client, CLIENT), (&relay.server, SERVER)];
    let sockets = ends
        .iter()
        .map(|(netns, ip)| {
            let socket = pair::socket(netns, (*ip).into(), 0)?;
            socket.bind(&SocketAddr::new((*ip).into(), 0).into())?;
            Ok((local(&socket)?, socket))
        })
        .collect::<Result<Vec<_>>>()?;
    let [(here, mut first), (there, mut second)] =
        <[_; 2]>::try_from(sockets).ok().context("two sockets were asked for")?;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| second.connect(&here.into()));
        let own = first.connect(&there.into());
        own.and(other.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked"))))
    })
    .context("connect from both sides at once")?;
    first.write_all(&[0; ASK as usize])?;
    second.read_exact(&mut [0; ASK as usize])?;
    second.write_all(&[0; ANSWER as usize])?;
    first.read_exact(&mut [0; ANSWER as usize])?;
    drop(first);
    std::thread::sleep(Duration::from_millis(300));
    drop(second);
    for agent in &agents {
        agent.wait_for(Duration::from_secs(3), |r| r.event == "closed")?;
    }
    let [client_trace, server_trace] = agents.map(Agent::stop);
    let first = Expected {
        owner: Some((pid, &comm)),
        exchanges: Some(1),
        bytes: (ASK, ANSWER),
        closed_by: "local",
        labels: &[],
    };
    first.check(record(&client_trace?, Role::Client, here, there)?)?;
    // What came before its first send asked for nothing, as a greeting does.
    let second = Expected { exchanges: Some(0), bytes: (ANSWER, ASK), closed_by: "remote", ..first };
    second.check(record(&server_trace?, Role::Client, there, here)?)
}

/// Listeners of several processes on one port: each connection belongs to the process that got it.
#[test]
fn many_listeners_on_one_port() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (pid, comm) = own();
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let reuse = |socket: &socket2::Socket| pair::set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1);
    let (first, to) = pair::listener(&netns, LOCALHOST, 0, reuse)?;
    let second = pair::socket(&netns, LOCALHOST, 0)?;
    reuse(&second)?;
    second.set_read_timeout(None)?;
    second.bind(&to.into())?;
    second.listen(16)?;
    // A child must not hold the other's listener, or nobody can tell who accepts.
    let servers = [Answerer::start(first)?, Answerer::start(second)?];
    let mut clients = Vec::new();
    for _ in 0..20 {
        let socket = pair::socket(&netns, LOCALHOST, 0)?;
        socket.connect(&to.into())?;
        clients.push(local(&socket)?);
        ask(&socket, 1)?;
    }
    settle();
    let trace = agent.stop()?;
    let mut served = [0, 0];
    for from in clients {
        let (client_end, server_end) = both(&trace, from, to)?;
        let client = Expected {
            owner: Some((pid, &comm)),
            exchanges: Some(1),
            bytes: (ASK, ANSWER),
            closed_by: "local",
            labels: &[],
        };
        client.check(client_end)?;
        let which = servers.iter().position(|s| Some(s.owner().0) == server_end.pid).context("a server of ours")?;
        served[which] += 1;
        Expected { owner: Some(servers[which].owner()), bytes: (ANSWER, ASK), closed_by: "remote", ..client }
            .check(server_end)?;
    }
    ensure!(served.iter().all(|&n| n > 0), "20 connections and {served:?} served");
    Ok(())
}

/// Addresses that hold for one link only.
#[test]
fn link_local() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (pid, comm) = own();
    let relay = Relay::new(Duration::ZERO)?;
    let ((ip, scope), (own_ip, own_scope)) = (relay.server.run(own_link_local)?, relay.client.run(own_link_local)?);
    let agents = [Agent::in_netns(&relay.client)?, Agent::in_netns(&relay.server)?];
    let listener = pair::socket(&relay.server, ip.into(), 0)?;
    listener.set_read_timeout(None)?;
    listener.bind(&SocketAddrV6::new(ip, 0, 0, scope).into())?;
    listener.listen(16)?;
    let to = SocketAddr::new(ip.into(), local(&listener)?.port());
    let answerer = Answerer::start(listener)?;
    let socket = pair::socket(&relay.client, ip.into(), 0)?;
    socket.connect(&SocketAddrV6::new(ip, to.port(), 0, own_scope).into())?;
    ask(&socket, 3)?;
    let from = SocketAddr::new(own_ip.into(), local(&socket)?.port());
    drop(socket);
    settle();
    let [client_trace, server_trace] = agents.map(Agent::stop);
    let client = Expected {
        owner: Some((pid, &comm)),
        exchanges: Some(3),
        bytes: (3 * ASK, 3 * ANSWER),
        closed_by: "local",
        labels: &[],
    };
    client.check(record(&client_trace?, Role::Client, from, to)?)?;
    Expected { owner: Some(answerer.owner()), bytes: (3 * ANSWER, 3 * ASK), closed_by: "remote", ..client }
        .check(record(&server_trace?, Role::Server, to, from)?)
}

/// The link-local address that the kernel gave an interface of the calling thread's namespace, and the interface.
fn own_link_local() -> Result<(Ipv6Addr, u32)> {
    // Address, index, prefix, scope, flags and name.
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").context("read the interfaces' addresses")?;
    let line = table.lines().find(|l| l.starts_with("fe80")).with_context(|| format!("no link-local one:\n{table}"))?;
    let mut words = line.split_whitespace();
    let mut number = |what: &str| {
        let word = words.next().with_context(|| format!("no {what}: {line}"))?;
        u128::from_str_radix(word, 16).with_context(|| format!("no {what}: {line}"))
    };
    Ok((Ipv6Addr::from(number("address")?), u32::try_from(number("index")?)?))
}

/// UDP, Unix sockets, and TCP sockets that never connect make no record and no attempt.
#[test]
fn not_connections() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    netns.run(|| {
        for ip in [LOCALHOST, LOCALHOST6] {
            let (one, other) = (UdpSocket::bind((ip, 0))?, UdpSocket::bind((ip, 0))?);
            one.connect(other.local_addr()?)?;
            one.send(&[0; 10])?;
            other.recv(&mut [0; 10])?;
        }
        let (mut one, mut other) = UnixStream::pair()?;
        one.write_all(&[0; 10])?;
        other.read_exact(&mut [0; 10])?;
        Ok(())
    })?;
    drop(pair::listener(&netns, LOCALHOST, 0, |_| Ok(()))?);
    drop(pair::socket(&netns, LOCALHOST, 0)?);
    settle();
    let trace = agent.stop()?;
    ensure!(trace.records.is_empty(), "no connection was made: {:#?}", trace.records);
    ensure!(trace.summary.totals.attempts == 0, "{:?}", trace.summary);
    check::balance(&trace)
}

/// The client gives up before anybody accepts; the listener closes later.
#[test]
fn never_accepted_and_given_up() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = pair::listener(&netns, LOCALHOST, 0, |_| Ok(()))?;
    let socket = pair::socket(&netns, LOCALHOST, 0)?;
    socket.connect(&to.into())?;
    let from = local(&socket)?;
    drop(socket);
    settle();
    drop(listener);
    settle();
    let trace = agent.stop()?;
    let (_, server) = both(&trace, from, to)?;
    ensure!(server.closed_by.as_deref() == Some("remote"), "the client closed first: {server:?}");
    ensure!(server.pid.is_none() && server.labelled("never_accepted"), "nobody's: {server:?}");
    Ok(())
}
