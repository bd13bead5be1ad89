//! Overload: nothing is lost but single lines, and what is lost is counted by cause.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use redial_tests::{
    agent::Agent,
    check,
    gate::{live, slowdown},
    netns::Netns,
    peer::{Peer, churn},
    record::Trace,
    traffic::{
        churn::{Churn, Churned, Close},
        spec::{Client, Script, Server, Step},
    },
};

fn churned(arguments: &[&str], spec: &Churn) -> Result<(Churned, Trace)> {
    let netns = Netns::new()?;
    let agent = Agent::in_netns_with(&netns, arguments)?;
    let done = churn(Some(&netns), spec)?;
    let trace = agent.stop()?;
    println!(
        "{done:?}\nlines {}, folded {}, losses {:?}",
        trace.records.len(),
        trace.summary.folded,
        trace.summary.losses
    );
    ensure!(done.failed == 0 && done.served == done.connections, "the generator itself failed: {done:?}");
    Ok((done, trace))
}

/// Every total equals what the generator did, however few lines there are.
fn exact(done: &Churned, trace: &Trace, spec: &Churn) -> Result<()> {
    let about = || format!("\ndone: {done:?}\nsummary: {:?}", trace.summary);
    let (summary, totals) = (&trace.summary, &trace.summary.totals);
    let n = done.connections;
    ensure!(summary.records == trace.records.len() as u64, "records is not the number of lines{}", about());
    ensure!(summary.untracked() == 0, "no connection may be missed here{}", about());
    ensure!(summary.records + summary.folded == 2 * n, "{} ends{}", 2 * n, about());
    ensure!((totals.opened, totals.closed, totals.failed, totals.open) == (2 * n, 2 * n, 0, 0), "{}", about());
    ensure!(totals.exchanges == Some(done.exchanges + done.answered), "exchanges{}", about());
    let received = done.exchanges * spec.answer as u64 + done.answered * spec.request as u64;
    ensure!(totals.bytes_received == Some(received), "bytes_received is {received}{}", about());
    let (first, second) = match spec.close {
        Close::Rst | Close::AckRst => ("reset_local", "reset_remote"),
        Close::Fin => ("local", "remote"),
        Close::ServerFin => ("remote", "local"),
    };
    ensure!(totals.closed_by(first) == n && totals.closed_by(second) == n, "closed_by{}", about());
    ensure!(totals.unused == Some(0), "none was unused{}", about());
    check::balance(trace)
}

/// A ring that fills between two looks at it, in bytes.
fn small_ring() -> &'static str {
    if slowdown() > 1 { "4096" } else { "65536" }
}

/// Starting and stopping while connections come and go: a record that is made is whole. Each of these connections
/// carries one exchange, so one without, or without an owner, was watched by only some of the probes.
#[test]
fn records_are_whole_when_the_agent_comes_and_goes() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let seconds = if slowdown() > 1 { 45.0 } else { 10.0 };
    let spec = Churn { clients: 4, seconds, ..Churn::default() };
    let come_and_go = |_| {
        let agent = Agent::in_netns(&netns)?;
        agent.wait_for(Duration::from_secs(10), |_| true)?;
        agent.stop()
    };
    let traces = std::thread::scope(|scope| {
        let load = scope.spawn(|| churn(Some(&netns), &spec));
        let traces: Result<Vec<Trace>> = (0..2).map(come_and_go).collect();
        load.join().map_err(|_| anyhow!("the load panicked"))??;
        traces
    })?;
    for trace in traces {
        ensure!(!trace.records.is_empty(), "no lines");
        let halves = trace.records.iter().filter(|r| r.exchanges != Some(1) || r.pid.is_none());
        let halves: Vec<_> = halves.collect();
        ensure!(halves.is_empty(), "{} of {}, as {:?}", halves.len(), trace.records.len(), halves[0]);
    }
    Ok(())
}

#[test]
fn small_ring_resets() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let spec = Churn { clients: 8, seconds: 3.0, ..Churn::default() };
    let (done, trace) = churned(&["--ring-bytes", small_ring()], &spec)?;
    ensure!(trace.summary.folded > 0, "the ring never filled: {:?}", trace.summary);
    exact(&done, &trace, &spec)
}

#[test]
fn small_ring_fins() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let spec = Churn { clients: 8, seconds: 2.0, close: Close::Fin, exchanges: 3, ..Churn::default() };
    let (done, trace) = churned(&["--ring-bytes", small_ring()], &spec)?;
    ensure!(trace.summary.folded > 0, "the ring never filled: {:?}", trace.summary);
    exact(&done, &trace, &spec)
}

/// The ring as it is by default, whether it fills or not.
#[test]
fn default_ring() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let spec = Churn { clients: 4, seconds: 2.0, ..Churn::default() };
    let (done, trace) = churned(&[], &spec)?;
    exact(&done, &trace, &spec)
}

#[test]
fn more_connections_than_places() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns_with(&netns, &["--max-connections", "64"])?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], Script::answers()))?;
    let held = Client::new(server.listening(), 150, Script::asks(1).tail(&[Step::Hold])).threads(150);
    let mut client = Peer::client(Some(&netns), &held)?;
    client.go()?;
    client.wait_held(150)?;
    client.release()?;
    client.finish()?;
    server.wait_truth(150)?;
    // Room again: connections that come later are seen.
    let later = Peer::client(Some(&netns), &Client::new(server.listening(), 10, Script::asks(1)))?.run()?;
    server.wait_truth(160)?;
    let trace = agent.stop()?;
    let summary = &trace.summary;
    ensure!(summary.losses.get("map_full").is_some_and(|&n| n > 0), "the overflow is not counted: {summary:?}");
    let seen = summary.records + summary.folded + summary.untracked();
    ensure!(seen == 320, "320 ends, {seen} accounted for: {summary:?}");
    let found = later.iter().filter(|c| trace.records.iter().any(|r| c.local == r.local.into())).count();
    ensure!(found == later.len(), "{found} of 10 later ones are recorded");
    check::balance(&trace)
}
