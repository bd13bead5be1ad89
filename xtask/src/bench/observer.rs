//! Who watches while a load runs: redial, or a tool that it is compared with.

use std::{process::Command, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Setup, bpf,
    proc::{self, Cpu},
    process::{Ended, Process},
};
use crate::{packages::Package, run};

/// The tool that redial is compared with.
pub const TCPLIFE: Package =
    Package { name: "libbpf-tools", proof: "tcplife", reason: "bcc's tcplife, which redial is compared with" };

/// No observer may take longer than this to begin or to end.
const LIMIT: Duration = Duration::from_secs(30);

/// Between the beginning and the load: what an observer does at its start is no part of what the load costs.
const SETTLE: Duration = Duration::from_millis(300);

/// An observer ends of itself after this long, should nothing end it before.
const LONGEST: &str = "30m";

/// A tool that watches TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observer {
    /// `redial top --once`: follows every connection and prints one summary at the end.
    Redial,
    /// bcc's `tcplife`: prints a line per connection, here to /dev/null.
    Tcplife,
}

/// A watching observer.
pub struct Watching {
    process: Process,
    since: Cpu,
}

/// What an observer used and saw.
pub struct Watched {
    /// CPU time from the beginning of the watch to the end of the process. The beginning is known to 10 ms only, always
    /// to its disadvantage.
    pub cpu: Cpu,
    /// The largest resident size of its life, bytes.
    pub peak_resident: u64,
    /// Standard output.
    stdout: Vec<u8>,
}

/// What redial counted in all.
#[derive(Debug, Deserialize)]
pub struct Totals {
    /// Attempts, those that failed included, both ends of one counted.
    pub attempts: u64,
    /// Connections that opened, both ends of one counted.
    pub opened: u64,
    /// Connections that were open at the end.
    pub open: u64,
}

impl Observer {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redial => "redial",
            Self::Tcplife => "tcplife",
        }
    }

    /// Starts it and waits until it watches. `options` are added to its command line.
    pub fn start(self, setup: &Setup, options: &[&str]) -> Result<Watching> {
        self.start_quietly(setup, options).with_context(|| format!("{} does not watch", self.name()))
    }

    fn start_quietly(self, setup: &Setup, options: &[&str]) -> Result<Watching> {
        let mut command = self.command(setup)?;
        let mut process = Process::start(command.args(options), self == Self::Redial)?;
        match self {
            Self::Redial => process.wait_line("redial: watching", LIMIT)?,
            // It says nothing before its first buffer of lines is full.
            Self::Tcplife => process.wait_until("attached a program", LIMIT, bpf::is_attached)?,
        }
        thread::sleep(SETTLE);
        let since = proc::cpu(process.id())?;
        Ok(Watching { process, since })
    }

    fn command(self, setup: &Setup) -> Result<Command> {
        Ok(match self {
            Self::Redial => top(setup, LONGEST),
            Self::Tcplife => Command::new(run::which(TCPLIFE.proof).context("tcplife is not installed")?),
        })
    }
}

/// `redial top --once`, for so long.
pub fn top(setup: &Setup, duration: &str) -> Command {
    let mut command = Command::new(&setup.redial);
    command.args(["top", "--once", "--for", duration, "--format", "json"]);
    command
}

/// What redial counted in all, by the JSON that it printed.
pub fn totals(json: &[u8]) -> Result<Totals> {
    #[derive(Deserialize)]
    struct Snapshot {
        totals: Totals,
    }
    let snapshot: Snapshot = serde_json::from_slice(json).context("cannot read redial's JSON")?;
    Ok(snapshot.totals)
}

impl Watching {
    /// The observer's process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it.
    pub fn end(self) -> Result<Watched> {
        let Ended { cpu, peak_resident, stdout } =
            self.process.interrupt(LIMIT).context("the observer did not end as it should")?;
        Ok(Watched { cpu: cpu - self.since, peak_resident, stdout })
    }
}

impl Watched {
    /// What redial says it saw.
    pub fn totals(&self) -> Result<Totals> {
        totals(&self.stdout)
    }

    /// How many edges redial told apart; an error if it had no room for some.
    pub fn edges(&self) -> Result<usize> {
        #[derive(Deserialize)]
        struct Snapshot {
            edges: Vec<IgnoredAny>,
            edges_folded: u64,
        }
        let snapshot: Snapshot = serde_json::from_slice(&self.stdout).context("cannot read redial's JSON")?;
        ensure!(snapshot.edges_folded == 0, "{} edges found no room", snapshot.edges_folded);
        Ok(snapshot.edges.len())
    }

    /// Fails unless redial counted both ends of `connections`, up to one in a thousand: what it costs to overlook them
    /// is no figure.
    pub fn saw(&self, connections: u64) -> Result<()> {
        let (opened, there) = (self.totals()?.opened, 2 * connections);
        ensure!(
            opened * 1000 >= there * 999,
            "redial saw {opened} ends of connections open, of the {there} there were"
        );
        Ok(())
    }
}
