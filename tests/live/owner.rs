//! Owners: whose process a connection is, however it came to it.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::{sys::signal::Signal, unistd::Pid};
use redial_tests::{
    agent::Agent,
    check::{self, ClosedBy},
    gate::live,
    join::join,
    netns::Netns,
    peer::Peer,
    traffic::{
        spec::{Client, Connect, End, Io, Script, Server, Serving},
        truth::Conn,
    },
};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Serves `n` connections so and checks that each end has the owner, and the acceptor, that the generator had.
fn served(serving: Serving, n: u32, server_script: Script) -> Result<Vec<Conn>> {
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], server_script).serving(serving))?;
    let clients =
        Peer::client(Some(&netns), &Client::new(server.listening(), n, Script::asks(2)).threads(2.min(n)))?.run()?;
    let servers = server.wait_truth(n as usize)?;
    let trace = agent.stop()?;
    let truth: Vec<Conn> = clients.into_iter().chain(servers.iter().cloned()).collect();
    for (conn, record) in join(&truth, &trace.records)? {
        check::closed(conn, record, ClosedBy::CLIENT.of(conn.role)).with_context(|| format!("{serving:?}"))?;
    }
    Ok(servers)
}

#[test]
fn threads() -> Result<()> {
    if !live() {
        return Ok(());
    }
    served(Serving::Threads, 20, Script::answers())?;
    Ok(())
}

#[test]
fn fork_after_accept() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let servers = served(Serving::Fork, 20, Script::answers())?;
    ensure!(servers.iter().all(|c| c.acceptor_pid.is_some_and(|a| a != c.pid)), "a child serves: {servers:?}");
    Ok(())
}

#[test]
fn prefork() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let servers = served(Serving::Prefork(3), 20, Script::answers())?;
    ensure!(servers.iter().all(|c| c.acceptor_pid.is_none()), "who accepts serves: {servers:?}");
    Ok(())
}

#[test]
fn descriptor_passed() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let servers = served(Serving::Pass, 20, Script::answers())?;
    ensure!(servers.iter().all(|c| c.acceptor_pid.is_some_and(|a| a != c.pid)), "another serves: {servers:?}");
    Ok(())
}

/// The name is the one of the program that serves, not of the one that accepted.
#[test]
fn exec_after_accept() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let servers = served(Serving::Exec, 1, Script::answers())?;
    ensure!(servers.iter().all(|c| c.comm == "exe"), "execve gives another name: {servers:?}");
    Ok(())
}

/// The last descriptor is a child's: the connection is its parent's, the end the child's.
#[test]
fn closed_by_another_process() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    let to = *server.listening().first().context("the server listens nowhere")?;
    let (local, child) = netns.run(|| {
        let mut socket = TcpStream::connect(to)?;
        // The generator's frames: so many bytes of any content.
        socket.write_all(&[0; 100])?;
        socket.read_exact(&mut [0; 200])?;
        let local = socket.local_addr()?;
        let mut child = Command::new("cat").stdin(OwnedFd::from(socket)).stdout(Stdio::null()).spawn()?;
        let pid = child.id();
        // All other descriptors of it are closed by now: only the child's end brings its own.
        nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
        child.wait()?;
        Ok((local, pid))
    })?;
    server.wait_truth(1)?;
    let trace = agent.stop()?;
    let record = check::only(&trace, "the child's end", |r| SocketAddr::from(r.local) == local)?;
    ensure!(record.pid == Some(std::process::id()), "its owner is who connected: {record:?}");
    ensure!(record.closer_pid == Some(child), "closer_pid is {child}: {record:?}");
    ensure!(record.closed_by.as_deref() == Some("local") && record.exchanges == Some(1), "{record:?}");
    Ok(())
}

#[test]
fn io_uring() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let server = Server::new(&[LOCALHOST], Script::answers().io(Io::Uring)).serving(Serving::Uring);
    let mut server = Peer::server(Some(&netns), &server)?;
    let spec = Client::new(server.listening(), 20, Script::asks(2).io(Io::Uring)).connect(Connect::Uring);
    let clients = Peer::client(Some(&netns), &spec)?.run()?;
    let truth: Vec<Conn> = clients.into_iter().chain(server.wait_truth(20)?).collect();
    let trace = agent.stop()?;
    for (conn, record) in join(&truth, &trace.records)? {
        check::closed(conn, record, ClosedBy::CLIENT.of(conn.role))?;
    }
    Ok(())
}

/// Processes that are gone a moment after their only connection.
#[test]
fn short_lived() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let spec = Client::new(server.listening(), 1, Script::asks(1).end(End::Exit));
        let mut client = Peer::client(Some(&netns), &spec)?;
        clients.extend(client.run()?);
    }
    server.wait_truth(20)?;
    let trace = agent.stop()?;
    let records: Vec<_> = trace.records.into_iter().filter(|r| r.role.as_deref() == Some("client")).collect();
    for (conn, record) in join(&clients, &records)? {
        check::closed(conn, record, "local")?;
    }
    Ok(())
}
