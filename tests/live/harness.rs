//! The harness itself, without the agent: both ends tell the same truth, and the relay does what it is told.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    gate::live,
    join::other_end,
    netns::Netns,
    peer::{Peer, churn},
    relay::{Answer, Relay, SERVER, SERVER6},
    traffic::{
        churn::Churn,
        spec::{Client, Connect, Io, Script, Server, Serving},
        truth::Conn,
    },
};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn agree(clients: &[Conn], servers: &[Conn], exchanges: u64) -> Result<()> {
    ensure!(clients.len() == servers.len(), "{} clients, {} servers", clients.len(), servers.len());
    for client in clients {
        let server = other_end(client, servers).with_context(|| format!("no other end: {client:?}"))?;
        ensure!(client.error.is_none() && server.error.is_none(), "{client:?} {server:?}");
        ensure!(client.exchanges() == exchanges && server.exchanges() == exchanges, "{client:?} {server:?}");
        ensure!(client.bytes_sent() == server.bytes_received() && server.bytes_sent() == client.bytes_received());
        let begun = client.established_ns.context("not connected")?;
        ensure!(client.begin_ns < begun && begun <= client.close_begin_ns);
    }
    Ok(())
}

#[test]
fn every_way_to_serve() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let all = [
        (Serving::Threads, 20),
        (Serving::Fork, 20),
        (Serving::Prefork(3), 20),
        (Serving::Pass, 20),
        (Serving::Uring, 20),
        (Serving::Exec, 1),
    ];
    for (serving, n) in all {
        let netns = Netns::new()?;
        let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()).serving(serving))?;
        let mut client = Peer::client(Some(&netns), &Client::new(server.listening(), n, Script::asks(3)))?;
        let clients = client.run().with_context(|| format!("{serving:?}"))?;
        let servers = server.wait_truth(n as usize).with_context(|| format!("{serving:?}"))?;
        agree(&clients, &servers, 3).with_context(|| format!("{serving:?}"))?;
        server.stop()?;
        let accepted_elsewhere = matches!(serving, Serving::Fork | Serving::Pass);
        ensure!(servers.iter().all(|c| c.acceptor_pid.is_some() == accepted_elsewhere), "{serving:?}");
    }
    Ok(())
}

#[test]
fn every_way_to_move_data() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    for io in [Io::Nonblocking, Io::ReadWrite, Io::Sendfile, Io::Splice, Io::Peek, Io::Uring] {
        let connect = if io == Io::Uring { Connect::Uring } else { Connect::Nonblocking };
        let listen = [LOCALHOST, Ipv6Addr::LOCALHOST.into()];
        let mut server = Peer::server(Some(&netns), &Server::new(&listen, Script::answers().io(io)))?;
        let spec = Client::new(server.listening(), 10, Script::asks(3).io(io)).threads(2).connect(connect);
        let clients = Peer::client(Some(&netns), &spec)?.run().with_context(|| format!("{io:?}"))?;
        agree(&clients, &server.wait_truth(10)?, 3).with_context(|| format!("{io:?}"))?;
    }
    Ok(())
}

#[test]
fn relay_delays_drops_and_forges() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::from_millis(10))?;
    let mut server =
        Peer::server(Some(&relay.server), &Server::new(&[SERVER.into(), SERVER6.into()], Script::answers()))?;
    let attempt = |n| -> Result<Vec<Conn>> {
        let spec = Client::new(server.listening(), n, Script::asks(1)).user_timeout_ms(1500);
        Peer::client(Some(&relay.client), &spec)?.run()
    };
    let connect_s = |c: &Conn| c.established_ns.map(|e| (e - c.begin_ns) as f64 / 1e9);
    for conn in attempt(2)? {
        let took = connect_s(&conn).with_context(|| format!("{conn:?}"))?;
        ensure!((0.020..0.150).contains(&took), "{took}");
    }
    relay.rules().drop_syns = 1;
    let took = connect_s(&attempt(1)?[0]).context("a repeated SYN connects")?;
    ensure!((1.0..1.5).contains(&took), "{took}");
    let error = |conns: &[Conn]| conns.iter().map(|c| c.error.clone().unwrap_or_default()).collect::<Vec<_>>();
    relay.rules().answer = Some(Answer::Unreachable);
    assert_eq!(error(&attempt(2)?), ["EHOSTUNREACH", "EHOSTUNREACH"]);
    relay.rules().answer = Some(Answer::Prohibited);
    assert_eq!(error(&attempt(2)?), ["EHOSTUNREACH", "EACCES"]);
    relay.rules().answer = Some(Answer::CrossingReset);
    assert_eq!(error(&attempt(2)?), ["ECONNRESET", "ECONNRESET"]);
    relay.rules().silent = true;
    assert_eq!(error(&attempt(1)?), ["ETIMEDOUT"]);
    server.stop()?;
    Ok(())
}

#[test]
fn churn_counts() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let done = churn(Some(&netns), &Churn { clients: 4, connections: Some(250), ..Churn::default() })?;
    println!("{done:?}");
    assert_eq!((done.connections, done.failed, done.exchanges), (1000, 0, 1000));
    assert_eq!((done.served, done.answered), (1000, 1000));
    Ok(())
}
