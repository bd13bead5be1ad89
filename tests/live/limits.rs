//! What redial does without: switched off, or above its budget of processor time. What it uses and what is attached is
//! read from /proc.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use redial_tests::{
    agent::Agent,
    check,
    gate::{live, slowdown},
    netns::Netns,
    peer::{Peer, churn},
    record::Trace,
    traffic::{
        churn::Churn,
        spec::{Client, Script, Server, Step},
    },
};

const LOCALHOST: [std::net::IpAddr; 1] = [std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];
/// Long enough for a look at the switch, and for loading all programs again.
const SOON: Duration = Duration::from_secs(10);

/// The BPF links that a process holds, and its programs that are no iterators' (those run when asked only).
fn attached(pid: u32) -> Result<usize> {
    let mut links = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        links += usize::from(text.contains("link_id:"));
    }
    Ok(links)
}

/// The processor time of a process, s.
fn cpu_s(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let mut ns = text.split_whitespace().next().context("no time in schedstat")?.parse::<f64>()?;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()) != Some(&pid.to_string()) {
            let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            ns += text.split_whitespace().next().unwrap_or("0").parse::<f64>()?;
        }
    }
    Ok(ns / 1e9)
}

fn run(netns: &Netns, server: &Peer, n: u32, script: Script) -> Result<()> {
    Peer::client(Some(netns), &Client::new(server.listening(), n, script))?.run().map(|_| ())
}

/// Off and on again: what went on meanwhile is not in the counts, what is open then is.
fn off_and_on(netns: &Netns, agent: &Agent, mut switch: impl FnMut(bool) -> Result<()>) -> Result<(usize, usize)> {
    let mut server = Peer::server(Some(netns), &Server::new(&LOCALHOST, Script::answers()))?;
    let hold = |n: u32| Client::new(server.listening(), n, Script::asks(1).tail(&[Step::Hold])).threads(n);
    let mut ends_meanwhile = Peer::client(Some(netns), &hold(4))?;
    let mut comes_meanwhile = Peer::client(Some(netns), &hold(3))?;
    ends_meanwhile.go()?;
    ends_meanwhile.wait_held(4)?;
    run(netns, &server, 5, Script::asks(2))?;
    server.wait_truth(5)?;
    let on = attached(agent.pid())?;
    switch(false)?;
    agent.wait_said("nothing is watched now", 1, SOON)?;
    let off = attached(agent.pid())?;
    run(netns, &server, 50, Script::asks(2))?;
    ends_meanwhile.release()?;
    ends_meanwhile.finish()?;
    comes_meanwhile.go()?;
    comes_meanwhile.wait_held(3)?;
    // All 66 connections are over or held at the server, too.
    server.wait_truth(59)?;
    switch(true)?;
    agent.wait_said("all probes are back", 1, SOON)?;
    ensure!(attached(agent.pid())? == on, "not as many links as before");
    run(netns, &server, 2, Script::asks(3))?;
    comes_meanwhile.release()?;
    comes_meanwhile.finish()?;
    server.wait_truth(64)?;
    Ok((on, off))
}

/// Two ends each: 4 + 5 connections opened before, 3 were there when it came back, 2 opened after; all closed, the 4
/// that ended meanwhile nobody knows how.
fn counted(trace: &Trace) -> Result<()> {
    let totals = &trace.summary.totals;
    ensure!((totals.opened, totals.open_at_start) == (2 * (4 + 5 + 2), 2 * 3), "{:?}", trace.summary);
    ensure!((totals.closed, totals.open) == (2 * 14, 0), "{:?}", trace.summary);
    ensure!(totals.closed_by("unknown") == 2 * 4, "{:?}", trace.summary);
    // Only what was watched from end to end has exchanges: 2 connections with 3 on either side, and what ended before.
    ensure!(totals.exchanges == Some(2 * (5 * 2 + 2 * 3)), "{:?}", trace.summary);
    check::balance(trace)
}

#[test]
fn off_by_a_file() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let place = tempfile::tempdir()?;
    let file = place.path().join("off");
    let agent = Agent::in_netns_with(&netns, &["--off-switch", file.to_str().context("a path as text")?])?;
    let (on, off) = off_and_on(&netns, &agent, |on| {
        if on { fs::remove_file(&file) } else { fs::write(&file, "") }.context("the switch")
    })?;
    ensure!(on > 0 && off == 0, "{on} links, {off} when off");
    counted(&agent.stop()?)
}

#[test]
fn off_by_a_signal() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let (on, off) = off_and_on(&netns, &agent, |_| agent.signal(Signal::SIGUSR1))?;
    ensure!(on > 0 && off == 0, "{on} links, {off} when off");
    counted(&agent.stop()?)
}

/// A budget that no load fits in: everything is shed, and stays so while the load goes on.
#[test]
fn a_budget_that_is_too_small() -> Result<()> {
    // Emulated processors are so slow that the timers alone take more.
    if !live() || slowdown() > 1 {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns_with(&netns, &["--cpu-budget", "0.1%"])?;
    let spec = Churn { clients: 4, seconds: 9.0, ..Churn::default() };
    let used = std::thread::scope(|scope| {
        let load = scope.spawn(|| churn(Some(&netns), &spec));
        agent.wait_said("nothing is watched now", 1, SOON)?;
        let links = attached(agent.pid())?;
        let before = cpu_s(agent.pid())?;
        std::thread::sleep(Duration::from_secs(5));
        let used = (cpu_s(agent.pid())? - before) / 5.0;
        ensure!(links == 0 && attached(agent.pid())? == 0, "{links} links are left");
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        Ok(used)
    })?;
    ensure!(used < 0.002, "it used {:.3}% of a core", used * 100.0);
    check::balance(&agent.stop()?)
}

/// A budget that the load does not fit in, but calm does: all comes back, and what is seen then is whole.
#[test]
fn all_comes_back() -> Result<()> {
    if !live() || slowdown() > 1 {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns_with(&netns, &["--cpu-budget", "4%"])?;
    churn(Some(&netns), &Churn { clients: 4, seconds: 3.0, ..Churn::default() })?;
    ensure!(agent.stderr().iter().any(|line| line.contains("shed")), "{:?}", agent.stderr());
    agent.wait_said("all probes are back", 1, Duration::from_secs(60))?;
    let mut server = Peer::server(Some(&netns), &Server::new(&LOCALHOST, Script::answers()))?;
    run(&netns, &server, 7, Script::asks(3))?;
    server.wait_truth(7)?;
    let trace = agent.stop()?;
    let port = server.port();
    let pid = server.pid();
    let served: Vec<_> = trace.records.iter().filter(|record| record.pid == Some(pid)).collect();
    let asked = trace.records.iter().filter(|record| record.remote.port == port && record.exchanges == Some(3)).count();
    let whole = served.iter().all(|record| record.exchanges == Some(3));
    ensure!(served.len() == 7 && whole && asked == 7, "{asked} asked, served: {served:?}");
    check::balance(&trace)
}
