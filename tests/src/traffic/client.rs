//! A client process: makes connections from one or several threads when told to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::poll::PollFlags;
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::{
    clock::{monotonic_ns, wall_ns},
    record::Role,
    traffic::{
        channel::{PATIENCE, wait_for},
        control::{Gate, News, next_command, tell},
        script::{self, Begun},
        spec::{Client, Connect},
        truth::{Conn, canonical, own_comm},
        uring::Ring,
    },
};

/// Says that it is ready, waits for `go`, makes the connections of `spec`, and returns when all are over.
pub fn run(spec: &Client, truth: &Path) -> Result<()> {
    tell(&News::Ready { listening: Vec::new() });
    let gate = Gate::default();
    match next_command().as_deref() {
        Some("go") => {}
        other => bail!("a client waits for `go`, not {other:?}"),
    }
    let release = gate.clone();
    thread::spawn(move || {
        while next_command().is_some() {
            release.open();
        }
        // The end of stdin releases too: the test is over.
        release.open_all();
    });
    let next = AtomicU32::new(0);
    let result = thread::scope(|scope| {
        let workers: Vec<_> = (0..spec.threads).map(|_| scope.spawn(|| work(spec, &next, &gate, truth))).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| bail!("a thread of the client panicked")))
    });
    if spec.linger && result.is_ok() {
        tell(&News::Done);
        gate.wait_all();
    }
    result
}

fn work(spec: &Client, next: &AtomicU32, gate: &Gate, truth: &Path) -> Result<()> {
    loop {
        let i = next.fetch_add(1, Ordering::Relaxed);
        if i >= spec.connections || (spec.until_released && gate.is_open()) {
            return Ok(());
        }
        let i = i as usize;
        let target = *spec.targets.get(i % spec.targets.len().max(1)).context("a client needs targets")?;
        let source = spec.sources.get(i % spec.sources.len().max(1)).copied();
        one(spec, target, source, gate, truth)?;
    }
}

fn one(spec: &Client, target: SocketAddr, source: Option<IpAddr>, gate: &Gate, truth: &Path) -> Result<()> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).context("make a socket")?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into()).with_context(|| format!("bind {source}"))?;
    }
    if let Some(ms) = spec.user_timeout_ms {
        socket.set_tcp_user_timeout(Some(Duration::from_millis(ms.into())))?;
    }
    if let Some(s) = spec.keepalive_s {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(s.into())))?;
    }
    let mut begun =
        Begun { role: Role::Client, acceptor_pid: None, begin_ns: 0, wall_ns: wall_ns(), established_ns: None };
    begun.begin_ns = monotonic_ns();
    match connect(&socket, &target.into(), spec.connect) {
        Ok(()) => {
            begun.established_ns = Some(monotonic_ns());
            script::run(socket, begun, &spec.script, gate, truth)
        }
        Err(error) => {
            let close_begin_ns = monotonic_ns();
            let local = script::address(socket.local_addr());
            drop(socket);
            let conn = Conn {
                role: Role::Client,
                pid: std::process::id(),
                comm: own_comm(),
                acceptor_pid: None,
                local,
                remote: canonical(target),
                wall_ns: begun.wall_ns,
                begin_ns: begun.begin_ns,
                established_ns: None,
                calls: Vec::new(),
                close_begin_ns,
                close_end_ns: monotonic_ns(),
                error: Some(script::name(&error)),
            };
            conn.append(truth)
        }
    }
}

fn connect(socket: &Socket, target: &SockAddr, how: Connect) -> io::Result<()> {
    let begin = |socket: &Socket| match socket.set_nonblocking(true).and_then(|()| socket.connect(target)) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(()),
        other => other,
    };
    match how {
        Connect::Blocking => socket.connect(target),
        Connect::Uring => Ring::new()?.connect(socket, target).map_err(io::Error::from),
        Connect::Nonblocking => {
            begin(socket)?;
            wait_for(socket.as_fd(), PollFlags::POLLOUT, PATIENCE)?;
            socket.take_error()?.map_or(Ok(()), Err)
        }
        Connect::CancelAfter(ms) => {
            begin(socket)?;
            match wait_for(socket.as_fd(), PollFlags::POLLOUT, Duration::from_millis(ms)) {
                Ok(()) => socket.take_error()?.map_or(Ok(()), Err),
                Err(_) => Err(io::Error::other("cancelled")),
            }
        }
    }
}
