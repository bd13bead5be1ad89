//! An agent that observes edges, and what it says of them when it is told to end.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::{
    agent::{Agent, command},
    netns::Netns,
    snapshot::Snapshot,
};

/// The subcommand that prints one object when the observation ends.
const OBSERVE: &[&str] = &["audit"];

/// It is told to end long before.
const LIMIT: &str = "10m";

/// A running agent. Killed when dropped.
pub struct Observer(Agent);

impl Observer {
    /// Starts to observe the whole machine, or what more arguments leave of it.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_as("json", arguments)
    }

    /// The same in another format, for [`Observer::lines`].
    pub fn start_as(format: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = command()?;
        command.args(OBSERVE).args(["--format", format, "--for", LIMIT]).args(arguments);
        Agent::from_command(command).map(Self)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Starts to observe one namespace.
    pub fn in_netns(netns: &Netns, arguments: &[&str]) -> Result<Self> {
        let path = netns.path();
        let mut all = vec!["--netns", path.to_str().context("a path in /proc is text")?];
        all.extend(arguments);
        Self::start(&all)
    }

    /// Interrupts it and reads what it has seen. Fails where that contradicts itself.
    pub fn stop(self) -> Result<Snapshot> {
        let lines = self.lines()?;
        ensure!(lines.len() == 1, "one object, not {} lines", lines.len());
        let snapshot: Snapshot = serde_json::from_str(&lines[0]).with_context(|| lines[0].clone())?;
        snapshot.balance()?;
        Ok(snapshot)
    }

    /// Interrupts it and reads what it prints.
    pub fn lines(mut self) -> Result<Vec<String>> {
        self.0.signal(Signal::SIGINT)?;
        self.0.finish_lines()
    }
}
