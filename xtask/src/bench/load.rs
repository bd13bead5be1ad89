//! The loads that figures are taken under, made by the tests' `traffic` program. All of it stays on loopback.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use super::Setup;
use crate::run;

/// Exchanges on a connection of the load that reuses them.
pub const EXCHANGES: u32 = 100;

/// Connections to many addresses may take so long, s.
const SPREAD_LIMIT: u32 = 60;

/// Short connections, as many as the machine gives.
#[derive(Clone, Copy, Debug)]
pub struct Churn {
    /// Exchanges on each connection.
    pub exchanges: u32,
}

/// What the churning processes did.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Churned {
    /// Connections made and closed.
    pub connections: u64,
    /// Connections that failed.
    pub failed: u64,
    /// Exchanges completed.
    pub exchanges: u64,
    /// How long it took, s.
    pub seconds: f64,
}

impl Churned {
    /// Exchanges per second.
    pub fn exchange_rate(&self) -> f64 {
        self.exchanges as f64 / self.seconds
    }
}

impl Churn {
    /// Runs for `setup.seconds`: 16 clients, 2 servers, 64 bytes each way, RST close.
    pub fn run(self, setup: &Setup) -> Result<Churned> {
        let spec = json!({
            "clients": 16, "servers": 2, "request": 64, "answer": 64, "close": "rst",
            "seconds": setup.seconds, "exchanges": self.exchanges,
        });
        let out = run::output(Command::new(&setup.traffic).args(["churn", &spec.to_string()]))?;
        let done: Churned = serde_json::from_str(&out).with_context(|| format!("cannot read {out:?}"))?;
        ensure!(
            done.connections > 0 && done.failed * 1000 <= done.connections,
            "{} of the load's connections failed, {} did not: that is no load to measure under",
            done.failed,
            done.connections
        );
        Ok(done)
    }
}

/// Connections to many addresses, each of which makes an edge of its own.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Addresses, all of them connected to equally often.
    pub addresses: u32,
    /// Whether the connections are refused, which is the cheapest there is; else each has an exchange.
    pub refused: bool,
    /// The port, the same in all loads: another one would make other edges.
    pub port: u16,
}

/// How often clients connected.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Attempts {
    /// Connections made and closed.
    pub connections: u64,
    /// Attempts refused, as they should be.
    pub refused: u64,
    /// Attempts that failed otherwise.
    failed: u64,
}

/// A port that is free now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr().context("cannot find a free port")?.port())
}

impl Spread {
    /// Has one client connect `attempts` times, going round the addresses.
    pub fn run(self, setup: &Setup, attempts: u64) -> Result<Attempts> {
        let spec = json!({
            "clients": 1, "servers": if self.refused { 0 } else { 1 }, "close": "rst", "seconds": SPREAD_LIMIT,
            "addresses": self.addresses, "connections": attempts, "refused_every": self.refused.then_some(1),
            "refuse_at": self.refused.then_some(self.port), "listen_at": (!self.refused).then_some(self.port),
        });
        let out = run::output(Command::new(&setup.traffic).args(["churn", &spec.to_string()]))?;
        let done: Attempts = serde_json::from_str(&out).with_context(|| format!("cannot read {out:?}"))?;
        let made = if self.refused { done.refused } else { done.connections };
        ensure!(
            made == attempts && done.failed == 0,
            "of {attempts} attempts {made} went as they should, and {} failed",
            done.failed
        );
        Ok(done)
    }
}

/// Sockets that stay open until this is dropped.
pub struct Held {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Held {
    /// Opens `sockets`, both ends of each connection counted.
    pub fn open(setup: &Setup, sockets: u64) -> Result<Self> {
        let mut command = Command::new(&setup.traffic);
        command.args(["hold", &json!({ "sockets": sockets }).to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start traffic")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let held = Self { child, stdin };
        let mut line = String::new();
        BufReader::new(stdout.context("no stdout")?).read_line(&mut line).context("cannot read from traffic")?;
        let open: Open =
            serde_json::from_str(&line).with_context(|| format!("{sockets} sockets could not be opened"))?;
        ensure!(open.sockets >= sockets, "only {} of {sockets} sockets could be opened", open.sockets);
        Ok(held)
    }
}

#[derive(Deserialize)]
struct Open {
    sockets: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its input tells it to end.
        drop(self.stdin.take());
        // Nothing is left to be done about a failure here.
        let _ = self.child.wait();
    }
}
