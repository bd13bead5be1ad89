//! While connections go on to be made: between what there was before the audit's end and what there is after it.

use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use redial_tests::{
    gate::live,
    kernel::time_wait,
    observer::Observer,
    peer::{Peer, Place},
    programs::{Programs, text},
    traffic::spec::{Client, Step},
};

use crate::{
    LOCALHOST,
    load::{First, Owners, UNKNOWN, asks, netns, said, serve},
};

/// How long the load runs before the audit is told to end.
const LOAD: Duration = Duration::from_millis(700);

#[test]
fn between_two_readings_of_ss() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let programs = Programs::new()?;
    let [alpha, beta, server] = programs.all(["alpha", "beta", "server"])?;
    let netns = netns()?;
    let observer = Observer::start(&[])?;
    let peer = serve(&netns, &server, LOCALHOST, First::Client)?;
    let mut clients = Vec::new();
    for (program, ms) in [(&alpha, 2), (&beta, 5)] {
        let script = asks(First::Client).tail(&[Step::Sleep(ms)]);
        let spec = Client::new(peer.listening(), 0, script).threads(2).until_released();
        let mut client = Peer::client_at(Place::new(&netns, program), &spec)?;
        client.go()?;
        clients.push((program, client));
    }
    sleep(LOAD);
    let before = time_wait(&netns)?;
    let snapshot = observer.stop()?;
    let after = time_wait(&netns)?;
    let mut owners = Owners::default();
    for (program, client) in &mut clients {
        client.release()?;
        owners.note(&netns, &text(program), &client.finish()?)?;
    }
    let [least, most] = [owners.held(&netns, &before, |_, _, _| true)?, owners.held(&netns, &after, |_, _, _| true)?];
    ensure!(least.len() == 2 && least.values().all(|&n| n > 20) && most != least, "no load: {least:?} to {most:?}");
    let said = said(&snapshot, &[netns.inode()?])?;
    for (key, most) in &most {
        let (least, said) = (least.get(key).copied().unwrap_or(0), said.get(key).copied().unwrap_or(0));
        ensure!((least..=*most).contains(&said), "{key:?}: {said}, not {least} to {most}");
    }
    let all: u64 = said.values().sum();
    let unknown: u64 = said.iter().filter(|(key, _)| key.0 == UNKNOWN).map(|(_, n)| n).sum();
    eprintln!("{least:?} to {most:?}: {said:?}");
    ensure!(all <= after.len() as u64, "{all} in all, not as many as {}", after.len());
    ensure!(unknown == 0, "{unknown} are nobody's, though all their connections were watched");
    Ok(())
}
