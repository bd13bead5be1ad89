//! Listeners: how many connections wait to be accepted, and what was dropped because too many did.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use redial::host::{
    namespace_reading::NamespaceReading,
    reading::{Limits, Reading},
};
use redial_tests::{
    clock::poll_until,
    connections::{connect, listen},
    gate::live,
    kernel,
    netns::Netns,
};
use socket2::{Domain, Socket, Type};

use super::holder::Holder;

fn read(netns: &Netns) -> Result<NamespaceReading> {
    let reading = Reading::read(&Limits::default(), &mut |_| {})?;
    let inode = u32::try_from(netns.inode()?)?;
    reading.namespaces.into_iter().find(|one| one.netns == inode).context("the namespace was not read")
}

#[test]
fn what_waits_to_be_accepted_is_counted() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let _holder = Holder::new(&netns)?;
    let (v4, v6) =
        (listen(&netns, (Ipv4Addr::LOCALHOST, 0).into(), 5)?, listen(&netns, (Ipv6Addr::LOCALHOST, 0).into(), 9)?);
    let mut clients = Vec::new();
    for (listener, waiting) in [(&v4, 3), (&v6, 4)] {
        for _ in 0..waiting {
            clients.push(connect(&netns, listener.local_addr()?)?);
        }
    }
    let accepted = v6.accept().context("accept")?;
    let reading = read(&netns)?;
    for (listener, queued, max) in [(&v4, 3, 5), (&v6, 3, 9)] {
        let address = listener.local_addr()?;
        let row = reading.listeners.list().iter().find(|row| row.address == address).context("not listed")?;
        ensure!((row.queued, row.max) == (queued, max), "{queued} of {max} wait, not {row:?}");
    }
    ensure!(reading.listeners.list().len() == 2 && reading.counters.listen_overflows == Some(0), "{reading:?}");
    drop((clients, accepted));
    Ok(())
}

#[test]
fn overflows_are_counted_in_their_namespace() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (netns, other) = (Netns::new()?, Netns::new()?);
    let _holders = [Holder::new(&netns)?, Holder::new(&other)?];
    let listener = listen(&netns, (Ipv4Addr::LOCALHOST, 0).into(), 1)?;
    let address = listener.local_addr()?;
    let mut clients = Vec::new();
    // The queue takes one more than its maximum; the others are not let in.
    for _ in 0..6 {
        clients.push(netns.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            // It is under way, or refused for now; both are what is wanted.
            let _ = socket.connect(&address.into());
            Ok(socket)
        })?);
    }
    let dropped = || kernel::tcp_counter(&netns, "ListenOverflows").is_ok_and(|count| count > 0);
    ensure!(poll_until(Duration::from_secs(5), dropped), "the queue did not overflow");
    // Clients try again by and by, so a count lies between those before and after.
    let count = |name| kernel::tcp_counter(&netns, name);
    let before = (count("ListenOverflows")?, count("ListenDrops")?);
    let reading = read(&netns)?;
    let after = (count("ListenOverflows")?, count("ListenDrops")?);
    let overflows = reading.counters.listen_overflows.context("not counted")?;
    let drops = reading.counters.listen_drops.context("not counted")?;
    ensure!((before.0..=after.0).contains(&overflows), "{overflows} overflows, not {before:?} to {after:?}");
    ensure!((before.1..=after.1).contains(&drops), "{drops} drops, not {before:?} to {after:?}");
    let row = reading.listeners.list().first().context("not listed")?;
    ensure!((row.queued, row.max) == (2, 1), "full: {row:?}");
    ensure!(read(&other)?.counters.listen_overflows == Some(0), "another namespace has none");
    Ok(())
}
