//! Chains: a proxy's exchanges per connection in front and behind.

use anyhow::{Context, Result, ensure};
use redial_tests::{
    gate::live,
    netns::Netns,
    observer::Observer,
    peer::{Peer, Place},
    programs::{Programs, text},
    proxy::{Behind, Proxy},
    settle::{EMPTY, settle},
    traffic::spec::{Client, Script, Server},
};

use crate::LOCALHOST;

/// Connections in front.
const CONNECTIONS: u32 = 5;

/// Exchanges on each.
const EXCHANGES: u32 = 20;

#[test]
fn a_proxy_reuses_in_front_and_perhaps_behind() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let programs = Programs::new()?;
    let [asker, answerer] = programs.all(["asker", "answerer"])?;
    let own = text(&std::env::current_exe().context("find this test's own file")?);
    for (behind, per_connection, opened) in [(Behind::PerExchange, 1.0, 100), (Behind::PerConnection, 20.0, 5)] {
        let netns = Netns::new()?;
        let observer = Observer::in_netns(&netns, &[])?;
        let spec = Server::new(&[LOCALHOST], Script::answers());
        let server = Peer::server_at(Place::new(&netns, &answerer), &spec)?;
        let proxy = Proxy::start(&netns, server.listening()[0], behind, CONNECTIONS as usize)?;
        let spec = Client::new(&[proxy.address()], CONNECTIONS, Script::asks(EXCHANGES)).threads(2);
        let clients = Peer::client_at(Place::new(&netns, &asker), &spec)?.run()?;
        ensure!(clients.iter().all(|conn| conn.error.is_none()), "the generator itself failed: {clients:?}");
        proxy.finish()?;
        settle(&netns, EMPTY)?;
        let snapshot = observer.stop()?;

        let chains = snapshot.chains.context("no chains")?;
        ensure!(chains.len() == 1, "one program is server and client: {chains:#?}");
        let chain = &chains[0];
        let of = (chain.process.exe.as_deref(), chain.process.kind.as_str(), chain.netns);
        ensure!(of == (Some(&*own), "program", Some(netns.inode()?)), "it is this one: {chain:#?}");
        let all = u64::from(CONNECTIONS * EXCHANGES);
        let (inbound, outbound) = (chain.inbound, chain.outbound);
        ensure!((inbound.opened, inbound.exchanges) == (u64::from(CONNECTIONS), Some(all)), "in front: {chain:#?}");
        ensure!(inbound.exchanges_per_connection == Some(f64::from(EXCHANGES)), "in front: {chain:#?}");
        ensure!((outbound.opened, outbound.exchanges) == (opened, Some(all)), "behind: {chain:#?}");
        ensure!(outbound.exchanges_per_connection == Some(per_connection), "behind: {chain:#?}");
        let per_exchange = opened as f64 / all as f64;
        ensure!(chain.opened_per_inbound_exchange == Some(per_exchange), "{per_exchange}: {chain:#?}");
    }
    Ok(())
}

/// As interpreters do: one executable is a server in one process and a client in another.
#[test]
fn processes_of_one_executable_are_no_chain() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let observer = Observer::in_netns(&netns, &[])?;
    let server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    Peer::client(Some(&netns), &Client::new(server.listening(), 5, Script::asks(2)))?.run()?;
    settle(&netns, EMPTY)?;
    let snapshot = observer.stop()?;
    ensure!(snapshot.edges.len() == 2, "a client and a server: {:#?}", snapshot.edges);
    let chains = snapshot.chains.context("no chains")?;
    ensure!(chains.is_empty(), "no process is both: {chains:#?}");
    Ok(())
}
