//! Many open connections at once, on loopback, with nothing sent: what memory is measured with.
//!
//! A process connects to itself, so that each connection is two sockets. Descriptors are limited per process, and
//! local ports per remote address: processes share the work, each with an address of its own.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

/// Sockets of one process at most: half of them take a local port, of which Linux offers 28,232 by default.
const PER_PROCESS: u64 = 16_000;

/// Descriptors of a process that are no connection: the standard ones, the listener, and some room.
const OTHER_DESCRIPTORS: u64 = 64;

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Sockets to have open, two a connection; an odd number is rounded up.
    pub sockets: u64,
    /// Which of the addresses from 127.1.0.1 on is the first to be used.
    #[serde(default)]
    pub address: u32,
}

/// What is held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// Sockets that are open.
    pub sockets: u64,
}

/// Opens connections, prints a [`Held`] as JSON, and keeps them until stdin ends.
pub fn run(spec: &Hold) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("read the limit of descriptors")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise the limit of descriptors")?;
    let limit = most.saturating_sub(OTHER_DESCRIPTORS).min(PER_PROCESS) / 2 * 2;
    ensure!(limit > 0, "a process may open {most} files: too few to hold connections; raise `ulimit -n`");
    if spec.sockets > limit {
        return share(spec, limit);
    }
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + spec.address);
    let held = connect(address, spec.sockets.div_ceil(2))?;
    announce(2 * held.len() as u64)
}

/// Has other processes hold `limit` sockets each.
fn share(spec: &Hold, limit: u64) -> Result<()> {
    let mut left = spec.sockets;
    let mut holders = Vec::new();
    for address in spec.address.. {
        let sockets = left.min(limit);
        left -= sockets;
        holders.push(Holder::start(&Hold { sockets, address })?);
        if left == 0 {
            break;
        }
    }
    let held = holders.iter_mut().map(Holder::held).sum::<Result<u64>>()?;
    announce(held)
    // The holders end here: the drop of their stdin tells them.
}

fn announce(sockets: u64) -> Result<()> {
    println!("{}", serde_json::to_string(&Held { sockets })?);
    io::stdin().read_to_end(&mut Vec::new()).context("wait for the end of stdin")?;
    Ok(())
}

/// Both ends of `connections` connections to `address`.
fn connect(address: Ipv4Addr, connections: u64) -> Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind((address, 0)).with_context(|| format!("listen on {address}"))?;
    let to = listener.local_addr()?;
    let mut held = Vec::new();
    for n in 0..connections {
        let ours = TcpStream::connect(to).with_context(|| format!("open connection {n} to {to}"))?;
        // RST at the end: no TIME-WAIT is left to the next who uses these addresses.
        SockRef::from(&ours).set_linger(Some(Duration::ZERO)).context("set SO_LINGER")?;
        let (theirs, _) = listener.accept().with_context(|| format!("accept connection {n} on {to}"))?;
        held.push((ours, theirs));
    }
    Ok(held)
}

/// A process that holds a part.
struct Holder {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Holder {
    fn start(spec: &Hold) -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(program);
        command.args(["hold", &serde_json::to_string(spec)?]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start a process that holds connections")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no stdout")?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// Waits until it holds what it shall; how many sockets that is.
    fn held(&mut self) -> Result<u64> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("read from a process that holds connections")?;
        if line.is_empty() {
            bail!("a process that holds connections ended before it held them all");
        }
        Ok(serde_json::from_str::<Held>(&line).with_context(|| format!("read {line:?}"))?.sockets)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Nothing is left to be done about a failure here.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_each_connection_are_held() {
        let held = connect(Ipv4Addr::new(127, 1, 255, 1), 3).unwrap();
        assert_eq!(held.len(), 3);
        for (ours, theirs) in &held {
            assert_eq!(ours.local_addr().unwrap(), theirs.peer_addr().unwrap());
            assert_eq!(ours.peer_addr().unwrap(), theirs.local_addr().unwrap());
        }
    }
}
