//! A layer-3 relay between two namespaces: delays, drops and forges packets exactly as told.
//!
//! Each namespace has a tun device; a thread copies packets from one to the other through a queue ordered by the time
//! at which they are due. (A relay of TCP connections could not delay a handshake: it would accept locally.)

mod packet;
mod rules;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
    unistd::pipe,
};

pub use self::rules::{Answer, Rules};
use crate::{iface, netns::Netns};

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The server's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The client's IPv6 address.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// The server's IPv6 address.
pub const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

/// Larger than any packet that the devices send: their MTU is 1500.
const MAX_PACKET: usize = 4096;

/// Which namespace a packet came from, or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Two namespaces and the thread between them; all end when this is dropped.
pub struct Relay {
    /// Where clients run.
    pub client: Netns,
    /// Where servers run.
    pub server: Netns,
    rules: Arc<Mutex<Rules>>,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Makes both namespaces; every packet takes `delay` each way.
    pub fn new(delay: Duration) -> Result<Self> {
        let (client, server) = (Netns::new()?, Netns::new()?);
        let devices = [end(&client, CLIENT, CLIENT6)?, end(&server, SERVER, SERVER6)?];
        let rules = Arc::new(Mutex::new(Rules { delay, ..Rules::default() }));
        let (wake, stop) = pipe().context("make a pipe")?;
        let shared = Arc::clone(&rules);
        let thread = std::thread::spawn(move || {
            if let Err(error) = run(&devices, &wake, &shared) {
                eprintln!("relay: {error:#}");
            }
        });
        Ok(Self { client, server, rules, stop: Some(stop), thread: Some(thread) })
    }

    /// The rules, to read or change.
    pub fn rules(&self) -> MutexGuard<'_, Rules> {
        lock(&self.rules)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Closing the pipe wakes the thread.
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported already.
            let _ = thread.join();
        }
    }
}

fn lock(rules: &Mutex<Rules>) -> MutexGuard<'_, Rules> {
    rules.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(netns: &Netns, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<File> {
    netns.run(|| {
        let name = "relay0";
        let device = iface::tun(name)?;
        iface::up(name)?;
        iface::add_address(name, IpAddr::V4(v4), 24)?;
        iface::add_address(name, IpAddr::V6(v6), 64)?;
        Ok(device)
    })
}

/// A packet on its way: due, order of arrival, where to, bytes.
type Queued = Reverse<(Instant, u64, Side, Vec<u8>)>;

fn run(devices: &[File; 2], wake: &OwnedFd, rules: &Mutex<Rules>) -> Result<()> {
    let mut queue: BinaryHeap<Queued> = BinaryHeap::new();
    let mut count = 0;
    let mut buffer = [0; MAX_PACKET];
    loop {
        let timeout =
            queue.peek().map(|Reverse((due, ..))| TimeSpec::from(due.saturating_duration_since(Instant::now())));
        let mut fds =
            [devices[0].as_fd(), devices[1].as_fd(), wake.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match ppoll(&mut fds, timeout, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for packets"),
        }
        if fds[2].any().unwrap_or(true) {
            return Ok(());
        }
        for (mut device, side) in devices.iter().zip([Side::Client, Side::Server]) {
            loop {
                let n = match device.read(&mut buffer) {
                    Ok(n) => n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("read a packet"),
                };
                let now = Instant::now();
                let mut rules = lock(rules);
                let due = now + rules.delay;
                for (to, packet) in rules.decide(side, &buffer[..n]) {
                    count += 1;
                    queue.push(Reverse((due, count, to, packet)));
                }
            }
        }
        while queue.peek().is_some_and(|Reverse((due, ..))| *due <= Instant::now()) {
            if let Some(Reverse((_, _, to, packet))) = queue.pop() {
                let mut device = &devices[usize::from(to == Side::Server)];
                device.write_all(&packet).context("write a packet")?;
            }
        }
    }
}
