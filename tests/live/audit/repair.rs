//! A connection whose end was missed: told at the end of the observation, and no longer open.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use redial_common::record::conn::{Conn, flag};
use redial_tests::{
    clock::poll_until,
    gate::live,
    maps::Map,
    netns::Netns,
    observer::Observer,
    peer::{LIMIT, Peer, Place},
    programs::{Programs, text},
    record::Role,
    settle::{Standing, settle},
    snapshot::{Edge, Snapshot},
    traffic::spec::{Client, Script, Server, Step},
};

use crate::LOCALHOST;

/// The maps of live connections; only one of them is in use.
const MAPS: &[&str] = &["CONNS", "CONNS_PREALLOCATED"];

/// Addresses where no socket of the kernel's is.
const NO_SOCKETS: [u64; 2] = [0x1000, 0x2000];

/// A time that is as old as the host, ns.
const LONG_AGO: u64 = 1_000_000;

/// Connections that stay open, and exchanges on each.
const CONNECTIONS: u32 = 4;
const EXCHANGES: u32 = 3;

/// The connections of clients in this namespace that the agent `pid` follows, with its map.
fn followed(pid: u32, netns: u32, program: &str) -> Result<(Map, Vec<(u64, Conn)>)> {
    for map in Map::of_process(pid, MAPS)? {
        ensure!(map.value_size() == size_of::<Conn>(), "the agent is of another version than this test");
        let mut conns = Vec::new();
        for key in map.keys()? {
            let Some(bytes) = map.get(key)? else { continue };
            // SAFETY: as many bytes as a `Conn` has, which is made of integers, so that any bytes are a value.
            let conn: Conn = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
            if conn.netns == netns && conn.comm.starts_with(program.as_bytes()) {
                conns.push((key, conn));
            }
        }
        if !conns.is_empty() {
            return Ok((map, conns));
        }
    }
    Ok((Map::of_process(pid, MAPS)?.pop().context("the agent has no map of live connections")?, Vec::new()))
}

fn bytes(conn: &Conn) -> &[u8] {
    // SAFETY: a structure of integers without padding, read as long as it is borrowed.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(conn).cast(), size_of::<Conn>()) }
}

/// All counters of all edges by what they are of.
fn counters(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let name = |edge: &Edge| format!("{:?} {:?} {:?} {:?}", edge.process.exe, edge.role, edge.remote, edge.local_port);
    let of_edge = |edge: &Edge| {
        let name = name(edge);
        let sums = edge.counts.sums().into_iter().chain([("pids".to_owned(), edge.process.pids.unwrap_or(0))]);
        sums.map(move |(what, count)| (format!("{name} {what}"), count)).collect::<Vec<_>>()
    };
    snapshot.edges.iter().flat_map(of_edge).collect()
}

#[test]
fn a_missed_end_is_told() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let programs = Programs::new()?;
    let [asker, answerer] = programs.all(["asker", "answerer"])?;
    let netns = Netns::new()?;
    // Two that see the same, one of them with connections that are none.
    let (observer, control) = (Observer::in_netns(&netns, &[])?, Observer::in_netns(&netns, &[])?);
    let server = Peer::server_at(Place::new(&netns, &answerer), &Server::new(&[LOCALHOST], Script::answers()))?;
    let script = Script::asks(EXCHANGES).tail(&[Step::Hold]);
    let spec = Client::new(server.listening(), CONNECTIONS, script).threads(CONNECTIONS);
    let mut client = Peer::client_at(Place::new(&netns, &asker), &spec)?;
    client.go()?;
    client.wait_held(CONNECTIONS as usize)?;
    let inode = u32::try_from(netns.inode()?)?;
    let mut found = None;
    poll_until(LIMIT, || {
        found = Some(followed(observer.pid(), inode, "asker"));
        !matches!(&found, Some(Ok((_, conns))) if conns.len() < CONNECTIONS as usize)
    });
    let (map, conns) = found.context("not asked")??;
    ensure!(conns.len() == CONNECTIONS as usize, "{} connections are followed", conns.len());
    let (_, row) = conns[0];
    ensure!(row.exchanges == EXCHANGES && row.end_ns == 0, "a connection that lives: {row:?}");
    let missed = Conn { id: u64::MAX - 1, start_ns: LONG_AGO, ..row };
    let older = Conn { id: u64::MAX - 2, flags: row.flags | flag::ADOPTED, ..missed };
    for (key, conn) in NO_SOCKETS.into_iter().zip([missed, older]) {
        ensure!(conns.iter().all(|(real, _)| *real != key), "no socket is at {key:#x}");
        map.put(key, bytes(&conn))?;
    }
    settle(&netns, Standing { established: 2 * CONNECTIONS as usize, ..Standing::default() })?;
    let (said, plain) = (observer.stop()?, control.stop()?);

    ensure!((said.repaired, plain.repaired) == (2, 0), "{} and {} were repaired", said.repaired, plain.repaired);
    let is_theirs = |edge: &&Edge| edge.process.exe.as_deref() == Some(&*text(&asker));
    let edge = said.edges.iter().find(is_theirs).context("no edge of the client")?;
    ensure!(edge.role() == Some(Role::Client) && edge.counts.open == u64::from(CONNECTIONS), "open are: {edge:#?}");
    let mut wanted = counters(&plain);
    let name = format!("{:?} {:?} {:?} {:?}", edge.process.exe, edge.role, edge.remote, edge.local_port);
    let carried = u64::from(EXCHANGES);
    for (what, more) in [
        ("attempts", 1),
        ("opened", 1),
        ("open_at_start", 1),
        ("closed", 2),
        ("closed_by unknown", 2),
        ("exchanges", 2 * carried),
    ] {
        *wanted.entry(format!("{name} {what}")).or_default() += more;
    }
    let said = counters(&said);
    let differ: Vec<_> = wanted.iter().filter(|(what, count)| said.get(*what) != Some(count)).collect();
    let differ: Vec<_> = differ.iter().map(|(what, count)| (what, count, said.get(*what))).collect();
    ensure!(differ.is_empty() && said.len() == wanted.len(), "differs (what, wanted, said): {differ:#?}");
    drop(client);
    Ok(())
}
