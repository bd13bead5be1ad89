//! What the kernel says by other ways than the one that redial uses: files of /proc/net, and ss.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::sys::utsname::uname;

use crate::{gate::slowdown, netns::Netns, traffic::truth::canonical};

/// A socket's own address and the peer's; IPv4 also for v4-mapped.
pub type Ends = (SocketAddr, SocketAddr);

/// Sockets per remote.
pub type PerRemote = BTreeMap<SocketAddr, usize>;

/// How many of `sockets` each remote has.
pub fn per_remote(sockets: &[Ends]) -> PerRemote {
    let mut counts = PerRemote::new();
    sockets.iter().for_each(|(_, remote)| *counts.entry(*remote).or_default() += 1);
    counts
}

/// The sockets of `netns` in TIME_WAIT, by /proc/net/tcp and tcp6.
pub fn time_wait(netns: &Netns) -> Result<Vec<Ends>> {
    let mut sockets = Vec::new();
    for file in ["tcp", "tcp6"] {
        for line in text(netns, file)?.lines().skip(1) {
            let mut fields = line.split_whitespace().skip(1);
            let mut next = || fields.next().context("too few fields");
            let (local, remote, state) = (next()?, next()?, next()?);
            if state == "06" {
                sockets.push((address(local)?, address(remote)?));
            }
        }
    }
    Ok(sockets)
}

/// The same by ss, which is there except in emulated guests.
pub fn time_wait_by_ss(netns: &Netns) -> Result<Option<Vec<Ends>>> {
    let run = || Command::new("ss").args(["-tanH", "state", "time-wait"]).output().context("run ss (package iproute2)");
    let output = match netns.run(run) {
        Err(_) if slowdown() > 1 => return Ok(None),
        output => output?,
    };
    ensure!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr));
    let mut sockets = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let mut fields = line.split_whitespace().skip(2);
        let mut next = || fields.next().context("too few fields")?.parse().context("no address").map(canonical);
        sockets.push((next()?, next()?));
    }
    Ok(Some(sockets))
}

/// How many TIME_WAIT the kernel counts in `netns` (/proc/net/sockstat).
pub fn time_wait_held(netns: &Netns) -> Result<u64> {
    let text = text(netns, "sockstat")?;
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).context("no TCP line")?;
    let mut words = tcp.split_whitespace().skip_while(|word| *word != "tw");
    words.nth(1).context("no tw")?.parse().context("read tw")
}

/// A counter of the group TcpExt in `netns` (/proc/net/netstat).
pub fn tcp_counter(netns: &Netns, name: &str) -> Result<u64> {
    let text = text(netns, "netstat")?;
    let [names, numbers] = text.lines().filter(|line| line.starts_with("TcpExt:")).collect::<Vec<_>>()[..] else {
        anyhow::bail!("not two lines: {text}");
    };
    let pair = names.split(' ').zip(numbers.split(' ')).find(|(counter, _)| *counter == name);
    pair.with_context(|| format!("no {name}"))?.1.parse().context("read a counter")
}

/// Whether this kernel is at least `major`.`minor`.
pub fn is_at_least(major: u32, minor: u32) -> Result<bool> {
    let name = uname().context("uname")?;
    let release = name.release().to_str().context("release")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().context("too few numbers")?.context("no number");
    Ok((next()?, next()?) >= (major, minor))
}

/// A file of /proc/net as it is in `netns`.
fn text(netns: &Netns, file: &str) -> Result<String> {
    let path = format!("/proc/thread-self/net/{file}");
    netns.run(|| fs::read_to_string(&path).with_context(|| format!("read {path}")))
}

/// An address as /proc/net/tcp writes it: each word of an address in the machine's own order, and the port.
fn address(text: &str) -> Result<SocketAddr> {
    let (ip, port) = text.split_once(':').context("no port")?;
    let mut bytes = Vec::new();
    for start in (0..ip.len()).step_by(8) {
        let word = ip.get(start..start + 8).context("half a word")?;
        bytes.extend(u32::from_str_radix(word, 16)?.to_ne_bytes());
    }
    let ip: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(&*bytes)?).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(&*bytes)?).to_canonical(),
    };
    Ok(SocketAddr::new(ip, u16::from_str_radix(port, 16)?))
}
