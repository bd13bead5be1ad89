//! As many short connections a second as the machine gives, on loopback: what benchmarks and overload tests run.
//!
//! Each client and each server is a process of its own with raw system calls and nothing else in its loop. Servers
//! share one listener. Counters are in shared memory.

use std::{
    ffi::c_void,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    libc,
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous},
        prctl::set_pdeathsig,
        resource::{UsageWho, getrusage},
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::clock::poll_until;

/// The largest request or answer.
const MAX_BYTES: usize = 4096;

/// How a churning client leaves a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    /// RST (SO_LINGER 0): leaves no TIME-WAIT behind.
    Rst,
    /// FIN.
    Fin,
}

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Churn {
    /// Client processes.
    pub clients: u32,
    /// Server processes.
    pub servers: u32,
    /// For how long, s.
    pub seconds: f64,
    /// At most so many connections a client; none for as many as time allows.
    pub connections: Option<u64>,
    /// Exchanges per connection.
    pub exchanges: u32,
    /// Bytes of a request, at most 4096.
    pub request: usize,
    /// Bytes of an answer, at most 4096.
    pub answer: usize,
    /// How clients leave.
    pub close: Close,
    /// Connections are spread over so many addresses from 127.0.0.2 on, lest local ports run out.
    pub addresses: u32,
}

impl Default for Churn {
    fn default() -> Self {
        Self {
            clients: 16,
            servers: 2,
            seconds: 5.0,
            connections: None,
            exchanges: 1,
            request: 64,
            answer: 64,
            close: Close::Rst,
            addresses: 16,
        }
    }
}

/// What was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Churned {
    /// Connections that the clients made and closed.
    pub connections: u64,
    /// Connections that failed, or broke before their last answer.
    pub failed: u64,
    /// Exchanges that the clients completed.
    pub exchanges: u64,
    /// Connections that the servers served to their end.
    pub served: u64,
    /// Exchanges that the servers answered.
    pub answered: u64,
    /// How long it took, s.
    pub seconds: f64,
    /// Connections per second.
    pub per_second: f64,
    /// CPU time of all clients and servers, s.
    pub cpu_s: f64,
}

/// In memory that all processes share.
#[derive(Default)]
struct Counters {
    stop: AtomicBool,
    connections: AtomicU64,
    failed: AtomicU64,
    exchanges: AtomicU64,
    served: AtomicU64,
    answered: AtomicU64,
}

/// Runs clients and servers and counts.
pub fn run(spec: &Churn) -> Result<Churned> {
    let counters = shared()?;
    let listener = listen()?;
    let port = listener.local_addr()?.as_socket().map_or(0, |a| a.port());
    let mut servers = Processes::default();
    for _ in 0..spec.servers {
        servers.start(|| serve(listener.as_raw_fd(), spec, counters))?;
    }
    let begin = Instant::now();
    let mut clients = Processes::default();
    for i in 0..spec.clients {
        clients.start(|| ask(i, port, spec, counters))?;
    }
    let limit = Duration::from_secs_f64(spec.seconds);
    if spec.connections.is_some() {
        let all = spec.connections.unwrap_or(0) * u64::from(spec.clients);
        let done = || counters.connections.load(Relaxed) + counters.failed.load(Relaxed) >= all;
        poll_until(limit, done);
    } else {
        std::thread::sleep(limit);
    }
    counters.stop.store(true, Relaxed);
    clients.wait()?;
    let seconds = begin.elapsed().as_secs_f64();
    let made = counters.connections.load(Relaxed);
    poll_until(Duration::from_secs(2), || counters.served.load(Relaxed) >= made);
    servers.end()?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(Churned {
        connections: made,
        failed: counters.failed.load(Relaxed),
        exchanges: counters.exchanges.load(Relaxed),
        served: counters.served.load(Relaxed),
        answered: counters.answered.load(Relaxed),
        seconds,
        per_second: made as f64 / seconds,
        cpu_s: cpu(usage.user_time()) + cpu(usage.system_time()),
    })
}

fn shared() -> Result<&'static Counters> {
    let length = NonZeroUsize::new(size_of::<Counters>()).context("no counters")?;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_ANONYMOUS;
    // SAFETY: a new mapping, used by nobody else.
    let memory = unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }
        .context("map shared memory")?;
    // SAFETY: the mapping is zero, large enough, page-aligned, and is never unmapped; zeroed atomics are valid.
    Ok(unsafe { memory.cast::<Counters>().as_ref() })
}

/// All of 127/8, and nothing but loopback: the addresses are spread, and no one outside can connect.
fn listen() -> Result<Socket> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).context("make a listening socket")?;
    listener.bind_device(Some(b"lo")).context("bind the listener to the loopback device")?;
    listener.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).context("bind")?;
    listener.listen(4096).context("listen")?;
    Ok(listener)
}

fn serve(listener: RawFd, spec: &Churn, counters: &Counters) {
    let mut buffer = [0_u8; MAX_BYTES];
    loop {
        // SAFETY: no address is asked for.
        let fd = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
        if fd < 0 {
            continue;
        }
        while receive(fd, &mut buffer, spec.request) && send(fd, &buffer, spec.answer) {
            counters.answered.fetch_add(1, Relaxed);
        }
        close(fd);
        counters.served.fetch_add(1, Relaxed);
    }
}

fn ask(client: u32, port: u16, spec: &Churn, counters: &Counters) {
    let mut buffer = [0_u8; MAX_BYTES];
    for n in 0..spec.connections.unwrap_or(u64::MAX) {
        if counters.stop.load(Relaxed) {
            break;
        }
        let spread = (u64::from(client) + n) % u64::from(spec.addresses.max(1));
        let address = u32::from(Ipv4Addr::new(127, 0, 0, 2)) + spread as u32;
        match connect(address, port, spec.close) {
            Some(fd) => {
                let answered = (0..spec.exchanges)
                    .take_while(|_| send(fd, &buffer, spec.request) && receive(fd, &mut buffer, spec.answer))
                    .count();
                close(fd);
                counters.exchanges.fetch_add(answered as u64, Relaxed);
                let whole = answered == spec.exchanges as usize;
                if whole { &counters.connections } else { &counters.failed }.fetch_add(1, Relaxed);
            }
            None => {
                counters.failed.fetch_add(1, Relaxed);
            }
        }
    }
}

fn connect(address: u32, port: u16, how: Close) -> Option<RawFd> {
    // SAFETY: makes a descriptor that this function's caller closes.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return None;
    }
    if how == Close::Rst {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let length = size_of::<libc::linger>() as libc::socklen_t;
        // SAFETY: the option's value is a `linger` of that length.
        unsafe {
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast::<c_void>(), length)
        };
    }
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: address.to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: the address is a `sockaddr_in` of that length.
    let result =
        unsafe { libc::connect(fd, (&raw const to).cast(), size_of::<libc::sockaddr_in>() as libc::socklen_t) };
    if result == 0 {
        return Some(fd);
    }
    close(fd);
    None
}

fn send(fd: RawFd, buffer: &[u8; MAX_BYTES], bytes: usize) -> bool {
    let bytes = bytes.min(MAX_BYTES);
    // SAFETY: the buffer holds at least `bytes`.
    let sent = unsafe { libc::send(fd, buffer.as_ptr().cast(), bytes, libc::MSG_NOSIGNAL) };
    sent == bytes as isize
}

fn receive(fd: RawFd, buffer: &mut [u8; MAX_BYTES], bytes: usize) -> bool {
    let bytes = bytes.min(MAX_BYTES);
    let mut got = 0;
    while got < bytes {
        // SAFETY: the buffer has room for `bytes`, of which `got` are taken.
        let n = unsafe { libc::recv(fd, buffer[got..].as_mut_ptr().cast(), bytes - got, 0) };
        if n <= 0 {
            return false;
        }
        got += n.unsigned_abs();
    }
    true
}

fn close(fd: RawFd) {
    // SAFETY: the descriptor is this process's own and is not used afterwards.
    unsafe { libc::close(fd) };
}

/// Forked processes; they are killed when this is dropped.
#[derive(Default)]
struct Processes(Vec<Pid>);

impl Processes {
    fn start(&mut self, work: impl FnOnce()) -> Result<()> {
        // SAFETY: this process has a single thread, so the child may use everything.
        match unsafe { fork() }.context("fork")? {
            ForkResult::Parent { child } => self.0.push(child),
            ForkResult::Child => {
                if set_pdeathsig(Signal::SIGKILL).is_ok() {
                    work();
                }
                // SAFETY: ends the process at once; nothing of the parent's is run or flushed.
                unsafe { libc::_exit(0) }
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        self.0.drain(..).try_for_each(|pid| waitpid(pid, None).map(drop)).context("wait for a process")
    }

    fn end(&mut self) -> Result<()> {
        for pid in &self.0 {
            kill(*pid, Signal::SIGKILL).context("end a process")?;
        }
        self.wait()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // Nothing is left to be done about a failure here.
        let _ = self.end();
    }
}
