//! Short connections at the highest rate, from several executables to several remotes in two namespaces: each edge's
//! counts equal the generator's own, whether the kernel tells single records or folds.

use std::{net::SocketAddr, path::PathBuf, thread};

use anyhow::{Result, anyhow, ensure};
use redial_tests::{
    gate::{live, slowdown},
    ledger::{Far, Ledger, Name, View},
    load::ChurnServer,
    netns::Netns,
    observer::Observer,
    peer::{Place, churn_at},
    programs::{Programs, text},
    settle::{EMPTY, settle},
    snapshot::Snapshot,
    traffic::churn::{Churn, Churned, Close},
};

use crate::turn;

/// Where clients close; the same in both namespaces, so that only the namespace tells them apart.
const PATIENT: u16 = 7001;

/// Where servers close.
const CLOSING: u16 = 7002;

/// More bytes than any of these connections carries one way.
const LARGEST: u64 = 10_000;

/// Connections of one executable to one server.
struct Load {
    netns: usize,
    client: usize,
    port: u16,
    exchanges: u32,
    close: Close,
    refused_every: Option<u64>,
}

const LOADS: [Load; 7] = [
    Load { netns: 0, client: 0, port: PATIENT, exchanges: 1, close: Close::AckRst, refused_every: Some(5) },
    Load { netns: 0, client: 1, port: PATIENT, exchanges: 3, close: Close::Fin, refused_every: None },
    Load { netns: 0, client: 2, port: PATIENT, exchanges: 0, close: Close::Fin, refused_every: None },
    Load { netns: 0, client: 0, port: CLOSING, exchanges: 2, close: Close::ServerFin, refused_every: None },
    Load { netns: 1, client: 0, port: PATIENT, exchanges: 2, close: Close::AckRst, refused_every: None },
    Load { netns: 1, client: 1, port: CLOSING, exchanges: 2, close: Close::ServerFin, refused_every: Some(3) },
    Load { netns: 1, client: 2, port: PATIENT, exchanges: 20, close: Close::Fin, refused_every: None },
];

/// What all loads and servers have in common.
fn base(port: u16) -> Churn {
    let seconds = if slowdown() > 1 { 20.0 } else { 2.0 };
    let spec = Churn { clients: 2, servers: 0, seconds, addresses: 3, tell_addresses: true, ..Churn::default() };
    let (request, answer) = if port == PATIENT { (64, 100) } else { (200, 3000) };
    Churn { request, answer, port: Some(port), ..spec }
}

impl Load {
    fn spec(&self) -> Churn {
        let Self { exchanges, close, refused_every, .. } = *self;
        Churn { exchanges, close, refused_every, ..base(self.port) }
    }
}

fn server_spec(port: u16) -> Churn {
    let close = if port == CLOSING { Close::ServerFin } else { Close::Fin };
    Churn { servers: 2, clients: 0, exchanges: 2, close, ..base(port) }
}

/// What both ends say of how a connection of `close` ended.
fn words(close: Close) -> [&'static str; 2] {
    match close {
        Close::Rst | Close::AckRst => ["reset_local", "reset_remote"],
        Close::Fin => ["local", "remote"],
        Close::ServerFin => ["remote", "local"],
    }
}

/// Enters what `load` did, at both ends.
fn enter(ledger: &mut Ledger, load: &Load, done: &Churned, netns: u64, [client, server]: [&PathBuf; 2]) {
    let spec = load.spec();
    let exchanges = u64::from(spec.exchanges);
    let [asked, answered] = [spec.request, spec.answer].map(|bytes| exchanges * bytes as u64);
    let [client_word, server_word] = words(spec.close);
    for at in &done.by_address {
        let far = |port| Far::Remote(SocketAddr::new(at.address.into(), port));
        let edge = ledger.edge(Name { exe: Some(text(client)), netns, far: far(load.port) });
        edge.add_opened(at.connections, exchanges);
        edge.add_closed(at.connections, exchanges, client_word, [asked, answered]);
        let edge = ledger.edge(Name { exe: Some(text(server)), netns, far: Far::LocalPort(load.port) });
        edge.add_opened(at.connections, exchanges);
        edge.add_closed(at.connections, exchanges, server_word, [answered, asked]);
        if at.refused > 0 {
            let edge = ledger.edge(Name { exe: Some(text(client)), netns, far: far(done.refusing_port) });
            *edge.failed_by.entry("refused").or_default() += at.refused;
        }
    }
}

/// Runs all loads under an agent and compares.
fn churned(arguments: &[&str], is_folded: bool) -> Result<Snapshot> {
    let programs = Programs::new()?;
    let clients = programs.all(["asker-a", "asker-b", "asker-c"])?;
    let servers = programs.all(["patient", "closing"])?;
    let netns = [Netns::new()?, Netns::new()?];
    let inodes = [netns[0].inode()?, netns[1].inode()?];
    let mut serving = Vec::new();
    for (i, netns) in netns.iter().enumerate() {
        for (program, port) in servers.iter().zip([PATIENT, CLOSING]) {
            serving.push((i, port, ChurnServer::start(Place::new(netns, program), &server_spec(port))?));
        }
    }
    let observer = Observer::start(arguments)?;
    let done = thread::scope(|scope| {
        let run = |load: &'static Load| churn_at(Place::new(&netns[load.netns], &clients[load.client]), &load.spec());
        let running: Vec<_> = LOADS.iter().map(|load| scope.spawn(move || run(load))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Churned>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a load panicked")))
        };
        running.into_iter().map(join).collect::<Result<Vec<Churned>>>()
    })?;
    for netns in &netns {
        settle(netns, EMPTY)?;
    }
    let snapshot = observer.stop()?;

    let mut ledger = Ledger::default();
    let mut total = 0;
    for (load, done) in LOADS.iter().zip(&done) {
        ensure!(done.failed == 0 && done.connections > 0, "the generator itself failed: {done:?}");
        let server = &servers[usize::from(load.port == CLOSING)];
        enter(&mut ledger, load, done, inodes[load.netns], [&clients[load.client], server]);
        total += done.connections;
    }
    for (i, port, server) in &mut serving {
        let mine = LOADS.iter().zip(&done).filter(|(load, _)| load.netns == *i && load.port == *port);
        let [connections, exchanges] =
            mine.fold([0, 0], |[c, e], (_, done)| [c + done.connections, e + done.exchanges]);
        let served = server.stop(connections)?;
        ensure!(
            [served.served, served.answered] == [connections, exchanges],
            "both ends of the load agree: {served:?}"
        );
    }
    let (edges, folded, repaired) = (snapshot.edges.len(), snapshot.folded, snapshot.repaired);
    println!("{total} connections, {edges} edges, {folded} folded, {repaired} repaired, {:?}", snapshot.losses);
    ensure!(is_folded || snapshot.lost().is_empty(), "nothing may be lost here: {:?}", snapshot.losses);
    ledger.compare(&snapshot, &inodes, View { role: None, is_folded: true, unread: repaired * LARGEST })?;
    Ok(snapshot)
}

#[test]
fn every_edge_is_exact() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let _turn = turn();
    churned(&[], false)?;
    Ok(())
}

/// The ring has room for a dozen records: nearly all are told as totals.
#[test]
fn every_edge_is_exact_when_the_kernel_folds() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let _turn = turn();
    let snapshot = churned(&["--ring-bytes", "4096"], true)?;
    ensure!(snapshot.folded > 1000, "the ring never filled: {} folded", snapshot.folded);
    let untracked: Vec<_> = snapshot.lost().into_keys().filter(|cause| *cause != "process_events").collect();
    ensure!(untracked.is_empty(), "only events of processes may find no room: {untracked:?}");
    Ok(())
}
