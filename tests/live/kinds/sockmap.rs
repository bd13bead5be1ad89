//! Sockets in a BPF sockmap: a program, not a process, may move their data. Labelled, and turns are not told.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use redial_tests::{agent::Agent, gate::live, netns::Netns, record::Trace};

use crate::{
    LOCALHOST,
    bpf::SockMap,
    pair::{self, ANSWER, ASK, After, Answerer, Expected, ask, both, local, own, settle},
};

/// Attaches programs to a map.
type Attach = fn(&SockMap) -> Result<()>;

const LABEL: &[&str] = &["user_data"];

/// The client's end of a plain connection with three exchanges.
fn plain(comm: &str) -> Expected<'_> {
    Expected {
        owner: Some((std::process::id(), comm)),
        exchanges: Some(3),
        bytes: (3 * ASK, 3 * ANSWER),
        closed_by: "local",
        labels: &[],
    }
}

/// Three exchanges; one end's socket is in a sockmap from its beginning on, with the programs that `programs` attaches.
fn run(client_in: bool, programs: Attach) -> Result<(Trace, SocketAddr, SocketAddr, Answerer)> {
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let map = SockMap::new()?;
    programs(&map)?;
    let (listener, to) = pair::listener(&netns, LOCALHOST, 0, |_| Ok(()))?;
    let answerer = Answerer::start_with(listener, After::Answer, (!client_in).then_some(&map))?;
    let socket = pair::socket(&netns, LOCALHOST, 0)?;
    socket.connect(&to.into())?;
    let from = local(&socket)?;
    ensure!(!client_in || map.put(socket.as_raw_fd()), "cannot put the client's socket into a sockmap");
    // The server puts its own in when it has accepted.
    std::thread::sleep(Duration::from_millis(20));
    ask(&socket, 3)?;
    drop(socket);
    settle();
    Ok((agent.stop()?, from, to, answerer))
}

const PROGRAMS: [(&str, Attach); 4] = [
    ("none", |_| Ok(())),
    ("sent", SockMap::pass_sent),
    ("received", SockMap::pass_received),
    ("parsed", SockMap::pass_parsed),
];

#[test]
fn clients_socket() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (_, comm) = own();
    for (name, programs) in PROGRAMS {
        let (trace, from, to, answerer) = run(true, programs)?;
        let (client_end, server_end) = both(&trace, from, to)?;
        Expected { exchanges: None, labels: LABEL, ..plain(&comm) }.check(client_end).context(name)?;
        let server = Expected {
            owner: Some(answerer.owner()),
            bytes: (3 * ANSWER, 3 * ASK),
            closed_by: "remote",
            ..plain(&comm)
        };
        server.check(server_end).context(name)?;
    }
    Ok(())
}

#[test]
fn servers_socket() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (_, comm) = own();
    for (name, programs) in PROGRAMS {
        let (trace, from, to, answerer) = run(false, programs)?;
        let (client_end, server_end) = both(&trace, from, to)?;
        plain(&comm).check(client_end).context(name)?;
        let server = Expected {
            owner: Some(answerer.owner()),
            exchanges: None,
            bytes: (3 * ANSWER, 3 * ASK),
            closed_by: "remote",
            labels: LABEL,
        };
        server.check(server_end).context(name)?;
    }
    Ok(())
}

/// A proxy that leaves copying to the kernel: both its connections are labelled, and their bytes are exact.
#[test]
fn proxy_in_the_kernel() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (pid, comm) = own();
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let (back_listener, back) = pair::listener(&netns, LOCALHOST, 0, |_| Ok(()))?;
    let answerer = Answerer::start(back_listener)?;
    let (front_listener, front) = pair::listener(&netns, LOCALHOST, 0, |_| Ok(()))?;
    let client = pair::socket(&netns, LOCALHOST, 0)?;
    client.connect(&front.into())?;
    let (accepted, _) = front_listener.accept()?;
    let behind = pair::socket(&netns, LOCALHOST, 0)?;
    behind.connect(&back.into())?;
    let (front_map, back_map) = (SockMap::new()?, SockMap::new()?);
    front_map.forward_received(&back_map)?;
    back_map.forward_received(&front_map)?;
    ensure!(front_map.put(accepted.as_raw_fd()) && back_map.put(behind.as_raw_fd()), "cannot fill the sockmaps");
    ask(&client, 3)?;
    let (client_at, behind_at) = (local(&client)?, local(&behind)?);
    drop(client);
    settle();
    drop((accepted, behind));
    settle();
    let trace = agent.stop()?;
    let (client_end, front_end) = both(&trace, client_at, front)?;
    let (behind_end, back_end) = both(&trace, behind_at, back)?;
    plain(&comm).check(client_end).context("client")?;
    let served = Expected { bytes: (3 * ANSWER, 3 * ASK), closed_by: "remote", ..plain(&comm) };
    Expected { owner: Some(answerer.owner()), ..served }.check(back_end).context("server")?;
    // The proxy moves no data itself: who accepted is all that is known, and counts as the owner.
    let in_front = Expected { owner: Some((pid, &comm)), exchanges: None, labels: LABEL, ..served };
    in_front.check(front_end).context("proxy, in front")?;
    ensure!(front_end.acceptor_pid.is_none(), "nobody else accepted: {front_end:?}");
    Expected { exchanges: None, labels: LABEL, ..plain(&comm) }.check(behind_end).context("proxy, behind")
}

/// Data that a program hands from socket to socket past TCP: no byte of it is TCP's, so "unused" would be wrong.
#[test]
fn shortcut_past_tcp() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (pid, comm) = own();
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = pair::listener(&netns, LOCALHOST, 0, |_| Ok(()))?;
    let mut client = pair::socket(&netns, LOCALHOST, 0)?;
    client.connect(&to.into())?;
    let (mut server, _) = listener.accept()?;
    let (client_map, server_map) = (SockMap::new()?, SockMap::new()?);
    client_map.shortcut_sent(&server_map)?;
    server_map.shortcut_sent(&client_map)?;
    ensure!(client_map.put(client.as_raw_fd()) && server_map.put(server.as_raw_fd()), "cannot fill the sockmaps");
    for _ in 0..3 {
        client.write_all(&[0; ASK as usize])?;
        server.read_exact(&mut [0; ASK as usize])?;
        server.write_all(&[0; ANSWER as usize])?;
        client.read_exact(&mut [0; ANSWER as usize])?;
    }
    let from = local(&client)?;
    drop(client);
    settle();
    drop(server);
    settle();
    let trace = agent.stop()?;
    let (client_end, server_end) = both(&trace, from, to)?;
    let client = Expected { exchanges: None, bytes: (0, 0), labels: LABEL, ..plain(&comm) };
    client.check(client_end)?;
    Expected { owner: Some((pid, &comm)), closed_by: "remote", ..client }.check(server_end)
}
