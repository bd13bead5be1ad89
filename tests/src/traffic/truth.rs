//! What a traffic process did on one connection, by its own clock.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    net::SocketAddr,
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::record::Role;

/// Which way data went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Sent.
    Out,
    /// Received.
    In,
}

/// A call that moved data. Times are ns of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Which way.
    pub direction: Direction,
    /// Before the call.
    pub begin_ns: u64,
    /// After it.
    pub end_ns: u64,
    /// Bytes moved.
    pub bytes: usize,
}

/// One end of one connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conn {
    /// Which end.
    pub role: Role,
    /// The process that made or served it.
    pub pid: u32,
    /// The name of that process.
    pub comm: String,
    /// The process that accepted it, if another one.
    pub acceptor_pid: Option<u32>,
    /// Own address; v4-mapped as IPv4. The port is 0 where connecting failed.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Time of day when connecting began (client) or accepting ended (server), ns since 1970.
    pub wall_ns: u64,
    /// Before `connect`, or after `accept`: ns of CLOCK_MONOTONIC.
    pub begin_ns: u64,
    /// Connected, or accepted.
    pub established_ns: Option<u64>,
    /// Every call that moved data.
    pub calls: Vec<Call>,
    /// Before `close`.
    pub close_begin_ns: u64,
    /// After it.
    pub close_end_ns: u64,
    /// The error that ended it, by its name (`ECONNREFUSED`).
    pub error: Option<String>,
}

impl Conn {
    /// The client's address and the server's.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        match self.role {
            Role::Client => (self.local, self.remote),
            Role::Server => (self.remote, self.local),
        }
    }

    /// Payload sent.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes(Direction::Out)
    }

    /// Payload received.
    pub fn bytes_received(&self) -> u64 {
        self.bytes(Direction::In)
    }

    fn bytes(&self, direction: Direction) -> u64 {
        self.calls.iter().filter(|c| c.direction == direction).map(|c| c.bytes as u64).sum()
    }

    /// Each turn: the calls of the asking side and those that answered. A turn without an answer is left out.
    pub fn turns(&self) -> Vec<Turn> {
        let asks = match self.role {
            Role::Client => Direction::Out,
            Role::Server => Direction::In,
        };
        let mut turns: Vec<Turn> = Vec::new();
        let mut asked: Option<Call> = None;
        let mut answering = false;
        for &call in &self.calls {
            if call.direction == asks {
                if answering || asked.is_none() {
                    asked = Some(call);
                    answering = false;
                }
            } else if let Some(first) = asked {
                if answering {
                    if let Some(turn) = turns.last_mut() {
                        turn.last = call;
                    }
                } else {
                    turns.push(Turn { asked: first, answered: call, last: call });
                    answering = true;
                }
            }
        }
        turns
    }

    /// Exchanges as redial defines them: runs of asking that were answered.
    pub fn exchanges(&self) -> u64 {
        self.turns().len() as u64
    }

    /// Appends this to the file at `path` in one write, so that several processes may share the file.
    pub fn append(&self, path: &Path) -> Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        let mut file: File = OpenOptions::new().append(true).open(path).context("open the file for the truth")?;
        file.write_all(&line).context("write the truth")
    }
}

/// The name of this process, as the kernel has it.
pub fn own_comm() -> String {
    std::fs::read_to_string("/proc/self/comm").unwrap_or_default().trim_end().to_owned()
}

/// One exchange.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The first call of the asking side.
    pub asked: Call,
    /// The first call of the answering side.
    pub answered: Call,
    /// The last call of the answering side.
    pub last: Call,
}

impl Turn {
    /// From the end of the first asking call to the end of the first answering call, ns.
    pub fn response_ns(&self) -> u64 {
        self.answered.end_ns - self.asked.end_ns
    }
}

/// A v4-mapped IPv6 address as the IPv4 address that it is.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(role: Role, directions: &[Direction]) -> Conn {
        let calls = directions.iter().zip(0..).map(|(&direction, i)| Call {
            direction,
            begin_ns: 10 * i,
            end_ns: 10 * i + 1,
            bytes: 7,
        });
        Conn {
            role,
            pid: 1,
            comm: own_comm(),
            acceptor_pid: None,
            local: ([127, 0, 0, 1], 1).into(),
            remote: ([127, 0, 0, 1], 2).into(),
            wall_ns: 0,
            begin_ns: 0,
            established_ns: Some(0),
            calls: calls.collect(),
            close_begin_ns: 0,
            close_end_ns: 0,
            error: None,
        }
    }

    #[test]
    fn runs_of_asking_that_were_answered_are_exchanges() {
        use Direction::{In, Out};
        let pipelined = conn(Role::Client, &[Out, Out, Out, In, In, Out, In, Out]);
        assert_eq!(pipelined.exchanges(), 2);
        assert_eq!(pipelined.turns()[0].response_ns(), 30);
        assert_eq!(pipelined.bytes_sent(), 35);
        let greeted = conn(Role::Client, &[In, Out, In]);
        assert_eq!(greeted.exchanges(), 1);
        let greeting = conn(Role::Server, &[Out, In, Out]);
        assert_eq!(greeting.exchanges(), 1);
    }
}
