//! Ends of established connections: who closed, and how.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    agent::Agent,
    check::{self, ClosedBy},
    destroy::destroy,
    gate::live,
    join::join,
    netns::Netns,
    peer::Peer,
    record::{Record, Role, Trace},
    relay::{Relay, SERVER},
    traffic::{
        spec::{Client, End, Repeat, Script, Server, Serving, Step},
        truth::Conn,
    },
};

use crate::{LOCALHOST, LOCALHOST6};

/// What both ends did and what was recorded of both.
struct Closed {
    clients: Vec<Conn>,
    servers: Vec<Conn>,
    trace: Trace,
}

impl Closed {
    /// Fails unless every end is recorded with what it did and `by`.
    fn check(&self, by: ClosedBy) -> Result<()> {
        let truth: Vec<Conn> = self.clients.iter().chain(&self.servers).cloned().collect();
        for (conn, record) in join(&truth, &self.trace.records)? {
            check::closed(conn, record, by.of(conn.role))?;
        }
        check::totals(&self.trace, &truth.iter().collect::<Vec<_>>(), 0)
    }

    fn of(&self, role: Role) -> impl Iterator<Item = &Record> {
        self.trace.records.iter().filter(move |r| r.is(role))
    }
}

/// `n` connections with these scripts on loopback, under an agent.
fn pairs(n: u32, client: Script, server: Script) -> Result<Closed> {
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST, LOCALHOST6], server))?;
    let clients = Peer::client(Some(&netns), &Client::new(server.listening(), n, client).threads(n))?.run()?;
    let servers = server.wait_truth(n as usize)?;
    Ok(Closed { clients, servers, trace: agent.stop()? })
}

#[test]
fn client_first_and_server_first() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let closed = pairs(4, Script::asks(2), Script::answers())?;
    closed.check(ClosedBy::CLIENT)?;
    ensure!(closed.of(Role::Client).all(|r| r.time_wait == Some(true)), "{:#?}", closed.trace.records);
    ensure!(closed.of(Role::Server).all(|r| r.time_wait == Some(false)), "{:#?}", closed.trace.records);
    let server = Script::new(Repeat::Times(2), &[Step::Recv(100), Step::Send(200)]);
    let closed = pairs(4, Script::asks(2).tail(&[Step::Eof]), server)?;
    closed.check(ClosedBy::SERVER)?;
    ensure!(closed.of(Role::Client).all(|r| r.time_wait == Some(false)), "{:#?}", closed.trace.records);
    ensure!(closed.of(Role::Server).all(|r| r.time_wait == Some(true)), "{:#?}", closed.trace.records);
    Ok(())
}

#[test]
fn resets() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let settle = [Step::Sleep(60)];
    let closed = pairs(4, Script::asks(2).tail(&settle).end(End::Reset), Script::answers())?;
    closed.check(ClosedBy::CLIENT_RESETS)?;
    ensure!(closed.trace.records.iter().all(|r| r.time_wait == Some(false)), "{:#?}", closed.trace.records);
    let server = Script::new(Repeat::Times(1), &[Step::Recv(100), Step::Send(200)]).tail(&settle).end(End::Reset);
    let closed = pairs(4, Script::asks(1).tail(&[Step::Eof]), server)?;
    closed.check(ClosedBy { client: "reset_remote", server: "reset_local" })
}

/// Closing with data unread sends RST instead of FIN.
#[test]
fn unread_data_at_close() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let client = Script::new(Repeat::Times(1), &[Step::Send(100), Step::Recv(50), Step::Sleep(60)]);
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    let clients = Peer::client(Some(&netns), &Client::new(server.listening(), 4, client))?.run()?;
    let servers = server.wait_truth(4)?;
    let trace = agent.stop()?;
    let truth: Vec<Conn> = clients.into_iter().chain(servers).collect();
    for (conn, record) in join(&truth, &trace.records)? {
        let by = ClosedBy::CLIENT_RESETS.of(conn.role);
        ensure!(record.closed_by.as_deref() == Some(by), "closed_by is {by}: {record:?}");
        ensure!(record.exchanges == Some(1), "one exchange: {record:?}");
        // All 200 bytes had arrived, though the client read 50.
        let received = if conn.role == Role::Client { 200 } else { 100 };
        ensure!(record.bytes_received == Some(received), "bytes_received is {received}: {record:?}");
    }
    Ok(())
}

/// The client sends FIN after its request; the server answers, and closes when the answer has been read.
#[test]
fn half_close() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let answer = [Step::Recv(100), Step::Eof, Step::Sleep(30), Step::Send(200), Step::Sleep(30)];
    let closed = pairs(4, half_closing_client(), Script::new(Repeat::Times(1), &answer))?;
    closed.check(ClosedBy::CLIENT)?;
    let waited = |r: &Record| r.close_wait_s.is_some_and(|s| (0.055..1.0).contains(&s));
    ensure!(closed.of(Role::Server).all(waited), "60 ms in CLOSE-WAIT: {:#?}", closed.trace.records);
    Ok(())
}

/// The same, but the server answers with RST: whose FIN went first closed, and both lines tell of the reset.
#[test]
fn reset_after_half_close() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let client = Script::new(Repeat::Times(1), &[Step::Send(100), Step::Shutdown, Step::Eof]);
    let server = Script::new(Repeat::Times(1), &[Step::Recv(100), Step::Eof, Step::Sleep(30)]).end(End::Reset);
    let closed = pairs(4, client, server)?;
    for record in &closed.trace.records {
        let by = if record.is(Role::Client) { "local" } else { "remote" };
        ensure!(record.closed_by.as_deref() == Some(by), "the client's FIN went first: {record:#?}");
        ensure!(record.labelled("reset_after_fin"), "a reset followed: {record:#?}");
        ensure!(record.time_wait == Some(false), "a reset leaves no TIME-WAIT: {record:#?}");
    }
    ensure!(closed.trace.records.len() == 8, "both ends of 4: {:#?}", closed.trace.records);
    check::balance(&closed.trace)
}

/// The same, but the answer and the FIN come at once: the client's socket is CLOSED before the answer is read.
#[test]
fn answer_read_after_the_end() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let answer = [Step::Recv(100), Step::Eof, Step::Send(200)];
    pairs(4, half_closing_client(), Script::new(Repeat::Times(1), &answer))?.check(ClosedBy::CLIENT)
}

/// `close` after `shutdown` sets the state that is there already: that makes no exchange.
#[test]
fn shutdown_and_close() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let server = Script::new(Repeat::Times(1), &[Step::Recv(100), Step::Send(200), Step::Shutdown]);
    pairs(8, Script::asks(1).tail(&[Step::Eof]), server)?.check(ClosedBy::SERVER)
}

/// Data that nobody asked for come after our FIN, which takes a sequence number and asks nothing.
#[test]
fn unasked_after_half_close() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let client = [Step::Send(100), Step::Recv(200), Step::Shutdown, Step::Recv(50), Step::Eof];
    let server = [Step::Recv(100), Step::Send(200), Step::Eof, Step::Send(50)];
    let script = |steps: &[Step]| Script::new(Repeat::Times(1), steps);
    let closed = pairs(4, script(&client), script(&server))?;
    ensure!(closed.trace.records.iter().all(|r| r.exchanges == Some(1)), "{:#?}", closed.trace.records);
    closed.check(ClosedBy::CLIENT)
}

fn half_closing_client() -> Script {
    Script::new(Repeat::Times(1), &[Step::Send(100), Step::Shutdown, Step::Recv(200), Step::Eof])
}

/// FINs that cross: both ends closed first.
#[test]
fn simultaneous_close() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::from_millis(200))?;
    // The answer takes 200 ms. The client closes 100 ms later, which is when the server does; a FIN takes 200 ms.
    let server = Script::new(Repeat::Times(1), &[Step::Recv(100), Step::Send(200), Step::Sleep(300)]);
    let client = Script::new(Repeat::Times(1), &[Step::Send(100), Step::Recv(200), Step::Sleep(100)]);
    let client_agent = Agent::in_netns(&relay.client)?;
    let server_agent = Agent::in_netns(&relay.server)?;
    let mut server = Peer::server(Some(&relay.server), &Server::new(&[SERVER.into()], server))?;
    let clients = Peer::client(Some(&relay.client), &Client::new(server.listening(), 2, client).threads(2))?.run()?;
    let servers = server.wait_truth(2)?;
    // Sockets are in CLOSING for a round trip more.
    let closed = |r: &Record| r.event == "closed";
    client_agent.wait_for(Duration::from_secs(3), closed).context("client")?;
    server_agent.wait_for(Duration::from_secs(3), closed).context("server")?;
    let (client_trace, server_trace) = (client_agent.stop()?, server_agent.stop()?);
    for (truth, trace) in [(clients, client_trace), (servers, server_trace)] {
        for (conn, record) in join(&truth, &trace.records)? {
            check::closed(conn, record, "local")?;
        }
    }
    Ok(())
}

#[test]
fn never_accepted_then_listener_closed() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()).serving(Serving::Never))?;
    let client = Script::new(Repeat::Times(1), &[Step::Send(100), Step::Hold, Step::Recv(200)]);
    let mut client = Peer::client(Some(&netns), &Client::new(server.listening(), 3, client).threads(3))?;
    client.go()?;
    client.wait_held(3)?;
    server.stop()?;
    client.release()?;
    let clients = client.finish()?;
    let trace = agent.stop()?;
    ensure!(clients.iter().all(|c| c.error.as_deref() == Some("ECONNRESET")), "{clients:?}");
    ensure!(trace.records.len() == 6, "6 ends: {:#?}", trace.records);
    for record in &trace.records {
        let by = if record.is(Role::Client) { "reset_remote" } else { "reset_local" };
        ensure!(record.closed_by.as_deref() == Some(by), "closed_by is {by}: {record:?}");
        ensure!(record.exchanges == Some(0) && record.unused == Some(true), "unused: {record:?}");
        if record.is(Role::Server) {
            ensure!(record.labelled("never_accepted") && record.pid.is_none(), "nobody's: {record:?}");
            ensure!(clients.iter().any(|c| c.local == record.remote.into()), "the tuple is known: {record:?}");
        }
    }
    check::balance(&trace)
}

/// A connection held open by both ends; `finish` is done to it, knowing the client's address and the server's.
fn held(
    finish: impl FnOnce(&Netns, (SocketAddr, SocketAddr), &mut Peer, &mut Peer) -> Result<()>,
    client_by: &str,
    server_by: &str,
) -> Result<Trace> {
    let netns = Netns::new()?;
    let agent = Agent::in_netns_with(&netns, &["--opens"])?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    let script = Script::asks(2).tail(&[Step::Hold, Step::Eof]);
    let mut client = Peer::client(Some(&netns), &Client::new(server.listening(), 1, script))?;
    client.go()?;
    client.wait_held(1)?;
    let opened = agent.wait_for(Duration::from_secs(5), |r| r.event == "opened" && r.is(Role::Client))?;
    let (local, remote): (SocketAddr, SocketAddr) = (opened.local.into(), opened.remote.into());
    ensure!(remote == server.listening()[0], "the wrong connection: {opened:?}");
    finish(&netns, (local, remote), &mut client, &mut server)?;
    for role in [Role::Client, Role::Server] {
        agent.wait_for(Duration::from_secs(5), |r| r.event == "closed" && r.is(role))?;
    }
    let trace = agent.stop()?;
    let by = [(Role::Client, client_by, client.pid()), (Role::Server, server_by, server.pid())];
    for (role, by, pid) in by {
        let record = check::only(&trace, by, |r| r.is(role))?;
        ensure!(record.closed_by.as_deref() == Some(by), "closed_by is {by}: {record:?}");
        ensure!(record.exchanges == Some(2) && record.pid == Some(pid), "2 exchanges of {pid}: {record:?}");
    }
    check::balance(&trace)?;
    Ok(trace)
}

#[test]
fn socket_destroyed() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let destroyed = held(
        |netns, (local, remote), client, _| {
            netns.run(|| destroy(local, remote))?;
            client.release()
        },
        "aborted",
        "reset_remote",
    )?;
    let client = check::only(&destroyed, "destroyed", |r| r.is(Role::Client))?;
    ensure!(client.error.as_deref() == Some("ECONNABORTED"), "{client:?}");
    Ok(())
}

#[test]
fn peer_killed() -> Result<()> {
    if !live() {
        return Ok(());
    }
    held(
        |_, _, client, server| {
            server.kill()?;
            client.release()
        },
        "remote",
        "local",
    )?;
    Ok(())
}

#[test]
fn process_exits_without_closing() -> Result<()> {
    if !live() {
        return Ok(());
    }
    held(|_, _, client, _| client.kill(), "local", "remote")?;
    Ok(())
}

/// The network swallows everything: the kernel gives up after TCP_USER_TIMEOUT.
#[test]
fn peer_vanishes() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::ZERO)?;
    let agent = Agent::in_netns(&relay.client)?;
    let server = Peer::server(Some(&relay.server), &Server::new(&[SERVER.into()], Script::answers()))?;
    let script = Script::asks(1).tail(&[Step::Hold, Step::Send(100), Step::Recv(200)]);
    let mut client =
        Peer::client(Some(&relay.client), &Client::new(server.listening(), 1, script).user_timeout_ms(800))?;
    client.go()?;
    client.wait_held(1)?;
    relay.rules().silent = true;
    client.release()?;
    let truth = client.finish()?;
    let trace = agent.stop()?;
    ensure!(truth[0].error.as_deref() == Some("ETIMEDOUT") && relay.rules().lost > 0, "{truth:?}");
    let record = check::only(&trace, "timeout", |r| r.is(Role::Client))?;
    ensure!(record.closed_by.as_deref() == Some("timeout"), "closed_by is timeout: {record:?}");
    ensure!(record.error.as_deref() == Some("ETIMEDOUT"), "error is ETIMEDOUT: {record:?}");
    ensure!(record.retransmits.is_some_and(|n| n >= 1), "sent again: {record:?}");
    ensure!(record.unanswered_retransmits == record.retransmits, "none was answered: {record:?}");
    ensure!(record.exchanges == Some(1) && record.bytes_sent == Some(100), "the second was never answered: {record:?}");
    check::balance(&trace)
}
