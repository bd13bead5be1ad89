//! Ephemeral ports: `available` is how many connections the kernel then finds a port for, and not one more.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use redial::host::{
    namespace_reading::NamespaceReading,
    ports::{PortUse, Tuple},
    reading::{Limits, Reading},
};
use redial_tests::{
    clock::poll_until,
    connections::{close, exhaust, listen, open},
    gate::live,
    kernel,
    netns::Netns,
    relay::{CLIENT, CLIENT6, Relay, SERVER, SERVER6},
};
use socket2::{Domain, Socket, Type};

use super::holder::Holder;

/// 40 ports.
const RANGE: &str = "40000 40039";

/// Long enough to be cut by who reads it piece by piece; the last is the one in the range.
const RESERVED: &str = "2001,2003,2005,2007,2009,2011,2013,2015,2017,2019,2021,2023,40005";

fn read(netns: &Netns) -> Result<NamespaceReading> {
    let reading = Reading::read(&Limits::default(), &mut |_| {})?;
    let inode = u32::try_from(netns.inode()?)?;
    reading.namespaces.into_iter().find(|one| one.netns == inode).context("the namespace was not read")
}

fn use_of(netns: &Netns, source: IpAddr, remote: SocketAddr) -> Result<PortUse> {
    let reading = read(netns)?;
    let ports = reading.ports.context("no ports")?;
    ports.of(&Tuple::new(source, remote)).with_context(|| format!("{remote} is not known"))
}

/// `available` is what then succeeds, and after that it is zero.
fn agrees(netns: &Netns, source: IpAddr, remote: SocketAddr, expected: PortUse) -> Result<()> {
    let before = use_of(netns, source, remote)?;
    ensure!(before == expected, "{before:?}, not {expected:?}");
    let streams = exhaust(netns, remote, 100)?;
    ensure!(streams.len() as u32 == before.available, "{} connections, not as many as {before:?}", streams.len());
    let after = use_of(netns, source, remote)?;
    ensure!(after.available == 0 && after.used == before.used + before.available, "{after:?} after {before:?}");
    Ok(())
}

fn bind(netns: &Netns, address: SocketAddr) -> Result<Socket> {
    netns.run(|| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
        Ok(socket)
    })
}

/// With a reserved port, ports that are bound, connections to this remote and another, and some in TIME_WAIT.
fn between_hosts(source: IpAddr, server: IpAddr) -> Result<()> {
    let relay = Relay::new(Duration::ZERO)?;
    let (client_ns, server_ns) = (&relay.client, &relay.server);
    let _holder = Holder::new(client_ns)?;
    client_ns.sysctl("ipv4/ip_local_port_range", RANGE)?;
    client_ns.sysctl("ipv4/ip_local_reserved_ports", RESERVED)?;
    let here = listen(server_ns, (server, 7000).into(), 128)?;
    let elsewhere = listen(server_ns, (server, 7001).into(), 128)?;
    let remote = here.local_addr()?;
    // Bound for another family and another address, and taken all the same.
    let v4 = listen(client_ns, (Ipv4Addr::LOCALHOST, 40010).into(), 8)?;
    let _v6 = listen(client_ns, (Ipv6Addr::LOCALHOST, 40012).into(), 8)?;
    let mut bound = 2;
    let only_bound = bind(client_ns, (Ipv4Addr::LOCALHOST, 40014).into())?;
    if kernel::is_at_least(6, 8)? {
        bound += 1;
    } else {
        drop(only_bound);
    }
    let _accepted = open(client_ns, &v4, v4.local_addr()?, 1)?;
    let _others = open(client_ns, &elsewhere, elsewhere.local_addr()?, 3)?;
    let _open = open(client_ns, &here, remote, 5)?;
    close(open(client_ns, &here, remote, 4)?)?;
    // The last acknowledgement passes the relay.
    let settled = poll_until(Duration::from_secs(5), || kernel::time_wait_held(client_ns).is_ok_and(|held| held == 4));
    ensure!(settled, "4 are in TIME_WAIT");
    agrees(client_ns, source, remote, PortUse { used: 9, available: 40 - 1 - bound - 9 })
}

#[test]
fn available_is_what_succeeds_between_hosts() -> Result<()> {
    if !live() {
        return Ok(());
    }
    between_hosts(CLIENT.into(), SERVER.into()).context("IPv4")?;
    between_hosts(CLIENT6.into(), SERVER6.into()).context("IPv6")
}

/// `tcp_tw_reuse` and `tcp_timestamps` of the namespace decide whether TIME_WAIT between hosts takes a port.
#[test]
fn time_wait_is_replaced_where_the_namespace_allows() -> Result<()> {
    if !live() {
        return Ok(());
    }
    for (reuse, timestamps, used) in [("1", "1", 0), ("1", "0", 6), ("0", "1", 6), ("2", "1", 6)] {
        let relay = Relay::new(Duration::ZERO)?;
        let _holder = Holder::new(&relay.client)?;
        for (name, value) in [("ip_local_port_range", RANGE), ("tcp_tw_reuse", reuse), ("tcp_timestamps", timestamps)] {
            relay.client.sysctl(&format!("ipv4/{name}"), value)?;
        }
        let listener = listen(&relay.server, (SERVER, 7000).into(), 128)?;
        let remote = listener.local_addr()?;
        close(open(&relay.client, &listener, remote, 6)?)?;
        sleep(Duration::from_millis(1500));
        agrees(&relay.client, CLIENT.into(), remote, PortUse { used, available: 40 - used })
            .with_context(|| format!("tcp_tw_reuse {reuse}, tcp_timestamps {timestamps}"))?;
    }
    Ok(())
}

/// On loopback what is longer than 1 s in TIME_WAIT takes no port.
#[test]
fn time_wait_on_loopback_gives_ports_back() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let _holder = Holder::new(&netns)?;
    let listener = listen(&netns, (Ipv4Addr::LOCALHOST, 7000).into(), 128)?;
    let remote = listener.local_addr()?;
    netns.sysctl("ipv4/ip_local_port_range", RANGE)?;
    if kernel::is_at_least(6, 14)? {
        // Lest a slow machine need a second for what follows.
        netns.sysctl("ipv4/tcp_tw_reuse_delay", "4000")?;
        close(open(&netns, &listener, remote, 12)?)?;
        let early = use_of(&netns, Ipv4Addr::LOCALHOST.into(), remote)?;
        ensure!(early == PortUse { used: 12, available: 28 }, "{early:?} at once");
        netns.sysctl("ipv4/tcp_tw_reuse_delay", "1000")?;
    } else {
        close(open(&netns, &listener, remote, 12)?)?;
    }
    sleep(Duration::from_millis(1500));
    ensure!(kernel::time_wait_held(&netns)? == 12, "still there");
    agrees(&netns, Ipv4Addr::LOCALHOST.into(), remote, PortUse { used: 0, available: 40 })
}
