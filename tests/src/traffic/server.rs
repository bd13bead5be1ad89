//! A server process: listens, tells where, and serves until its stdin ends.

use std::{
    net::SocketAddr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use crate::traffic::{
    control::{Gate, News, next_command, tell},
    script::{self, Begun},
    serving,
    spec::{Script, Server, Serving},
    uring::Ring,
};

/// Length of each listener's accept queue.
const BACKLOG: i32 = 1024;

/// Serves as `spec` says until stdin ends.
pub fn run(spec: &Server, truth: &Path) -> Result<()> {
    let listeners = spec.listen.iter().map(|&ip| listen(SocketAddr::new(ip, 0))).collect::<Result<Vec<_>>>()?;
    match spec.serving {
        Serving::Threads => with_threads(&listeners, &spec.script, truth),
        Serving::Never => {
            ready(&listeners);
            while next_command().is_some() {}
            Ok(())
        }
        Serving::Uring => with_uring(listeners, &spec.script, truth),
        Serving::Fork => serving::fork_after_accept(&listeners, &spec.script, truth),
        Serving::Exec => serving::exec_after_accept(&listeners, &spec.script, truth),
        Serving::Prefork(workers) => serving::prefork(&listeners, workers, &spec.script, truth),
        Serving::Pass => serving::pass(&listeners, &spec.script, truth),
    }
}

fn listen(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).context("make a listening socket")?;
    // `::` shall take v4-mapped connections too.
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    socket.listen(BACKLOG).context("listen")?;
    Ok(socket)
}

/// Tells where the server listens.
pub fn ready(listeners: &[Socket]) {
    let listening = listeners.iter().map(|l| script::address(l.local_addr())).collect();
    tell(&News::Ready { listening });
}

/// Accepts from whichever listener has a connection, until stdin ends. A command opens `gate`.
pub fn accept_loop(listeners: &[Socket], gate: &Gate, mut serve: impl FnMut(Socket) -> Result<()>) -> Result<()> {
    let stdin = std::io::stdin();
    loop {
        let mut fds = vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        fds.extend(listeners.iter().map(|l| PollFd::new(l.as_fd(), PollFlags::POLLIN)));
        poll(&mut fds, PollTimeout::NONE).context("wait for connections")?;
        let has = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        for (listener, _) in listeners.iter().zip(&fds[1..]).filter(|(_, fd)| has(fd)) {
            let (socket, _) = listener.accept().context("accept")?;
            serve(socket)?;
        }
        if has(&fds[0]) {
            match next_command() {
                Some(_) => gate.open(),
                None => return Ok(()),
            }
        }
    }
}

fn with_threads(listeners: &[Socket], script: &Script, truth: &Path) -> Result<()> {
    let gate = Gate::default();
    let script = Arc::new(script.clone());
    ready(listeners);
    accept_loop(listeners, &gate, |socket| {
        let begun = Begun::accepted(None);
        let (script, gate, truth) = (Arc::clone(&script), gate.clone(), PathBuf::from(truth));
        thread::spawn(move || complain(script::run(socket, begun, &script, &gate, &truth)));
        Ok(())
    })
}

fn with_uring(listeners: Vec<Socket>, script: &Script, truth: &Path) -> Result<()> {
    ready(&listeners);
    for listener in listeners {
        let (script, truth) = (script.clone(), PathBuf::from(truth));
        thread::spawn(move || {
            complain((|| {
                let mut ring = Ring::new().context("make an io_uring")?;
                loop {
                    let socket = ring.accept(&listener).context("accept by io_uring")?;
                    script::run(socket, Begun::accepted(None), &script, &Gate::default(), &truth)?;
                }
            })());
        });
    }
    while next_command().is_some() {}
    Ok(())
}

fn complain(result: Result<()>) {
    if let Err(error) = result {
        eprintln!("traffic server: {error:#}");
    }
}
