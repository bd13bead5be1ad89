//! The agent under test: found or built, started, waited for, stopped by its pid.

use std::{
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    clock::poll_until,
    gate::slowdown,
    lines::Lines,
    netns::Netns,
    record::{Record, Trace},
};

/// How long the agent may take to load its programs.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to drain and end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Emulated processors are slower by more than that, but wait less than they work.
const MAX_STRETCH: u32 = 6;

fn limit(native: Duration) -> Duration {
    native * slowdown().min(MAX_STRETCH)
}

/// The line on stderr by which the agent says that it watches.
const READY: &str = "redial: watching";

/// A program of this workspace: named by the environment variable `variable`, else built by cargo beside this test.
pub fn program(variable: &str, package: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("find this test's own file")?;
    let profile = own
        .ancestors()
        .find(|dir| dir.file_name().is_some_and(|n| n != "deps") && dir.is_dir())
        .context("find cargo's target folder")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", package, "--bin", name]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().with_context(|| format!("run cargo to build {name}; or set {variable} to its path"))?;
    ensure!(status.success(), "cargo could not build {name}: mend it, or set {variable} to the path of a built one");
    Ok(profile.join(name))
}

fn redial() -> Result<&'static PathBuf> {
    static PATH: OnceLock<Result<PathBuf>> = OnceLock::new();
    PATH.get_or_init(|| program("REDIAL_BIN", "redial", "redial")).as_ref().map_err(|e| anyhow!("{e:#}"))
}

/// A command that runs the agent's binary.
pub fn command() -> Result<Command> {
    Ok(Command::new(redial()?))
}

/// A running agent, mostly `redial trace --format jsonl`. Killed when dropped.
pub struct Agent {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Agent {
    /// Starts the agent with more arguments and waits until it watches.
    pub fn start<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut command = command()?;
        command.args(["trace", "--format", "jsonl"]).args(arguments);
        Self::from_command(command)
    }

    /// Starts the agent by a command that was prepared, and waits until it watches.
    pub fn from_command(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start the agent")?;
        let stdout = Lines::collect(child.stdout.take().context("the agent has no stdout")?);
        let stderr = Lines::collect(child.stderr.take().context("the agent has no stderr")?);
        let agent = Self { child, stdout, stderr };
        let ready = |lines: &[String]| lines.iter().any(|l| l.starts_with(READY)).then_some(());
        let limit = limit(START_LIMIT);
        if agent.stderr.wait(limit, ready).is_none() {
            bail!("the agent did not say `{READY}` within {limit:?}; it said:\n{}", agent.stderr.text());
        }
        Ok(agent)
    }

    /// Starts an agent that watches one namespace.
    pub fn in_netns(netns: &Netns) -> Result<Self> {
        Self::in_netns_with(netns, &[])
    }

    /// The same with more arguments.
    pub fn in_netns_with(netns: &Netns, more: &[&str]) -> Result<Self> {
        let path = netns.path();
        let path = path.to_str().context("a path in /proc is text")?;
        Self::start(["--netns", path].iter().chain(more))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says a line with `part` on stderr, `times` times in all.
    pub fn wait_said(&self, part: &str, times: usize, within: Duration) -> Result<()> {
        let said = |lines: &[String]| (lines.iter().filter(|l| l.contains(part)).count() >= times).then_some(());
        let said = self.stderr.wait(limit(within), said);
        said.with_context(|| format!("no `{part}` within {within:?}; it said:\n{}", self.stderr.text()))
    }

    /// What it has said on stderr.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// Waits for a line about a connection of which `wanted` is true.
    pub fn wait_for(&self, limit: Duration, wanted: impl Fn(&Record) -> bool) -> Result<Record> {
        let parse = |line: &String| serde_json::from_str::<Record>(line).ok();
        self.stdout
            .wait(limit, |lines| lines.iter().filter_map(parse).find(&wanted))
            .with_context(|| format!("no such record within {limit:?}; stderr:\n{}", self.stderr.text()))
    }

    /// Interrupts it (SIGINT), expects a clean end and reads everything that it printed.
    pub fn stop(mut self) -> Result<Trace> {
        self.signal(Signal::SIGINT)?;
        self.finish()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("signal the agent")
    }

    /// Waits for a clean end and reads everything that it printed.
    pub fn finish(&mut self) -> Result<Trace> {
        let lines = self.finish_lines()?;
        Trace::parse(&lines).with_context(|| format!("stderr:\n{}", self.stderr.text()))
    }

    /// The same without understanding it.
    pub(crate) fn finish_lines(&mut self) -> Result<Vec<String>> {
        let status = wait(&mut self.child, limit(STOP_LIMIT))?;
        ensure!(self.stdout.wait_end(limit(STOP_LIMIT)), "the agent ended and left its stdout open");
        ensure!(status.success(), "the agent ended with {status}; it said:\n{}", self.stderr.text());
        Ok(self.stdout.all())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a child for at most `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let mut status = Ok(None);
    poll_until(limit, || {
        status = child.try_wait();
        !matches!(status, Ok(None))
    });
    status.context("wait for a process")?.with_context(|| format!("the process did not end within {limit:?}"))
}
