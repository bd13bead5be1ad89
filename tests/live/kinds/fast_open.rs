//! TCP Fast Open (RFC 7413): requests on the SYN, and servers that answer before the handshake ends.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{errno::Errno, libc};
use redial_tests::{
    agent::Agent,
    gate::live,
    netns::Netns,
    record::{Record, Role},
    relay::{Relay, SERVER},
};
use socket2::{SockAddr, Socket};

use crate::{
    LOCALHOST, LOCALHOST6,
    pair::{self, ANSWER, ASK, After, Answerer, Expected, ask, both, local, own, record, settle},
};

/// A client's way to send on the SYN.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// `sendto` with MSG_FASTOPEN.
    Message,
    /// TCP_FASTOPEN_CONNECT: `connect` returns at once, the SYN goes with the first send.
    Connect,
}

/// Lets clients and servers of a namespace use Fast Open.
fn allow(netns: &Netns) -> Result<()> {
    netns.sysctl("ipv4/tcp_fastopen", "3")
}

/// A listener that takes requests on the SYN.
fn listener(netns: &Netns, ip: IpAddr) -> Result<(Socket, SocketAddr)> {
    pair::listener(netns, ip, 0, |socket| pair::set_option(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 16))
}

/// Asks `n` times on a new connection, the first time as early as `way` allows; `pause` comes before the first send.
fn asks(netns: &Netns, to: SocketAddr, way: Way, n: usize, pause: Duration) -> Result<(Socket, SocketAddr)> {
    let socket = pair::socket(netns, to.ip(), 0)?;
    match way {
        Way::Connect => {
            pair::set_option(&socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)?;
            socket.connect(&to.into())?;
            sleep(pause);
            ask(&socket, n)?;
        }
        Way::Message => {
            let (request, address) = ([0_u8; ASK as usize], SockAddr::from(to));
            // SAFETY: the kernel reads the buffer and the address, whose lengths are given.
            let sent = unsafe {
                libc::sendto(
                    socket.as_raw_fd(),
                    request.as_ptr().cast(),
                    request.len(),
                    libc::MSG_FASTOPEN,
                    address.as_ptr().cast(),
                    address.len(),
                )
            };
            ensure!(Errno::result(sent).context("send on the SYN")? == ASK as isize, "sent {sent} bytes");
            std::io::Read::read_exact(&mut &socket, &mut [0; ANSWER as usize])?;
            ask(&socket, n - 1)?;
        }
    }
    let from = local(&socket)?;
    Ok((socket, from))
}

/// The first connection asks for a cookie; the second and third carry their request on the SYN.
#[test]
fn requests_on_the_syn() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (pid, comm) = own();
    for (ip, way) in [LOCALHOST, LOCALHOST6].into_iter().flat_map(|ip| [(ip, Way::Message), (ip, Way::Connect)]) {
        let netns = Netns::new()?;
        allow(&netns)?;
        let agent = Agent::in_netns(&netns)?;
        let (listener, to) = listener(&netns, ip)?;
        let answerer = Answerer::start(listener)?;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(asks(&netns, to, way, 3, Duration::ZERO)?.1);
        }
        settle();
        let trace = agent.stop()?;
        for (i, from) in clients.into_iter().enumerate() {
            let (client_end, server_end) = both(&trace, from, to)?;
            let client = Expected {
                owner: Some((pid, &comm)),
                exchanges: Some(3),
                bytes: (3 * ASK, 3 * ANSWER),
                closed_by: "local",
                labels: &["fast_open"],
            };
            client.check(client_end).with_context(|| format!("{way:?}"))?;
            // A server that is asked for a cookie opens as ever.
            let labels: &[&str] = if i == 0 { &[] } else { &["fast_open"] };
            let bytes = (3 * ANSWER, 3 * ASK);
            Expected { owner: Some(answerer.owner()), bytes, closed_by: "remote", labels, ..client }
                .check(server_end)
                .with_context(|| format!("{way:?}"))?;
            let turns = client_end.reused_response_s.map(|d| d.count);
            ensure!(
                turns == Some(2) && client_end.first_response_s.is_some(),
                "a first turn, two more: {client_end:?}"
            );
            ensure!(server_end.service_s.is_some_and(|d| d.count == 3), "three turns: {server_end:?}");
        }
    }
    Ok(())
}

/// With a cookie at hand, `connect` sends nothing: the application's pause is no time of connecting.
#[test]
fn pause_before_the_syn() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    allow(&netns)?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = listener(&netns, LOCALHOST)?;
    let _answerer = Answerer::start(listener)?;
    asks(&netns, to, Way::Connect, 1, Duration::ZERO)?;
    let (socket, from) = asks(&netns, to, Way::Connect, 1, Duration::from_millis(400))?;
    drop(socket);
    settle();
    let trace = agent.stop()?;
    let client = record(&trace, Role::Client, from, to)?;
    ensure!(client.labelled("fast_open"), "{client:?}");
    let short = |s: Option<f64>| s.is_none_or(|s| s < 0.2);
    ensure!(short(client.connect_s) && short(client.first_response_s), "the pause was 400 ms: {client:?}");
    Ok(())
}

/// `connect` that waits for data which never come: nothing was sent.
#[test]
fn closed_before_the_syn() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    allow(&netns)?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = listener(&netns, LOCALHOST)?;
    let _answerer = Answerer::start(listener)?;
    asks(&netns, to, Way::Connect, 1, Duration::ZERO)?;
    let socket = pair::socket(&netns, to.ip(), 0)?;
    pair::set_option(&socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)?;
    socket.connect(&to.into())?;
    let from = local(&socket)?;
    drop(socket);
    settle();
    let trace = agent.stop()?;
    let client = record(&trace, Role::Client, from, to)?;
    ensure!(client.event == "failed" && client.failed_by.as_deref() == Some("cancelled"), "{client:?}");
    ensure!(trace.records.len() == 3, "the server saw nothing of it: {:#?}", trace.records);
    Ok(())
}

/// A server that answers and closes while its side of the handshake is not over yet has served a connection.
#[test]
fn closed_before_established() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (_, comm) = own();
    for after in [After::Answer, After::Close] {
        let relay = Relay::new(Duration::from_millis(60))?;
        allow(&relay.client)?;
        allow(&relay.server)?;
        let client_agent = Agent::in_netns(&relay.client)?;
        let server_agent = Agent::in_netns(&relay.server)?;
        let (listener, to) = listener(&relay.server, SERVER.into())?;
        let answerer = Answerer::start_with(listener, after, None)?;
        let mut clients = Vec::new();
        for _ in 0..2 {
            let (socket, from) = asks(&relay.client, to, Way::Message, 1, Duration::ZERO)?;
            if after == After::Close {
                ensure!(std::io::Read::read(&mut &socket, &mut [0])? == 0, "the server closes");
            }
            clients.push(from);
        }
        let ended = |r: &Record| SocketAddr::from(r.remote) == clients[1] || SocketAddr::from(r.local) == clients[1];
        client_agent.wait_for(Duration::from_secs(3), ended)?;
        server_agent.wait_for(Duration::from_secs(3), ended)?;
        let (client_trace, server_trace) = (client_agent.stop()?, server_agent.stop()?);
        let (by_client, by_server) = if after == After::Close { ("remote", "local") } else { ("local", "remote") };
        let client_end = record(&client_trace, Role::Client, clients[1], to)?;
        let client = Expected {
            owner: Some((std::process::id(), &comm)),
            exchanges: Some(1),
            bytes: (ASK, ANSWER),
            closed_by: by_client,
            labels: &["fast_open"],
        };
        client.check(client_end).with_context(|| format!("{after:?}"))?;
        let server_end = record(&server_trace, Role::Server, to, clients[1])?;
        Expected { owner: Some(answerer.owner()), bytes: (ANSWER, ASK), closed_by: by_server, ..client }
            .check(server_end)
            .with_context(|| format!("{after:?}"))?;
        ensure!(server_end.lifetime_s.is_some_and(|s| s < 1.0), "{server_end:?}");
    }
    Ok(())
}
