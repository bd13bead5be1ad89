//! Attempts to connect that fail: refused, timed out, no ports, cancelled, denied, unreachable, reset.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::{Result, ensure};
use redial_tests::{
    agent::Agent,
    check,
    gate::live,
    netns::Netns,
    peer::Peer,
    record::{Record, Role, Trace},
    relay::{Answer, Relay, SERVER, SERVER6},
    traffic::spec::{Client, Connect, Script, Server, Step},
};

use crate::{LOCALHOST, LOCALHOST6};

/// An address that no route of a test's namespace leads to.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
const NOWHERE6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);

/// An address in `netns` where nobody listens.
fn unused(netns: &Netns, ip: IpAddr) -> Result<SocketAddr> {
    netns.run(|| Ok(TcpListener::bind((ip, 0))?.local_addr()?))
}

/// Runs `spec` under an agent and checks that every attempt failed by `cause` with `error`, that there is one record
/// each, and that the totals say so.
fn attempts(netns: &Netns, spec: &Client, cause: &str, error: Option<&str>) -> Result<Trace> {
    let agent = Agent::in_netns(netns)?;
    let mut client = Peer::client(Some(netns), spec)?;
    let pid = client.pid();
    let truth = client.run()?;
    let trace = agent.stop()?;
    ensure!(truth.iter().all(|c| c.established_ns.is_none()), "the generator did connect: {truth:?}");
    if let Some(error) = error {
        ensure!(truth.iter().all(|c| c.error.as_deref() == Some(error)), "not {error}: {truth:?}");
    }
    ensure!(trace.records.len() == truth.len(), "{} records of {truth:?}: {:#?}", trace.records.len(), trace.records);
    for record in &trace.records {
        let about = || format!("\n{record:?}");
        ensure!(record.event == "failed", "event is failed{}", about());
        ensure!(record.failed_by.as_deref() == Some(cause), "failed_by is {cause}{}", about());
        ensure!(record.error.as_deref() == error, "error is {error:?}{}", about());
        ensure!(record.closed_by.is_none() && record.is(Role::Client), "a client, never open{}", about());
        ensure!(record.connect_s.is_none() && record.lifetime_s.is_none(), "not measured, so null{}", about());
        ensure!(record.pid == Some(pid), "pid is {pid}{}", about());
        ensure!(truth.iter().any(|c| c.remote == record.remote.into()), "the remote is a target{}", about());
    }
    let totals = &trace.summary.totals;
    let n = truth.len() as u64;
    ensure!((totals.attempts, totals.opened, totals.failed) == (n, 0, n), "{:?}", trace.summary);
    ensure!(totals.failed_by(cause) == n, "failed_by {cause} is {n}: {:?}", trace.summary);
    check::balance(&trace)?;
    Ok(trace)
}

#[test]
fn refused() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let targets = [unused(&netns, LOCALHOST)?, unused(&netns, LOCALHOST6)?];
    attempts(&netns, &Client::new(&targets, 20, Script::asks(1)), "refused", Some("ECONNREFUSED"))?;
    let gently = Client::new(&targets, 4, Script::asks(1)).connect(Connect::Nonblocking);
    attempts(&netns, &gently, "refused", Some("ECONNREFUSED"))?;
    Ok(())
}

#[test]
fn timed_out() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::ZERO)?;
    relay.rules().silent = true;
    let target = SocketAddr::new(SERVER.into(), 9);
    let spec = Client::new(&[target], 2, Script::asks(1)).threads(2).user_timeout_ms(1_200);
    let trace = attempts(&relay.client, &spec, "timed_out", Some("ETIMEDOUT"))?;
    ensure!(
        trace.records.iter().all(|r| r.retransmits.is_some_and(|n| n >= 1)),
        "SYNs went again: {:?}",
        trace.records
    );
    Ok(())
}

#[test]
fn no_ports() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    netns.sysctl("ipv4/ip_local_port_range", "40000 40003")?;
    // The server's own port must not come from the narrow range, so it listens before the range is used up.
    let server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    netns.sysctl("ipv4/ip_local_port_range", "41000 41003")?;
    let hold = Client::new(server.listening(), 4, Script::asks(1).tail(&[Step::Hold])).threads(4);
    let mut holding = Peer::client(Some(&netns), &hold)?;
    holding.go()?;
    holding.wait_held(4)?;
    // The kernel does not set the socket's error here, so it is known only where the result of `connect` is.
    attempts_of(&netns, &Client::new(server.listening(), 5, Script::asks(1)), |r| {
        let error = r.error.as_deref().is_none_or(|e| e == "EADDRNOTAVAIL");
        r.failed_by.as_deref() == Some("no_ports") && error && r.local.port == 0
    })
}

/// Like [`attempts`], where all records must be as `wanted`.
fn attempts_of(netns: &Netns, spec: &Client, wanted: impl Fn(&Record) -> bool) -> Result<()> {
    let agent = Agent::in_netns(netns)?;
    let truth = Peer::client(Some(netns), spec)?.run()?;
    let trace = agent.stop()?;
    let n = truth.len() as u64;
    ensure!(trace.records.len() == truth.len() && trace.records.iter().all(wanted), "{:#?}", trace.records);
    let totals = &trace.summary.totals;
    let opened = (totals.opened, totals.open);
    ensure!((totals.attempts, totals.failed) == (n, n) && opened == (0, totals.open_at_start), "{:?}", trace.summary);
    check::balance(&trace)
}

#[test]
fn cancelled() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::ZERO)?;
    relay.rules().silent = true;
    let targets = [SocketAddr::new(SERVER.into(), 9), SocketAddr::new(SERVER6.into(), 9)];
    let spec = Client::new(&targets, 6, Script::asks(1)).connect(Connect::CancelAfter(20));
    let trace = attempts(&relay.client, &spec, "cancelled", None)?;
    ensure!(trace.records.iter().all(|r| r.local.port != 0), "the local port is known: {:?}", trace.records);
    Ok(())
}

#[test]
fn denied() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::from_millis(5))?;
    relay.rules().answer = Some(Answer::Prohibited);
    let spec = Client::new(&[SocketAddr::new(SERVER6.into(), 9)], 3, Script::asks(1));
    attempts(&relay.client, &spec, "denied", Some("EACCES"))?;
    Ok(())
}

#[test]
fn unreachable_by_icmp() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::from_millis(5))?;
    relay.rules().answer = Some(Answer::Unreachable);
    let targets = [SocketAddr::new(SERVER.into(), 9), SocketAddr::new(SERVER6.into(), 9)];
    let trace =
        attempts(&relay.client, &Client::new(&targets, 4, Script::asks(1)), "unreachable", Some("EHOSTUNREACH"))?;
    ensure!(trace.records.iter().all(|r| !r.labelled("no_syn")), "SYNs were sent: {:?}", trace.records);
    Ok(())
}

#[test]
fn unreachable_without_a_syn() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let spec = Client::new(&[NOWHERE, NOWHERE6], 4, Script::asks(1));
    let trace = attempts(&netns, &spec, "unreachable", Some("ENETUNREACH"))?;
    ensure!(trace.records.iter().all(|r| r.labelled("no_syn")), "no SYN was sent: {:?}", trace.records);
    Ok(())
}

#[test]
fn reset_while_connecting() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::from_millis(5))?;
    relay.rules().answer = Some(Answer::CrossingReset);
    let targets = [SocketAddr::new(SERVER.into(), 9), SocketAddr::new(SERVER6.into(), 9)];
    attempts(&relay.client, &Client::new(&targets, 4, Script::asks(1)), "reset", Some("ECONNRESET"))?;
    Ok(())
}
