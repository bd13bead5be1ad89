//! With the load at rest: as many as ss shows, each on the edge of the program that left it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    gate::live,
    kernel,
    netns::Netns,
    observer::Observer,
    peer::{Peer, Place},
    programs::{Programs, text},
    settle::{EMPTY, settle},
    traffic::spec::Client,
};

use crate::{
    LOCALHOST,
    load::{First, Held, Owners, asks, netns, said, serve, sockets},
};

/// Clients of several executables to the same remotes, in a namespace; what they left, and the servers.
fn fill(
    netns: &Netns,
    clients: &[&std::path::Path],
    server: &std::path::Path,
    ip: IpAddr,
    n: u32,
) -> Result<(Owners, Vec<Peer>)> {
    let mut owners = Owners::default();
    let mut turned = serve(netns, server, ip, First::Server)?;
    let mut plain = serve(netns, server, ip, First::Client)?;
    for (i, client) in (1..).zip(clients) {
        owners.load((netns, client), &mut plain, 10 * i + n, First::Client, None)?;
        owners.load((netns, client), &mut turned, 5 * i + n, First::Server, None)?;
    }
    Ok((owners, vec![turned, plain]))
}

#[test]
fn as_many_as_ss_shows_in_three_namespaces() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let programs = Programs::new()?;
    let [alpha, beta, gamma, server] = programs.all(["alpha", "beta", "gamma", "server"])?;
    let observer = Observer::start(&[])?;
    let mut sites = Vec::new();
    let mut wanted = Held::new();
    for (n, ip) in (1..).zip([LOCALHOST, Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]) {
        let netns = netns()?;
        let clients = [&*alpha, &*beta, &*gamma];
        sites.push((fill(&netns, &clients, &server, ip, n)?, netns));
    }
    // IPv4 by way of IPv6 sockets, at both ends.
    let ((owners, servers), netns) = sites.last_mut().context("no namespace")?;
    for (first, n) in [(First::Client, 9), (First::Server, 8)] {
        let mut mapped = serve(netns, &server, Ipv6Addr::UNSPECIFIED.into(), first)?;
        let target: SocketAddr = SocketAddr::new(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1).into(), mapped.port());
        let spec = Client::new(&[target], n, asks(first));
        let clients = Peer::client_at(Place::new(netns, &alpha), &spec)?.run()?;
        let served = mapped.wait_truth(n as usize)?;
        match first {
            First::Client => owners.note(netns, &text(&alpha), &clients)?,
            First::Server => owners.note(netns, &text(&server), &served)?,
        }
        servers.push(mapped);
    }
    for (_, netns) in &sites {
        settle(netns, EMPTY)?;
    }
    let snapshot = observer.stop()?;

    let mut inodes = Vec::new();
    for ((owners, _), netns) in &sites {
        wanted.extend(owners.held(netns, &sockets(netns)?, |_, _, _| true)?);
        inodes.push(netns.inode()?);
        let pressure = snapshot.pressure.as_ref().context("no pressure")?;
        let own = pressure.namespace(netns.inode()?).context("the namespace is not told")?;
        let held = kernel::time_wait_held(netns)?;
        ensure!(own.time_wait == held, "{} in TIME_WAIT, not {held} as sockstat says", own.time_wait);
    }
    // 3 clients of one remote, and the server's own edge of those that it closed.
    let sums: Vec<u64> =
        inodes.iter().map(|inode| wanted.iter().filter(|(key, _)| key.1 == *inode).map(|(_, n)| n).sum()).collect();
    ensure!(sums == [96, 102, 108 + 17], "the load left what it had to: {sums:?}");
    let said = said(&snapshot, &inodes)?;
    let missed = (&snapshot.losses, snapshot.repaired);
    ensure!(said == wanted, "edges hold\n{said:#?}\nnot\n{wanted:#?}\nlosses and repaired: {missed:?}");
    Ok(())
}

#[test]
fn no_more_than_the_kernel_keeps() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let programs = Programs::new()?;
    let [alpha, beta, gamma, server] = programs.all(["alpha", "beta", "gamma", "server"])?;
    let netns = netns()?;
    netns.sysctl("ipv4/tcp_max_tw_buckets", "50")?;
    // A process that is there when the audit begins makes the namespace known.
    let mut peer = serve(&netns, &server, LOCALHOST, First::Client)?;
    let observer = Observer::start(&[])?;
    let mut owners = Owners::default();
    let clients = [&*alpha, &*beta, &*gamma];
    for client in clients {
        owners.load((&netns, client), &mut peer, 40, First::Client, None)?;
    }
    settle(&netns, EMPTY)?;
    let snapshot = observer.stop()?;

    let inode = netns.inode()?;
    let wanted = owners.held(&netns, &sockets(&netns)?, |_, _, _| true)?;
    let held = kernel::time_wait_held(&netns)?;
    ensure!((45..=55).contains(&held), "the limit was not reached: {held} are held");
    let said = said(&snapshot, &[inode])?;
    ensure!(said == wanted && said.values().sum::<u64>() == held, "edges hold {said:?}, not {wanted:?}, {held} in all");
    let pressure = snapshot.pressure.as_ref().context("no pressure")?;
    let own = pressure.namespace(inode).context("the namespace is not told")?;
    ensure!((own.time_wait, own.time_wait_max) == (held, Some(50)), "{held} of 50: {own:?}");
    ensure!(own.time_wait_overflows == Some(120 - held), "{} found no room: {own:?}", 120 - held);
    let edges = snapshot.edges.iter().filter(|edge| edge.netns == Some(inode));
    let inferred: u64 = edges.map(|edge| edge.counts.time_wait_inferred).sum();
    ensure!(inferred == 120, "by their transitions all 120 were in TIME_WAIT: {inferred}");
    Ok(())
}
