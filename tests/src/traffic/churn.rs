//! As many short connections a second as the machine gives, on loopback: what benchmarks and overload tests run.
//!
//! Each client and each server is a process of its own with raw system calls and nothing else in its loop. Servers
//! share one listener. Counters are in shared memory.

use std::{
    ffi::c_void,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
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

use crate::{clock::poll_until, traffic::control::next_command};

/// The largest request or answer.
const MAX_BYTES: usize = 4096;

/// The first of the addresses that connections are spread over.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How long servers may take for what clients have done.
const SERVED_LIMIT: Duration = Duration::from_secs(10);

/// How a churning connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    /// The client sends RST (SO_LINGER 0): leaves no TIME-WAIT behind.
    Rst,
    /// The client sends RST when it has acknowledged the last answer, so that the server knows what got across.
    AckRst,
    /// The client sends FIN.
    Fin,
    /// The server sends FIN after the last exchange.
    ServerFin,
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
    /// Count per address, too.
    pub tell_addresses: bool,
    /// Where servers of another process listen; for those servers themselves, where to.
    pub port: Option<u16>,
    /// Every so many attempts, one goes to a port where nobody listens; none for never.
    pub refused_every: Option<u64>,
    /// Where this run's servers listen; the kernel's choice when there is none.
    pub listen_at: Option<u16>,
    /// Where nobody listens; the kernel's choice when there is none.
    pub refuse_at: Option<u16>,
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
            tell_addresses: false,
            port: None,
            refused_every: None,
            listen_at: None,
            refuse_at: None,
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
    /// Attempts that were refused as they should be; in no other count.
    pub refused: u64,
    /// The port where nobody listened.
    pub refusing_port: u16,
    /// What was done per address, where that was asked for.
    pub by_address: Vec<AtAddress>,
}

/// What clients did at one address.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AtAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Connections made and closed.
    pub connections: u64,
    /// Attempts refused.
    pub refused: u64,
}

/// In memory that all processes share.
struct Counters {
    stop: &'static AtomicU64,
    connections: &'static AtomicU64,
    failed: &'static AtomicU64,
    exchanges: &'static AtomicU64,
    served: &'static AtomicU64,
    answered: &'static AtomicU64,
    refused: &'static AtomicU64,
    /// Connections and refused attempts per address.
    by_address: &'static [[AtomicU64; 2]],
}

/// Runs clients and servers and counts.
pub fn run(spec: &Churn) -> Result<Churned> {
    let counters = &Counters::new(spec)?;
    let listener = listen(spec.listen_at.unwrap_or(0))?;
    // Bound and not listening: nobody else gets the port, and whoever connects is refused.
    let refusing = bound(spec.refuse_at.unwrap_or(0))?;
    let ports = Ports { open: spec.port.unwrap_or(port(&listener)?), refusing: port(&refusing)? };
    let mut servers = Processes::default();
    for _ in 0..spec.servers {
        servers.start(|| serve(listener.as_raw_fd(), spec, counters))?;
    }
    let begin = Instant::now();
    let mut clients = Processes::default();
    for i in 0..spec.clients {
        clients.start(|| ask(i, ports, spec, counters))?;
    }
    let limit = Duration::from_secs_f64(spec.seconds);
    if spec.connections.is_some() {
        let all = spec.connections.unwrap_or(0) * u64::from(spec.clients);
        let counts = [counters.connections, counters.failed, counters.refused];
        poll_until(limit, || counts.iter().map(|count| count.load(Relaxed)).sum::<u64>() >= all);
    } else {
        std::thread::sleep(limit);
    }
    counters.stop.store(1, Relaxed);
    clients.wait()?;
    let seconds = begin.elapsed().as_secs_f64();
    let made = counters.connections.load(Relaxed);
    if spec.servers > 0 {
        poll_until(SERVED_LIMIT, || counters.served.load(Relaxed) >= made);
    }
    servers.end()?;
    churned(counters, seconds, ports.refusing)
}

/// Serves what other processes' clients ask at a port that is printed as the first line. Each line on stdin is a
/// number of connections to wait for; the end of stdin is the end.
pub fn serve_others(spec: &Churn) -> Result<Churned> {
    let counters = &Counters::new(spec)?;
    let listener = listen(spec.port.unwrap_or(0))?;
    let begin = Instant::now();
    let mut servers = Processes::default();
    for _ in 0..spec.servers {
        servers.start(|| serve(listener.as_raw_fd(), spec, counters))?;
    }
    println!("{}", port(&listener)?);
    while let Some(line) = next_command() {
        let wanted: u64 = line.parse().context("read how many connections are expected")?;
        poll_until(SERVED_LIMIT, || counters.served.load(Relaxed) >= wanted);
    }
    servers.end()?;
    churned(counters, begin.elapsed().as_secs_f64(), 0)
}

/// All that was counted, when all processes have ended.
fn churned(counters: &Counters, seconds: f64, refusing_port: u16) -> Result<Churned> {
    let made = counters.connections.load(Relaxed);
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
        refused: counters.refused.load(Relaxed),
        refusing_port,
        by_address: (0..).zip(counters.by_address).map(|(i, counts)| at_address(i, counts)).collect(),
    })
}

fn at_address(i: u32, [connections, refused]: &[AtomicU64; 2]) -> AtAddress {
    AtAddress {
        address: Ipv4Addr::from_bits(FIRST_ADDRESS.to_bits() + i),
        connections: connections.load(Relaxed),
        refused: refused.load(Relaxed),
    }
}

impl Counters {
    fn new(spec: &Churn) -> Result<Self> {
        let addresses = if spec.tell_addresses { spec.addresses.max(1) as usize } else { 0 };
        let by_address = shared(addresses * 2)?.as_chunks().0;
        let [stop, connections, failed, exchanges, served, answered, refused] = shared(7)? else {
            bail!("too few counters");
        };
        Ok(Self { stop, connections, failed, exchanges, served, answered, refused, by_address })
    }
}

/// At least so many zeros that all processes share.
fn shared(count: usize) -> Result<&'static [AtomicU64]> {
    let length = NonZeroUsize::new(count.max(1) * size_of::<AtomicU64>()).context("no counters")?;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_ANONYMOUS;
    // SAFETY: a new mapping, used by nobody else.
    let memory = unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }
        .context("map shared memory")?;
    // SAFETY: the mapping is zero, large enough, page-aligned, and is never unmapped; zeroed atomics are valid.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast().as_ptr(), count) })
}

fn port(socket: &Socket) -> Result<u16> {
    Ok(socket.local_addr()?.as_socket().map_or(0, |a| a.port()))
}

/// All of 127/8, and nothing but loopback: the addresses are spread, and no one outside can connect.
fn bound(port: u16) -> Result<Socket> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).context("make a listening socket")?;
    listener.bind_device(Some(b"lo")).context("bind the listener to the loopback device")?;
    listener.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).context("bind")?;
    Ok(listener)
}

fn listen(port: u16) -> Result<Socket> {
    let listener = bound(port)?;
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
        let most = if spec.close == Close::ServerFin { spec.exchanges } else { u32::MAX };
        let mut answered = 0;
        while answered < most && receive(fd, &mut buffer, spec.request) && send(fd, &buffer, spec.answer) {
            answered += 1;
            counters.answered.fetch_add(1, Relaxed);
        }
        close(fd);
        counters.served.fetch_add(1, Relaxed);
    }
}

/// Where clients connect.
#[derive(Clone, Copy)]
struct Ports {
    open: u16,
    refusing: u16,
}

fn ask(client: u32, ports: Ports, spec: &Churn, counters: &Counters) {
    let mut buffer = [0_u8; MAX_BYTES];
    for n in 0..spec.connections.unwrap_or(u64::MAX) {
        if counters.stop.load(Relaxed) != 0 {
            break;
        }
        let spread = (u64::from(client) + n) % u64::from(spec.addresses.max(1));
        let address = FIRST_ADDRESS.to_bits() + spread as u32;
        let at_address = counters.by_address.get(spread as usize);
        if spec.refused_every.is_some_and(|every| n % every.max(1) == 0) {
            match connect(address, ports.refusing, spec.close) {
                Err(libc::ECONNREFUSED) => {
                    counters.refused.fetch_add(1, Relaxed);
                    at_address.map(|[_, refused]| refused.fetch_add(1, Relaxed));
                }
                other => {
                    other.into_iter().for_each(close);
                    counters.failed.fetch_add(1, Relaxed);
                }
            }
            continue;
        }
        match connect(address, ports.open, spec.close) {
            Ok(fd) => {
                let answered = (0..spec.exchanges)
                    .take_while(|_| send(fd, &buffer, spec.request) && receive(fd, &mut buffer, spec.answer))
                    .count();
                match spec.close {
                    Close::Rst | Close::Fin => {}
                    Close::AckRst => set_option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, &1_i32),
                    // Its FIN, which nothing comes before.
                    Close::ServerFin => _ = receive(fd, &mut buffer, 1),
                }
                close(fd);
                counters.exchanges.fetch_add(answered as u64, Relaxed);
                if answered == spec.exchanges as usize {
                    counters.connections.fetch_add(1, Relaxed);
                    at_address.map(|[connections, _]| connections.fetch_add(1, Relaxed));
                } else {
                    counters.failed.fetch_add(1, Relaxed);
                }
            }
            Err(_) => {
                counters.failed.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Sets a socket's option; none that is set here is refused on a connected TCP socket.
fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the option's value is a `T` of that length.
    unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast::<c_void>(), length) };
}

/// A connected socket, or the error's number.
fn connect(address: u32, port: u16, how: Close) -> Result<RawFd, i32> {
    // SAFETY: makes a descriptor that this function's caller closes.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(Errno::last_raw());
    }
    if how == Close::Rst || how == Close::AckRst {
        set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 });
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
        return Ok(fd);
    }
    let error = Errno::last_raw();
    close(fd);
    Err(error)
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
