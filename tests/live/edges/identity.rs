//! Whose an edge is, for processes that are gone a moment after their only connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use redial_tests::{
    gate::live,
    ledger::{Far, Ledger, Name, View},
    netns::Netns,
    observer::Observer,
    peer::{Peer, Place},
    programs::{Programs, text},
    settle::{EMPTY, settle},
    traffic::spec::{Client, End, Script, Server, Serving},
};

use crate::turn;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One connection each of `n` clients of one executable to servers of another, one server after the other.
fn once_each(n: u64, serving: Serving, connections_per_server: u64) -> Result<()> {
    let _turn = turn();
    let programs = Programs::new()?;
    let [asker, answerer] = programs.all(["asker", "answerer"])?;
    let netns = Netns::new()?;
    let inode = netns.inode()?;
    let observer = Observer::in_netns(&netns, &[])?;
    let mut ledger = Ledger::default();
    for _ in 0..n / connections_per_server {
        let spec = Server::new(&[LOCALHOST], Script::answers()).serving(serving);
        let mut server = Peer::server_at(Place::new(&netns, &answerer), &spec)?;
        for _ in 0..connections_per_server {
            let spec = Client::new(server.listening(), 1, Script::asks(2).end(End::Exit));
            let mut client = Peer::client_at(Place::new(&netns, &asker), &spec)?;
            let pid = client.pid();
            ensure!(client.run()?.iter().all(|conn| conn.error.is_none()), "the generator itself failed");
            let far = Far::Remote(SocketAddr::new(LOCALHOST, server.port()));
            let edge = ledger.edge(Name { exe: Some(text(&asker)), netns: inode, far });
            edge.add_opened(1, 2);
            edge.add_closed(1, 2, "local", [200, 400]);
            edge.pids.get_or_insert_default().insert(pid);
        }
        let truth = server.wait_truth(usize::try_from(connections_per_server)?)?;
        let edge = ledger.edge(Name { exe: Some(text(&answerer)), netns: inode, far: Far::LocalPort(server.port()) });
        edge.add_opened(connections_per_server, 2);
        edge.add_closed(connections_per_server, 2, "remote", [400, 200]);
        edge.pids = Some(truth.iter().map(|conn| conn.pid).collect());
        edge.peers = Some([(LOCALHOST, connections_per_server)].into());
    }
    settle(&netns, EMPTY)?;
    let snapshot = observer.stop()?;
    ledger.compare(&snapshot, &[inode], View::default())
}

#[test]
fn a_process_a_connection() -> Result<()> {
    if !live() {
        return Ok(());
    }
    once_each(30, Serving::Fork, 30)
}

/// As programs do that start themselves anew: the path that they are called by is another one to who looks later.
#[test]
fn called_by_the_path_of_itself() -> Result<()> {
    if !live() {
        return Ok(());
    }
    once_each(5, Serving::Exec, 1)
}
