//! Exchanges and payload, whatever calls move the data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    agent::Agent,
    check::{self, ClosedBy},
    gate::live,
    join::join,
    netns::Netns,
    peer::Peer,
    traffic::{
        spec::{Client, Connect, Io, Repeat, Script, Server, Step},
        truth::Conn,
    },
};

/// Runs both scripts on `n` connections and checks that every end is recorded with `exchanges`.
fn moved(n: u32, client: Script, server: Script, connect: Connect, exchanges: u64) -> Result<()> {
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut server = Peer::server(Some(&netns), &Server::new(&local, server))?;
    let spec = Client::new(server.listening(), n, client).connect(connect);
    let clients = Peer::client(Some(&netns), &spec)?.run()?;
    let truth: Vec<Conn> = clients.into_iter().chain(server.wait_truth(n as usize)?).collect();
    let trace = agent.stop()?;
    for (conn, record) in join(&truth, &trace.records)? {
        ensure!(conn.exchanges() == exchanges, "the generator made {exchanges} exchanges: {conn:?}");
        check::closed(conn, record, ClosedBy::CLIENT.of(conn.role))?;
    }
    check::totals(&trace, &truth.iter().collect::<Vec<_>>(), 0)
}

/// Ten exchanges of 100 bytes for 200, both ends with the same calls.
fn with(io: Io) -> Result<()> {
    if !live() {
        return Ok(());
    }
    let connect = if io == Io::Uring { Connect::Uring } else { Connect::Blocking };
    moved(10, Script::asks(10).io(io), Script::answers().io(io), connect, 10).with_context(|| format!("{io:?}"))
}

#[test]
fn blocking() -> Result<()> {
    with(Io::Blocking)
}

#[test]
fn nonblocking() -> Result<()> {
    with(Io::Nonblocking)
}

#[test]
fn read_and_write() -> Result<()> {
    with(Io::ReadWrite)
}

#[test]
fn peek() -> Result<()> {
    with(Io::Peek)
}

#[test]
fn sendfile() -> Result<()> {
    with(Io::Sendfile)
}

#[test]
fn splice() -> Result<()> {
    with(Io::Splice)
}

#[test]
fn io_uring() -> Result<()> {
    with(Io::Uring)
}

#[test]
fn large_answers_and_requests() -> Result<()> {
    if !live() {
        return Ok(());
    }
    for (request, answer) in [(100, 200_000), (300_000, 100)] {
        let client = Script::new(Repeat::Times(10), &[Step::Send(request), Step::Recv(answer)]);
        let server = Script::new(Repeat::UntilEof, &[Step::Recv(request), Step::Send(answer)]);
        for io in [Io::Blocking, Io::Nonblocking, Io::Sendfile, Io::Splice] {
            moved(2, client.clone().io(io), server.clone().io(io), Connect::Blocking, 10)
                .with_context(|| format!("{request} for {answer} by {io:?}"))?;
        }
    }
    Ok(())
}

/// `Expect: 100-continue` is a turn more.
#[test]
fn interim_answer() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let body = 2_000_000;
    let client = [Step::Send(150), Step::Recv(25), Step::Send(body), Step::Recv(100)];
    let server = [Step::Recv(150), Step::Send(25), Step::Recv(body), Step::Send(100)];
    moved(2, Script::new(Repeat::Times(1), &client), Script::new(Repeat::UntilEof, &server), Connect::Blocking, 2)
}

/// Five requests sent before the first answer are one turn.
#[test]
fn pipelined() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let mut client = vec![Step::Send(100); 5];
    client.push(Step::Recv(1000));
    let mut server = vec![Step::Recv(500)];
    server.extend([Step::Send(200); 5]);
    let (client, server) = (Script::new(Repeat::Times(1), &client), Script::new(Repeat::UntilEof, &server));
    moved(4, client, server, Connect::Blocking, 1)
}

/// What the server says first (a greeting) is no exchange.
#[test]
fn greeting() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let client = Script::new(Repeat::Times(1), &[Step::Recv(50), Step::Send(100), Step::Recv(200), Step::Shutdown]);
    let server = Script::new(Repeat::Times(1), &[Step::Send(50), Step::Recv(100), Step::Send(200)]);
    moved(4, client.tail(&[Step::Eof]), server.tail(&[Step::Eof]), Connect::Blocking, 1)
}
