//! Sockets whose connections ended before the agent began: nobody is known to own them.

use anyhow::{Result, ensure};
use redial_tests::{
    gate::live,
    observer::Observer,
    peer::{Peer, Place},
    programs::{Programs, text},
    settle::{EMPTY, settle},
    traffic::spec::{Client, Step},
};

use crate::{
    LOCALHOST,
    load::{First, Owners, UNKNOWN, asks, netns, said, serve, sockets},
};

#[test]
fn those_from_before_are_nobodys() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let programs = Programs::new()?;
    let [alpha, server] = programs.all(["alpha", "server"])?;
    let netns = netns()?;
    let mut owners = Owners::default();
    let mut plain = serve(&netns, &server, LOCALHOST, First::Client)?;
    let mut turned = serve(&netns, &server, LOCALHOST, First::Server)?;
    owners.load((&netns, &alpha), &mut plain, 30, First::Client, Some(UNKNOWN))?;
    owners.load((&netns, &alpha), &mut turned, 12, First::Server, Some(UNKNOWN))?;
    // Open when the agent begins; closed while it watches.
    let script = asks(First::Client).tail(&[Step::Hold]);
    let spec = Client::new(plain.listening(), 5, script).threads(5);
    let mut holding = Peer::client_at(Place::new(&netns, &alpha), &spec)?;
    holding.go()?;
    holding.wait_held(5)?;
    let observer = Observer::start(&[])?;
    holding.release()?;
    owners.note(&netns, &text(&alpha), &holding.finish()?)?;
    owners.load((&netns, &alpha), &mut plain, 20, First::Client, None)?;
    owners.load((&netns, &alpha), &mut turned, 7, First::Server, None)?;
    settle(&netns, EMPTY)?;
    let snapshot = observer.stop()?;

    let inode = netns.inode()?;
    let wanted = owners.held(&netns, &sockets(&netns)?, |_, _, _| true)?;
    let mut counts: Vec<u64> = wanted.values().copied().collect();
    counts.sort_unstable();
    ensure!(counts == [7, 12, 25, 30], "the load left what it had to: {wanted:?}");
    let said = said(&snapshot, &[inode])?;
    let missed = (&snapshot.losses, snapshot.repaired);
    ensure!(said == wanted, "edges hold\n{said:#?}\nnot\n{wanted:#?}\nlosses and repaired: {missed:?}");
    for edge in snapshot.edges.iter().filter(|edge| edge.netns == Some(inode) && edge.process.kind == UNKNOWN) {
        let process = &edge.process;
        ensure!(process.comm.is_none() && process.pids.is_none(), "nobody has no name: {edge:?}");
        ensure!(edge.counts.attempts == 0 && edge.counts.open == 0, "nothing was seen of it: {edge:?}");
    }
    Ok(())
}

/// The listener is gone, so that a server's sockets look like a client's with a remote each.
#[test]
fn those_of_a_server_that_is_gone_are_one_edge() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let programs = Programs::new()?;
    let [alpha, server] = programs.all(["alpha", "server"])?;
    let netns = netns()?;
    let mut owners = Owners::default();
    let mut turned = serve(&netns, &server, LOCALHOST, First::Server)?;
    owners.load((&netns, &alpha), &mut turned, 40, First::Server, Some(UNKNOWN))?;
    turned.stop()?;
    // Another process makes the namespace known.
    let _other = serve(&netns, &server, LOCALHOST, First::Client)?;
    settle(&netns, EMPTY)?;
    let snapshot = Observer::in_netns(&netns, &[])?.stop()?;
    ensure!(sockets(&netns)?.len() == 40, "40 are in TIME_WAIT");
    let all: u64 = snapshot.edges.iter().filter_map(|edge| edge.counts.time_wait).sum();
    ensure!(all == 40, "all are told of: {all}");
    ensure!(
        snapshot.edges.len() == 1,
        "{} edges of a server that is gone: {:#?}",
        snapshot.edges.len(),
        snapshot.edges[0]
    );
    Ok(())
}
