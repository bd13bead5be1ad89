//! `--by`: as many rows as there were processes, executables, containers, pods, remotes or names, and the same sums.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use redial_tests::{
    cgroup::{Group, Hierarchy, ID, POD_UID},
    gate::live,
    observer::Observer,
    peer::{Peer, Place},
    programs::{Programs, text},
    record::Role,
    settle::{Standing, settle},
    snapshot::{Edge, Snapshot},
    traffic::spec::{Client, Script, Step},
};

use crate::{
    LOCALHOST,
    load::{First, Owners, UNKNOWN, netns, serve},
};

/// Sockets in TIME_WAIT whose connections were over before the agent began.
const OLDER: u32 = 9;

/// What identifies a row: role, kind, then what edges are folded by.
type Row = (Role, String, String);

fn rows(snapshot: &Snapshot, key: impl Fn(&Edge) -> Option<String>) -> Result<BTreeSet<Row>> {
    let mut rows = BTreeSet::new();
    for edge in &snapshot.edges {
        let row = (edge.role().context("no role")?, edge.process.kind.clone(), key(edge).unwrap_or_default());
        ensure!(rows.insert(row), "a row is there twice: {edge:#?}");
    }
    Ok(rows)
}

#[test]
fn rows_are_what_the_generator_knows_and_sums_stay() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let hierarchy = Hierarchy::find()?;
    let group = Group::make(&hierarchy, "fold")?;
    let programs = Programs::new()?;
    let [alpha, beta, server] = programs.all(["alpha", "beta", "server"])?;
    let netns = netns()?;
    let mut owners = Owners::default();
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(serve(&netns, &server, LOCALHOST, First::Client)?);
    }
    // Nobody is known to own what was over before.
    owners.load((&netns, &alpha), &mut servers[0], OLDER, First::Client, Some(UNKNOWN))?;
    let views = [None, Some("pid"), Some("exe"), Some("container"), Some("pod"), Some("remote"), Some("name")];
    let mut observers = Vec::new();
    for by in views {
        let words: Vec<&str> = by.iter().flat_map(|by| ["--by", by]).collect();
        observers.push(Observer::in_netns(&netns, &words)?);
    }
    // Program, servers, connections, and whether it is in a container. The last connection of each stays open.
    let mut clients = Vec::new();
    for (program, to, n, is_inside) in
        [(&alpha, [0, 0], 4, false), (&alpha, [0, 1], 6, true), (&beta, [1, 2], 8, true), (&beta, [2, 2], 2, false)]
    {
        let targets = to.map(|i: usize| servers[i].listening()[0]);
        let place = Place::new(&netns, program);
        let mut closing = Peer::client_at(place, &Client::new(&targets, n, Script::asks(n)).linger())?;
        let mut holding =
            Peer::client_at(place, &Client::new(&targets, 1, Script::asks(1).tail(&[Step::Hold])).linger())?;
        for client in [&mut closing, &mut holding] {
            if is_inside {
                group.add(client.pid())?;
            }
            client.go()?;
        }
        closing.wait_done()?;
        holding.wait_held(1)?;
        clients.extend([(closing, program), (holding, program)]);
    }
    settle(&netns, Standing { established: 8, ..Standing::default() })?;
    let mut snapshots = Vec::new();
    for (by, observer) in views.into_iter().zip(observers) {
        snapshots.push((by, observer.stop()?));
    }

    let (_, plain) = &snapshots[0];
    let held = u64::from(OLDER) + 20;
    ensure!(plain.totals.time_wait == Some(held), "{held} are in TIME_WAIT: {:?}", plain.totals);
    ensure!(plain.totals.opened == 2 * 24 && plain.totals.open == 8, "the load is seen: {:?}", plain.totals);
    let kind = |kind: &str| kind.to_owned();
    let servers_pids = servers.iter().map(|server| (Role::Server, kind("process"), server.pid().to_string()));
    let clients_pids = clients.iter().map(|(client, _)| (Role::Client, kind("process"), client.pid().to_string()));
    let by_pid: BTreeSet<Row> = servers_pids.chain(clients_pids).collect();
    let exe = |role, path| (role, kind("program"), text(path));
    let by_exe = BTreeSet::from([exe(Role::Client, &alpha), exe(Role::Client, &beta), exe(Role::Server, &server)]);
    let any = |role, value: String| (role, kind("any"), value);
    let inside = |value: &str| {
        [any(Role::Client, value.to_owned()), any(Role::Client, String::new()), any(Role::Server, String::new())]
    };
    let remotes = servers.iter().flat_map(|server| {
        [any(Role::Client, server.listening()[0].to_string()), any(Role::Server, server.port().to_string())]
    });
    let name = |role, name: &str| (role, kind("program"), name.to_owned());
    let by_name = [name(Role::Client, "alpha"), name(Role::Client, "beta"), name(Role::Server, "server")];
    let mut wrong = Vec::new();
    for (by, snapshot) in &snapshots {
        let sums = (snapshot.totals.sums(), plain.totals.sums());
        ensure!(sums.0 == sums.1, "by {by:?} the totals are\n{:?}, not\n{:?}", sums.0, sums.1);
        let pid = |edge: &Edge| edge.process.pid.map(|pid| pid.to_string());
        let far = |edge: &Edge| edge.remote().map(|to| to.to_string()).or(edge.local_port.map(|port| port.to_string()));
        let (said, mut wanted) = match *by {
            None => continue,
            Some("pid") => (rows(snapshot, pid)?, by_pid.clone()),
            Some("exe") => (rows(snapshot, |edge| edge.process.exe.clone())?, by_exe.clone()),
            Some("container") => (rows(snapshot, |edge| edge.process.container.clone())?, inside(ID).into()),
            Some("pod") => (rows(snapshot, |edge| edge.process.pod.clone())?, inside(POD_UID).into()),
            Some("remote") => (rows(snapshot, far)?, remotes.clone().collect()),
            Some(_) => (rows(snapshot, |edge| edge.process.comm.clone())?, by_name.clone().into()),
        };
        // A remote is known of them, whoever owned them.
        if *by != Some("remote") {
            wanted.insert((Role::Client, kind(UNKNOWN), String::new()));
        }
        if said != wanted {
            wrong.push(format!("by {by:?} the rows are\n{said:#?}, not\n{wanted:#?}"));
        }
        ensure!(snapshot.chains.is_none(), "a row by {by:?} is no program that could be in a chain");
        for edge in &snapshot.edges {
            ensure!(edge.netns.is_none(), "a row by {by:?} may be of several namespaces: {edge:#?}");
            let is_by_place = *by == Some("remote");
            let place = (edge.remote.is_some(), edge.local_port.is_some());
            let wanted =
                (is_by_place && edge.role() == Some(Role::Client), is_by_place && edge.role() == Some(Role::Server));
            ensure!(place == wanted, "a row by {by:?} has a far end only by that: {edge:#?}");
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // 24 connections of 8 client processes; each row's counters are its own.
    let (_, of_pids) = &snapshots[1];
    for (client, program) in &mut clients {
        let truth = client.truth()?;
        let edge = of_pids.edges.iter().find(|edge| edge.process.pid == Some(client.pid())).context("no row")?;
        let exe = edge.process.exe.as_deref() == Some(&*text(program));
        let exchanges: u64 = truth.iter().map(redial_tests::traffic::truth::Conn::exchanges).sum();
        // What stays open is not in the truth yet.
        let wanted = (truth.len() as u64, exchanges + edge.counts.open);
        let said = (edge.counts.closed, edge.counts.exchanges.unwrap_or(0));
        ensure!(exe && said == wanted, "{wanted:?} of {}: {edge:#?}", client.pid());
    }
    Ok(())
}
