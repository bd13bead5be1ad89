//! Runs a script on a connected socket and writes down what happened.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::Result;
use nix::errno::Errno;
use socket2::Socket;

use crate::{
    clock::{monotonic_ns, wall_ns},
    record::Role,
    traffic::{
        channel::Channel,
        control::Gate,
        spec::{End, Repeat, Script, Step},
        truth::{Conn, canonical, own_comm},
    },
};

/// What is known of a connection before its script begins.
pub struct Begun {
    /// Which end.
    pub role: Role,
    /// The process that accepted, if another one.
    pub acceptor_pid: Option<u32>,
    /// Before `connect`, or after `accept`: ns of CLOCK_MONOTONIC.
    pub begin_ns: u64,
    /// The same as time of day.
    pub wall_ns: u64,
    /// Connected or accepted.
    pub established_ns: Option<u64>,
}

impl Begun {
    /// An accepted connection, now.
    pub fn accepted(acceptor_pid: Option<u32>) -> Self {
        let now = monotonic_ns();
        Self { role: Role::Server, acceptor_pid, begin_ns: now, wall_ns: wall_ns(), established_ns: Some(now) }
    }
}

/// Does what `script` says, ends the connection and appends the truth to the file at `truth`.
pub fn run(socket: Socket, begun: Begun, script: &Script, gate: &Gate, truth: &Path) -> Result<()> {
    let local = address(socket.local_addr());
    let remote = address(socket.peer_addr());
    let mut channel = Channel::new(socket, script.io)?;
    let outcome = follow(&mut channel, script, gate);
    let mut conn = Conn {
        role: begun.role,
        pid: std::process::id(),
        comm: own_comm(),
        acceptor_pid: begun.acceptor_pid,
        local,
        remote,
        wall_ns: begun.wall_ns,
        begin_ns: begun.begin_ns,
        established_ns: begun.established_ns,
        calls: std::mem::take(&mut channel.calls),
        close_begin_ns: monotonic_ns(),
        close_end_ns: 0,
        error: outcome.err().map(|error| name(&error)),
    };
    match script.end {
        End::Close => {}
        End::Reset => {
            // Refused on a socket that the peer has reset already, where nothing is left to acknowledge.
            let _ = channel.socket().set_tcp_quickack(true);
            channel.socket().set_linger(Some(Duration::ZERO))?;
        }
        End::Exit => {
            conn.close_end_ns = monotonic_ns();
            conn.append(truth)?;
            std::process::exit(0);
        }
    }
    drop(channel);
    conn.close_end_ns = monotonic_ns();
    conn.append(truth)
}

/// The name of an error: `ECONNRESET`, or the text where there is no number.
pub fn name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => error.to_string(),
    }
}

/// The unspecified address where the kernel has none.
pub fn address(from: io::Result<socket2::SockAddr>) -> SocketAddr {
    let none = SocketAddr::from(([0, 0, 0, 0], 0));
    canonical(from.ok().and_then(|a| a.as_socket()).unwrap_or(none))
}

fn follow(channel: &mut Channel, script: &Script, gate: &Gate) -> io::Result<()> {
    let mut held = 0;
    let mut take = |channel: &mut Channel, step| take(channel, step, gate, &mut held);
    match (script.repeat, script.steps.as_slice()) {
        (Repeat::Times(n), steps) => {
            for _ in 0..n {
                steps.iter().try_for_each(|&step| take(channel, step))?;
            }
        }
        (Repeat::UntilReleased, steps) => {
            while !gate.is_open() {
                steps.iter().try_for_each(|&step| take(channel, step))?;
            }
        }
        (Repeat::UntilEof, [Step::Recv(first), rest @ ..]) => loop {
            match channel.recv(*first)? {
                0 => break,
                got if got < *first => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => rest.iter().try_for_each(|&step| take(channel, step))?,
            }
        },
        // Only a receive can find the end.
        (Repeat::UntilEof, _) => return Err(io::ErrorKind::InvalidInput.into()),
    }
    script.tail.iter().try_for_each(|&step| take(channel, step))
}

fn take(channel: &mut Channel, step: Step, gate: &Gate, held: &mut u32) -> io::Result<()> {
    match step {
        Step::Send(bytes) => channel.send(bytes),
        Step::Recv(bytes) => match channel.recv(bytes)? {
            got if got < bytes => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        },
        Step::Eof => match channel.recv(1)? {
            0 => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        },
        Step::Shutdown => channel.socket().shutdown(Shutdown::Write),
        Step::Sleep(ms) => {
            std::thread::sleep(Duration::from_millis(ms));
            Ok(())
        }
        Step::Hold => {
            *held += 1;
            gate.hold(*held - 1)
        }
    }
}
