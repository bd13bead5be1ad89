//! A running traffic process, its commands and its truth.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    net::SocketAddr,
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        memfd::{MFdFlags, memfd_create},
        prctl::set_pdeathsig,
        signal::Signal,
    },
};
use serde::Serialize;

use crate::{
    agent::{program, wait},
    clock::poll_until,
    lines::Lines,
    netns::Netns,
    traffic::{
        churn::{Churn, Churned},
        control::News,
        spec::{Client, Server},
        truth::Conn,
    },
};

/// No process of these tests may take longer than this for what it is asked.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Where a process runs, and as which program.
#[derive(Clone, Copy, Default)]
pub struct Place<'a> {
    /// The namespace; the test's own when there is none.
    pub netns: Option<&'a Netns>,
    /// A copy of the generator ([`crate::programs`]); the generator itself when there is none.
    pub program: Option<&'a Path>,
}

impl<'a> Place<'a> {
    /// In `netns`, as `program`.
    pub fn new(netns: &'a Netns, program: &'a Path) -> Self {
        Self { netns: Some(netns), program: Some(program) }
    }
}

/// A client or server process. Killed when dropped.
pub struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
    truth: File,
    listening: Vec<SocketAddr>,
}

impl Peer {
    /// Starts a server and waits until it listens.
    pub fn server(netns: Option<&Netns>, spec: &Server) -> Result<Self> {
        Self::server_at(Place { netns, program: None }, spec)
    }

    /// The same in a place.
    pub fn server_at(place: Place<'_>, spec: &Server) -> Result<Self> {
        Self::start(place, "server", spec)
    }

    /// Starts a client, which waits for [`Peer::go`].
    pub fn client(netns: Option<&Netns>, spec: &Client) -> Result<Self> {
        Self::client_at(Place { netns, program: None }, spec)
    }

    /// The same in a place.
    pub fn client_at(place: Place<'_>, spec: &Client) -> Result<Self> {
        Self::start(place, "client", spec)
    }

    fn start(place: Place<'_>, what: &str, spec: &impl Serialize) -> Result<Self> {
        // Memory needs no cleaning up, and stays readable when the process was killed.
        let truth = File::from(memfd_create(c"truth", MFdFlags::MFD_CLOEXEC).context("make a memory file")?);
        let path = format!("/proc/{}/fd/{}", std::process::id(), truth.as_raw_fd());
        let mut command = command(place)?;
        command.args([what, &serde_json::to_string(spec)?, &path]).stdin(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start a traffic {what}"))?;
        let stdout = Lines::collect(child.stdout.take().context("no stdout")?);
        let stderr = Lines::collect(child.stderr.take().context("no stderr")?);
        let stdin = child.stdin.take();
        let mut peer = Self { child, stdin, stdout, stderr, truth, listening: Vec::new() };
        let ready = peer.stdout.wait(LIMIT, |lines| lines.iter().find_map(|l| serde_json::from_str(l).ok()));
        match ready {
            Some(News::Ready { listening }) => {
                peer.listening = listening;
                Ok(peer)
            }
            _ => Err(anyhow!("a traffic {what} did not become ready:\n{}", peer.stderr.text())),
        }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where a server listens.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// The port of the first of these addresses.
    pub fn port(&self) -> u16 {
        self.listening.first().map_or(0, SocketAddr::port)
    }

    /// Lets a client begin.
    pub fn go(&mut self) -> Result<()> {
        self.command("go")
    }

    /// Lets steps that hold go on, each connection by one.
    pub fn release(&mut self) -> Result<()> {
        self.command("release")
    }

    fn command(&mut self, word: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the process's stdin is closed")?;
        writeln!(stdin, "{word}").with_context(|| format!("tell the process to {word}"))
    }

    /// Waits until `n` connections of the process hold.
    pub fn wait_held(&self, n: usize) -> Result<()> {
        let held = |l: &String| matches!(serde_json::from_str(l), Ok(News::Held));
        self.stdout
            .wait(LIMIT, |lines| (lines.iter().filter(|l| held(l)).count() >= n).then_some(()))
            .with_context(|| format!("{n} connections were not held within {LIMIT:?}:\n{}", self.stderr.text()))
    }

    /// Waits until a client that lingers has done all.
    pub fn wait_done(&self) -> Result<()> {
        let done = |l: &String| matches!(serde_json::from_str(l), Ok(News::Done));
        self.stdout
            .wait(LIMIT, |lines| lines.iter().any(done).then_some(()))
            .with_context(|| format!("a client was not done within {LIMIT:?}:\n{}", self.stderr.text()))
    }

    /// What the process has written down so far.
    pub fn truth(&mut self) -> Result<Vec<Conn>> {
        let mut text = String::new();
        self.truth.rewind()?;
        self.truth.read_to_string(&mut text)?;
        text.lines().map(|l| serde_json::from_str(l).context("read the truth")).collect()
    }

    /// Waits until `n` connections of the process are over and says what they did.
    pub fn wait_truth(&mut self, n: usize) -> Result<Vec<Conn>> {
        let mut truth = Ok(Vec::new());
        poll_until(LIMIT, || {
            truth = self.truth();
            !matches!(&truth, Ok(t) if t.len() < n)
        });
        let truth = truth?;
        let got = truth.len();
        ensure!(got >= n, "{got} of {n} connections ended within {LIMIT:?}:\n{}", self.stderr.text());
        Ok(truth)
    }

    /// Lets a client run to its end: the truth of all its connections.
    pub fn finish(&mut self) -> Result<Vec<Conn>> {
        let status = wait(&mut self.child, LIMIT).with_context(|| format!("a client:\n{}", self.stderr.text()))?;
        ensure!(status.success(), "a client ended with {status}:\n{}", self.stderr.text());
        self.truth()
    }

    /// `go` and [`Peer::finish`].
    pub fn run(&mut self) -> Result<Vec<Conn>> {
        self.go()?;
        self.finish()
    }

    /// Ends stdin, which ends a server: the truth of all connections that had ended.
    pub fn stop(&mut self) -> Result<Vec<Conn>> {
        self.stdin = None;
        self.finish()
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill a traffic process")?;
        self.child.wait().context("wait for a killed process")?;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the churn loop to its end.
pub fn churn(netns: Option<&Netns>, spec: &Churn) -> Result<Churned> {
    churn_at(Place { netns, program: None }, spec)
}

/// The same in a place.
pub fn churn_at(place: Place<'_>, spec: &Churn) -> Result<Churned> {
    let output = command(place)?.args(["churn", &serde_json::to_string(spec)?]).output().context("run the churn")?;
    ensure!(output.status.success(), "the churn failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("read what the churn did")
}

/// The generator's binary.
pub fn generator() -> Result<&'static Path> {
    static PATH: OnceLock<Result<PathBuf>> = OnceLock::new();
    let path = PATH.get_or_init(|| program("REDIAL_TRAFFIC_BIN", env!("CARGO_PKG_NAME"), "traffic"));
    path.as_deref().map_err(|e| anyhow!("{e:#}"))
}

/// The generator, to run in `place`; it dies with the thread that starts it.
pub(crate) fn command(place: Place<'_>) -> Result<Command> {
    let path = match place.program {
        Some(path) => path,
        None => generator()?,
    };
    let netns = place.netns.map(|n| n.file().try_clone()).transpose().context("hold the namespace")?;
    let mut command = Command::new(path);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    let enter = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        if let Some(netns) = &netns {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only two system calls are made, on a descriptor that the closure owns.
    unsafe { command.pre_exec(enter) };
    Ok(command)
}
