//! Servers whose connections change hands: fork, exec, prefork, a descriptor passed on.
//!
//! These processes have one thread while they fork, so that the child may do anything.

use std::{
    ffi::CString,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
};

use anyhow::{Context, Result};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{
        prctl::set_pdeathsig,
        signal::{SigHandler, Signal, kill, signal},
        socket::{AddressFamily, SockFlag, SockType, socketpair},
    },
    unistd::{ForkResult, Pid, execv, fork},
};
use socket2::Socket;

use crate::traffic::{
    control::Gate,
    fdpass,
    script::{self, Begun},
    server::{accept_loop, ready},
    spec::Script,
};

/// The parent accepts, a child serves and exits.
pub fn fork_after_accept(listeners: &[Socket], script: &Script, truth: &Path) -> Result<()> {
    // SAFETY: ignoring SIGCHLD installs no handler; the kernel reaps the children.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.context("ignore SIGCHLD")?;
    ready(listeners);
    let gate = Gate::default();
    let parent = std::process::id();
    accept_loop(listeners, &gate, |socket| {
        child(|| script::run(socket, Begun::accepted(Some(parent)), script, &Gate::default(), truth))?;
        Ok(())
    })
}

/// The process accepts one connection and becomes another program that serves it.
pub fn exec_after_accept(listeners: &[Socket], script: &Script, truth: &Path) -> Result<()> {
    ready(listeners);
    accept_loop(listeners, &Gate::default(), |socket| {
        fcntl(&socket, FcntlArg::F_SETFD(FdFlag::empty())).context("let the socket survive execve")?;
        let words = [
            "traffic".to_owned(),
            "serve-fd".to_owned(),
            socket.as_raw_fd().to_string(),
            serde_json::to_string(script)?,
            truth.to_string_lossy().into_owned(),
        ];
        let words = words.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let never = execv(c"/proc/self/exe", &words).context("execve the generator itself")?;
        match never {}
    })
}

/// What [`exec_after_accept`] becomes: serves the inherited descriptor.
pub fn serve_fd(fd: RawFd, script: &Script, truth: &Path) -> Result<()> {
    // SAFETY: the descriptor was inherited for this purpose and nobody else in this process knows it.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    script::run(socket, Begun::accepted(None), script, &Gate::default(), truth)
}

/// `workers` processes accept from the same listeners and serve.
pub fn prefork(listeners: &[Socket], workers: u32, script: &Script, truth: &Path) -> Result<()> {
    let mut children = Children::default();
    for _ in 0..workers {
        children.add(child(|| {
            accept_loop(listeners, &Gate::default(), |socket| {
                script::run(socket, Begun::accepted(None), script, &Gate::default(), truth)
            })
        })?);
    }
    ready(listeners);
    while crate::traffic::control::next_command().is_some() {}
    Ok(())
}

/// The parent accepts and passes descriptors to one child, which serves.
pub fn pass(listeners: &[Socket], script: &Script, truth: &Path) -> Result<()> {
    let parent = std::process::id();
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .context("make a unix socket pair")?;
    let mut children = Children::default();
    children.add(child(|| {
        while let Some(fd) = fdpass::take(&theirs).context("take a descriptor")? {
            script::run(fd.into(), Begun::accepted(Some(parent)), script, &Gate::default(), truth)?;
        }
        Ok(())
    })?);
    ready(listeners);
    accept_loop(listeners, &Gate::default(), |socket| fdpass::give(&ours, &socket).context("pass a descriptor"))
}

/// Forks; the child does `work` and exits. It dies with its parent.
fn child(work: impl FnOnce() -> Result<()>) -> Result<Pid> {
    // SAFETY: this process has a single thread, so the child may use everything.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let result = set_pdeathsig(Signal::SIGKILL).map_err(Into::into).and_then(|()| work());
            let code = match result {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("traffic server: {error:#}");
                    1
                }
            };
            std::process::exit(code)
        }
    }
}

/// Children that end with their parent's work.
#[derive(Default)]
struct Children(Vec<Pid>);

impl Children {
    fn add(&mut self, pid: Pid) {
        self.0.push(pid);
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for pid in &self.0 {
            // Only fails where the child has ended already, which is what is wanted.
            let _ = kill(*pid, Signal::SIGTERM);
        }
    }
}
