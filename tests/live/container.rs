//! Containers: whose a connection is by the control group of its process, also when both are gone.

use std::{
    net::{Ipv4Addr, TcpListener},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redial::enrich::cgroup::Cgroups;
use redial_tests::{
    agent,
    cgroup::{Group, Hierarchy, ID, POD_UID},
    gate::live,
    lines::Lines,
    netns::Netns,
};
use serde_json::Value;

/// An id is found while its directory exists, and known when it is gone.
#[test]
fn by_id() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let hierarchy = Hierarchy::find()?;
    let mut cgroups = Cgroups::of_this_host();
    ensure!(cgroups.missing().is_none(), "{:?}", cgroups.missing());
    let group = Group::make(&hierarchy, "by-id")?;
    let (id, unseen) = (group.id()?, Group::make(&hierarchy, "unseen")?.id()?);
    let container = |cgroups: &mut Cgroups, id| cgroups.of_id(id, 1).and_then(|group| group.container.clone());
    let found = container(&mut cgroups, id).context("not found by its id")?;
    ensure!(*found.id == *ID && found.pod_uid.as_deref() == Some(POD_UID), "{found:?}");
    drop(group);
    ensure!(container(&mut cgroups, id) == Some(found), "forgotten with its directory");
    ensure!(cgroups.of_id(unseen, 1).is_none(), "known though it was gone before anybody asked");
    Ok(())
}

/// A process that connects and ends within a few milliseconds, in a container.
#[test]
fn short_lived() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let hierarchy = Hierarchy::find()?;
    let group = Group::make(&hierarchy, "short")?;
    let netns = Netns::new()?;
    let listener = netns.run(|| Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let port = listener.local_addr()?.port();
    let lines = traced(&netns, || {
        for _ in 0..10 {
            connect_in(group.path(), port, &netns)?;
            drop(listener.accept()?);
        }
        connect_in(hierarchy.point(), port, &netns)?;
        drop(listener.accept()?);
        Ok(())
    })?;
    let clients: Vec<&Value> = lines.iter().filter(|line| line["role"] == "client").collect();
    ensure!(clients.len() == 11, "11 connections: {clients:?}");
    for (i, client) in clients.iter().enumerate() {
        let expected = if i < 10 { (Value::from(ID), Value::from(POD_UID)) } else { (Value::Null, Value::Null) };
        ensure!((client["container"].clone(), client["pod"].clone()) == expected, "connection {i}: {client}");
        ensure!(client["comm"] == "bash", "connection {i}: {client}");
    }
    Ok(())
}

/// Runs a program in the group at `group` that connects to `port` in `netns` and ends.
fn connect_in(group: &Path, port: u16, netns: &Netns) -> Result<()> {
    let procs = group.join("cgroup.procs");
    let mut command = Command::new("bash");
    // As runtimes do it: into the group first, then another program.
    command.args(["-c", "echo $$ > \"$1\" && exec bash -c \"exec 3<>/dev/tcp/127.0.0.1/$2\"", "bash"]);
    command.arg(procs).arg(port.to_string()).stdin(Stdio::null()).process_group(0);
    let status = netns.run(|| command.status().context("run bash"))?;
    ensure!(status.success(), "bash could not connect: {status}");
    Ok(())
}

/// The lines that the agent prints of connections in `netns` while `work` runs.
fn traced(netns: &Netns, work: impl FnOnce() -> Result<()>) -> Result<Vec<Value>> {
    const LIMIT: Duration = Duration::from_secs(20);
    let mut command = agent::command()?;
    command.args(["trace", "--format", "jsonl", "--netns"]).arg(netns.path());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = Lines::collect(child.stdout.take().context("no stdout")?);
    let stderr = Lines::collect(child.stderr.take().context("no stderr")?);
    let is_ready = |lines: &[String]| lines.iter().any(|line| line.starts_with("redial: watching")).then_some(());
    let worked = match stderr.wait(LIMIT, is_ready) {
        Some(()) => work(),
        None => Err(anyhow::anyhow!("the agent is not ready: {}", stderr.text())),
    };
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).context("stop the agent")?;
    let status = agent::wait(&mut child, LIMIT)?;
    worked?;
    ensure!(status.success() && status.signal().is_none(), "the agent ended with {status}: {}", stderr.text());
    ensure!(stdout.wait_end(LIMIT), "the agent left its output open");
    stdout.all().iter().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}
