//! A client in the test's own process, a server in a forked one, and what must be recorded of their connections.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    libc,
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};
use redial_tests::{
    check,
    netns::Netns,
    record::{Record, Role, Trace},
    traffic::truth::own_comm,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bpf::SockMap;

/// Bytes of a request.
pub const ASK: u64 = 100;
/// Bytes of an answer.
pub const ANSWER: u64 = 200;

/// How long a further subflow may take to join.
pub const JOIN_LIMIT: Duration = Duration::from_secs(5);

/// How long a call may wait for the peer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream socket of this protocol (0 for TCP) in a namespace.
pub fn socket(netns: &Netns, ip: IpAddr, protocol: i32) -> Result<Socket> {
    netns.run(|| {
        let domain = Domain::for_address(SocketAddr::new(ip, 0));
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::from(protocol)))
            .with_context(|| format!("make a stream socket of protocol {protocol}"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })
}

/// A listener on `ip`, and where it listens. `prepare` is done to it before it listens.
pub fn listener(
    netns: &Netns,
    ip: IpAddr,
    protocol: i32,
    prepare: impl FnOnce(&Socket) -> Result<()>,
) -> Result<(Socket, SocketAddr)> {
    let socket = socket(netns, ip, protocol)?;
    prepare(&socket)?;
    socket.set_read_timeout(None)?;
    socket.bind(&SocketAddr::new(ip, 0).into())?;
    socket.listen(16)?;
    let address = local(&socket)?;
    Ok((socket, address))
}

/// The local address.
pub fn local(socket: &Socket) -> Result<SocketAddr> {
    socket.local_addr()?.as_socket().context("an internet socket has such an address")
}

/// Asks `n` times and takes each answer whole.
pub fn ask(mut socket: &Socket, n: usize) -> Result<()> {
    for _ in 0..n {
        socket.write_all(&[0; ASK as usize]).context("ask")?;
        socket.read_exact(&mut [0; ANSWER as usize]).context("take the answer")?;
    }
    Ok(())
}

/// Sets an integer option.
pub fn set_option(socket: &Socket, level: i32, name: i32, value: i32) -> Result<()> {
    // SAFETY: the kernel reads the integer, whose length is given.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<i32>() as u32)
    };
    nix::errno::Errno::result(result).with_context(|| format!("set socket option {level}/{name} to {value}"))?;
    Ok(())
}

/// What a server does after each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It waits for the next request, until the client closes.
    Answer,
    /// It closes.
    Close,
}

/// A process that answers what is asked on a listener. Killed when dropped.
pub struct Answerer {
    pid: Pid,
    comm: String,
}

impl Answerer {
    /// Forks one that answers until the client closes.
    pub fn start(listener: Socket) -> Result<Self> {
        Self::start_with(listener, After::Answer, None)
    }

    /// The same; each accepted socket is put into `map`.
    pub fn start_with(listener: Socket, after: After, map: Option<&SockMap>) -> Result<Self> {
        let fd = listener.as_raw_fd();
        let keep = [fd, map.map_or(fd, SockMap::fd)];
        // SAFETY: the child makes system calls only, until it ends.
        match unsafe { fork() }.context("fork a server")? {
            ForkResult::Parent { child } => {
                // The child's name is that of the thread that forked, until it takes another.
                let comm = std::fs::read_to_string(format!("/proc/{child}/comm")).context("the server is there")?;
                Ok(Self { pid: child, comm: comm.trim_end().to_owned() })
            }
            ForkResult::Child => {
                let fine = set_pdeathsig(Signal::SIGKILL).is_ok() && close_others(keep) && serve(fd, after, map);
                // SAFETY: ends the child without running anything of the parent's.
                unsafe { libc::_exit(i32::from(!fine)) }
            }
        }
    }

    /// The process and its name.
    pub fn owner(&self) -> (u32, &str) {
        (self.pid.as_raw().unsigned_abs(), &self.comm)
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// Closes all descriptors but the standard ones and these: those of other tests must not live longer through this child.
fn close_others(keep: [RawFd; 2]) -> bool {
    let [low, high] = [keep[0].min(keep[1]), keep[0].max(keep[1])].map(RawFd::unsigned_abs);
    let close = |first: u32, last: u32| {
        // SAFETY: closes descriptors of this child's own.
        first > last || unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0
    };
    close(3, low - 1) && close(low + 1, high.saturating_sub(1)) && close(high + 1, u32::MAX)
}

/// Accepts and answers until something fails.
fn serve(listener: RawFd, after: After, map: Option<&SockMap>) -> bool {
    loop {
        // SAFETY: the address of the peer is not asked for.
        let fd = unsafe { libc::accept(listener, std::ptr::null_mut(), std::ptr::null_mut()) };
        if fd < 0 || map.is_some_and(|map| !map.put(fd)) {
            return false;
        }
        while answer(fd) {
            if after == After::Close {
                break;
            }
        }
        // SAFETY: the descriptor was just accepted and is known here only.
        unsafe { libc::close(fd) };
    }
}

/// Takes one request and answers it; false when none came.
fn answer(fd: RawFd) -> bool {
    let (mut request, answer) = ([0_u8; ASK as usize], [0_u8; ANSWER as usize]);
    let mut got = 0;
    while got < request.len() {
        // SAFETY: the kernel writes at most the rest of the buffer.
        match unsafe { libc::recv(fd, request[got..].as_mut_ptr().cast(), request.len() - got, 0) } {
            ..=0 => return false,
            n => got += n.unsigned_abs(),
        }
    }
    // SAFETY: the kernel reads the buffer, whose length is given.
    unsafe { libc::send(fd, answer.as_ptr().cast(), answer.len(), libc::MSG_NOSIGNAL) == ANSWER as isize }
}

/// This process and its name.
pub fn own() -> (u32, String) {
    (std::process::id(), own_comm())
}

/// What must be recorded of one end of a closed connection.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The owner's process and name; none where it is not known.
    pub owner: Option<(u32, &'a str)>,
    /// Exchanges; none where they cannot be told.
    pub exchanges: Option<u64>,
    /// Payload sent and received.
    pub bytes: (u64, u64),
    /// Who closed.
    pub closed_by: &'a str,
    /// All labels.
    pub labels: &'a [&'a str],
}

impl Expected<'_> {
    /// Fails unless `record` says exactly this.
    pub fn check(&self, record: &Record) -> Result<()> {
        let about = || format!("\nexpected: {self:?}\nrecorded: {record:?}");
        ensure!(record.event == "closed", "event is closed{}", about());
        let owner = record.pid.zip(record.comm.as_deref());
        ensure!(owner == self.owner, "the owner is {:?}{}", self.owner, about());
        ensure!(record.exchanges == self.exchanges, "exchanges are {:?}{}", self.exchanges, about());
        let unused = self.exchanges.map(|n| n == 0);
        ensure!(record.unused == unused, "unused is {unused:?}{}", about());
        let bytes = record.bytes_sent.zip(record.bytes_received);
        ensure!(bytes == Some(self.bytes), "bytes are {:?}{}", self.bytes, about());
        ensure!(record.closed_by.as_deref() == Some(self.closed_by), "closed_by is {}{}", self.closed_by, about());
        ensure!(record.failed_by.is_none(), "it did not fail{}", about());
        ensure!(record.labels == self.labels, "labels are {:?}{}", self.labels, about());
        Ok(())
    }
}

/// The one record of an end with these addresses: tuple and role are exact if it is found.
pub fn record(trace: &Trace, role: Role, local: SocketAddr, remote: SocketAddr) -> Result<&Record> {
    check::only(trace, &format!("{role:?} {local} -> {remote}"), |r| {
        r.is(role) && SocketAddr::from(r.local) == local && SocketAddr::from(r.remote) == remote
    })
}

/// Both ends of the connection of a client at `client` to a server at `server`: the client's record, the server's.
pub fn both(trace: &Trace, client: SocketAddr, server: SocketAddr) -> Result<(&Record, &Record)> {
    Ok((record(trace, Role::Client, client, server)?, record(trace, Role::Server, server, client)?))
}

/// Gives the peer, and the kernel's own threads, time to close what was closed here.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(150));
}
