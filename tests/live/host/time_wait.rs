//! Connections in TIME_WAIT: every one of them, in several namespaces at once, and no more than the kernel keeps.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use redial::host::{
    namespace_reading::TimeWait,
    reading::{Limits, Reading},
};
use redial_tests::{
    connections::{close, listen, open},
    gate::live,
    kernel::{self, PerRemote, per_remote},
    netns::Netns,
};

use super::holder::Holder;

fn read() -> Result<(Reading, Vec<TimeWait>)> {
    let mut rows = Vec::new();
    let reading = Reading::read(&Limits::default(), &mut |row| rows.push(*row))?;
    Ok((reading, rows))
}

#[test]
fn every_time_wait_of_three_namespaces_is_read() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let begin = Instant::now();
    let mut namespaces = Vec::new();
    for n in 1..=3 {
        let netns = Netns::new()?;
        let holder = Holder::new(&netns)?;
        // The second takes IPv4 too: such a connection's server end is an IPv6 socket with mapped addresses.
        let v4 = listen(&netns, (Ipv4Addr::LOCALHOST, 0).into(), 64)?;
        let v6 = listen(&netns, (Ipv6Addr::UNSPECIFIED, 0).into(), 64)?;
        let port = v6.local_addr()?.port();
        close(open(&netns, &v4, v4.local_addr()?, 10 * n)?)?;
        close(open(&netns, &v6, (Ipv6Addr::LOCALHOST, port).into(), 7 * n)?)?;
        close(open(&netns, &v6, (Ipv4Addr::LOCALHOST, port).into(), 5 * n)?)?;
        // The server closes first here, and is left in TIME_WAIT with mapped addresses.
        let turned = open(&netns, &v6, (Ipv4Addr::LOCALHOST, port).into(), 3)?;
        close(turned.into_iter().map(|(client, server)| (server, client)).collect())?;
        ensure!(kernel::time_wait_held(&netns)? == 22 * n as u64 + 3, "the load left what it had to");
        namespaces.push((netns, holder, [v4, v6]));
    }
    let (reading, rows) = read()?;
    for (netns, ..) in &namespaces {
        let inode = u32::try_from(netns.inode()?)?;
        let mut counts = PerRemote::new();
        for row in rows.iter().filter(|row| row.netns == inode) {
            *counts.entry(row.remote).or_default() += 1;
            let age = Duration::from_secs(60).checked_sub(row.remaining).context("over 60 s remain")?;
            ensure!(age <= begin.elapsed() + Duration::from_millis(20), "older than the test: {row:?}");
        }
        ensure!(counts == per_remote(&kernel::time_wait(netns)?), "{counts:?}, not as /proc/net/tcp says");
        if let Some(by_ss) = kernel::time_wait_by_ss(netns)? {
            let by_ss = per_remote(&by_ss);
            ensure!(counts == by_ss, "{counts:?}, not {by_ss:?} as ss says");
        }
        let own = reading.namespace(inode).context("the namespace was not read")?;
        ensure!(own.time_wait == kernel::time_wait_held(netns)?, "{} are held", own.time_wait);
        ensure!(own.listeners.list().len() == 2 && own.counters.time_wait_overflows == Some(0), "{own:?}");
    }
    Ok(())
}

#[test]
fn no_more_than_the_kernel_keeps() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let _holder = Holder::new(&netns)?;
    netns.sysctl("ipv4/tcp_max_tw_buckets", "50")?;
    let listener = listen(&netns, (Ipv4Addr::LOCALHOST, 0).into(), 64)?;
    close(open(&netns, &listener, listener.local_addr()?, 80)?)?;
    let (reading, rows) = read()?;
    let inode = u32::try_from(netns.inode()?)?;
    let own = reading.namespace(inode).context("the namespace was not read")?;
    let held = kernel::time_wait_held(&netns)?;
    ensure!((45..=55).contains(&held), "the limit was not reached: {held} are held");
    ensure!(own.time_wait == held && own.time_wait_max == Some(50), "{held} are held: {own:?}");
    let remote: SocketAddr = listener.local_addr()?;
    let listed = rows.iter().filter(|row| row.netns == inode && row.remote == remote).count() as u64;
    ensure!(listed == held, "{listed} rows, {held} are held");
    ensure!(own.counters.time_wait_overflows == Some(80 - held), "{:?}, {held} are held", own.counters);
    Ok(())
}
