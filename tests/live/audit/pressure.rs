//! Pressure on a host's tables: descriptors of the processes that have edges, and queues of listeners.

use std::fs;

use anyhow::{Context, Result, ensure};
use redial_tests::{
    gate::live,
    host_tables::{Listener, ProcessDescriptors},
    netns::Netns,
    observer::Observer,
    peer::Peer,
    traffic::spec::{Client, Script, Server, Serving, Step},
};

use crate::LOCALHOST;

/// Length of the accept queue of the generator's servers.
const BACKLOG: u32 = 1024;

/// How many descriptors a process has, by listing them.
fn listed(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&path).with_context(|| format!("list {path}"))?.count() as u64)
}

#[test]
fn descriptors_and_queues_are_what_processes_hold() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (netns, other) = (Netns::new()?, Netns::new()?);
    let _elsewhere = Peer::server(Some(&other), &Server::new(&[LOCALHOST], Script::answers()))?;
    let observer = Observer::in_netns(&netns, &[])?;
    let server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    let lazy = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()).serving(Serving::Never))?;
    let mut peers = Vec::new();
    for (to, n) in [(&server, 23), (&server, 4), (&lazy, 6)] {
        let script = if to.pid() == lazy.pid() { Script::asks(0) } else { Script::asks(1) };
        let spec = Client::new(to.listening(), n, script.tail(&[Step::Hold])).threads(n);
        let mut client = Peer::client(Some(&netns), &spec)?;
        client.go()?;
        client.wait_held(n as usize)?;
        peers.push(client);
    }
    let snapshot = observer.stop()?;

    let pressure = snapshot.pressure.context("no pressure")?;
    ensure!(pressure.namespaces.len() == 1, "one namespace was asked for: {pressure:#?}");
    let own = pressure.namespace(netns.inode()?).context("the namespace is not told")?;
    let mut wanted = [(lazy.port(), 6), (server.port(), 0)]
        .map(|(port, queued)| Listener { addr: LOCALHOST, port, queued, max: BACKLOG })
        .to_vec();
    let mut said = own.listeners.clone();
    wanted.sort_by_key(|listener| listener.port);
    said.sort_by_key(|listener| listener.port);
    ensure!(said == wanted, "queues are {said:?}, not {wanted:?}");
    let order: Vec<u32> = own.listeners.iter().map(|listener| listener.queued).collect();
    ensure!(order == [6, 0], "the fullest comes first: {:?}", own.listeners);

    // Who only listens has no edge of its own: nobody has accepted.
    let mut wanted = Vec::new();
    for peer in peers.iter().chain([&server]) {
        let comm = fs::read_to_string(format!("/proc/{}/comm", peer.pid()))?.trim_end().to_owned();
        let limits = fs::read_to_string(format!("/proc/{}/limits", peer.pid()))?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("no limit")?;
        let limit = line.split_whitespace().next().context("no soft limit")?.parse().ok();
        wanted.push(ProcessDescriptors { pid: peer.pid(), comm: Some(comm), open: listed(peer.pid())?, limit });
    }
    wanted.sort_by_key(|process| process.pid);
    let mut said = pressure.descriptors.clone();
    ensure!(said.is_sorted_by_key(|process| std::cmp::Reverse(process.open)), "who has most comes first: {said:#?}");
    said.sort_by_key(|process| process.pid);
    ensure!(said == wanted, "descriptors are {said:#?}, not {wanted:#?}");
    Ok(())
}
