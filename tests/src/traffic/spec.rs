//! What a traffic process shall do: handed over as JSON in its arguments.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// One step on a connection. Sizes are bytes, times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Send so much.
    Send(usize),
    /// Receive so much, in as many calls as it takes.
    Recv(usize),
    /// Receive until the peer's FIN.
    Eof,
    /// Send FIN and go on receiving.
    Shutdown,
    /// Do nothing for a while.
    Sleep(u64),
    /// Wait until the process is told to go on: a connection's first for the first time, its second for the second.
    Hold,
}

/// How a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// `close`.
    Close,
    /// `close` with SO_LINGER 0: RST. What was read is acknowledged before, so that the peer knows what got across.
    Reset,
    /// The process exits and leaves closing to the kernel.
    Exit,
}

/// By which calls data is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Io {
    /// `send` and `recv` that wait.
    Blocking,
    /// O_NONBLOCK with `poll` after EAGAIN.
    Nonblocking,
    /// `write` and `read`.
    ReadWrite,
    /// `sendfile` from a memory file; `recv`.
    Sendfile,
    /// `splice` from and to a pipe.
    Splice,
    /// `recv` with MSG_PEEK before each `recv`.
    Peek,
    /// io_uring SEND and RECV.
    Uring,
}

/// How often the steps are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repeat {
    /// So many times.
    Times(u32),
    /// Until the peer's FIN (or RST) comes where a round would begin.
    UntilEof,
    /// Until the process is released where a round would begin.
    UntilReleased,
}

/// What one end of a connection does from its beginning to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// Rounds.
    pub repeat: Repeat,
    /// The steps of a round.
    pub steps: Vec<Step>,
    /// Steps after the last round.
    pub tail: Vec<Step>,
    /// How the connection is left.
    pub end: End,
    /// The calls to use.
    pub io: Io,
}

impl Script {
    /// A client: `n` exchanges of 100 bytes for 200, then `close`.
    pub fn asks(n: u32) -> Self {
        Self::new(Repeat::Times(n), &[Step::Send(100), Step::Recv(200)])
    }

    /// A server for [`Script::asks`]: answers until the client closes, then closes too.
    pub fn answers() -> Self {
        Self::new(Repeat::UntilEof, &[Step::Recv(100), Step::Send(200)])
    }

    /// Rounds of `steps`, then `close`, with waiting calls.
    pub fn new(repeat: Repeat, steps: &[Step]) -> Self {
        Self { repeat, steps: steps.to_vec(), tail: Vec::new(), end: End::Close, io: Io::Blocking }
    }

    /// The same with steps after the last round.
    pub fn tail(mut self, tail: &[Step]) -> Self {
        self.tail = tail.to_vec();
        self
    }

    /// The same with another end.
    pub fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// The same with other calls.
    pub fn io(mut self, io: Io) -> Self {
        self.io = io;
        self
    }
}

/// How a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connect {
    /// `connect` that waits.
    Blocking,
    /// O_NONBLOCK and `poll`.
    Nonblocking,
    /// O_NONBLOCK, and `close` after so many milliseconds, connected or not.
    CancelAfter(u64),
    /// io_uring CONNECT.
    Uring,
}

/// A client process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    /// Where to connect, one after the other. A v4-mapped address makes an AF_INET6 socket.
    pub targets: Vec<SocketAddr>,
    /// Where from, one after the other; the kernel's choice when there is none.
    pub sources: Vec<IpAddr>,
    /// How many connections in all.
    pub connections: u32,
    /// Begin no more connections once released.
    pub until_released: bool,
    /// Stay when all is done, until the end of stdin: others can still look who it was.
    pub linger: bool,
    /// Threads that share them.
    pub threads: u32,
    /// How to connect.
    pub connect: Connect,
    /// TCP_USER_TIMEOUT, ms.
    pub user_timeout_ms: Option<u32>,
    /// SO_KEEPALIVE with TCP_KEEPIDLE, s.
    pub keepalive_s: Option<u32>,
    /// What to do once connected.
    pub script: Script,
}

impl Client {
    /// `connections` to `targets` from one thread.
    pub fn new(targets: &[SocketAddr], connections: u32, script: Script) -> Self {
        Self {
            targets: targets.to_vec(),
            sources: Vec::new(),
            connections,
            until_released: false,
            linger: false,
            threads: 1,
            connect: Connect::Blocking,
            user_timeout_ms: None,
            keepalive_s: None,
            script,
        }
    }

    /// The same from these addresses.
    pub fn from(mut self, sources: &[IpAddr]) -> Self {
        self.sources = sources.to_vec();
        self
    }

    /// The same, until it is released.
    pub fn until_released(mut self) -> Self {
        self.until_released = true;
        self.connections = u32::MAX;
        self
    }

    /// The same, staying when all is done.
    pub fn linger(mut self) -> Self {
        self.linger = true;
        self
    }

    /// The same with so many threads.
    pub fn threads(mut self, threads: u32) -> Self {
        self.threads = threads;
        self
    }

    /// The same with another way to connect.
    pub fn connect(mut self, connect: Connect) -> Self {
        self.connect = connect;
        self
    }

    /// The same with TCP_USER_TIMEOUT.
    pub fn user_timeout_ms(mut self, ms: u32) -> Self {
        self.user_timeout_ms = Some(ms);
        self
    }
}

/// Who serves what was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Serving {
    /// A thread per connection.
    Threads,
    /// The process forks after `accept`; the child serves.
    Fork,
    /// The process calls `execve` on itself after `accept` and serves one connection.
    Exec,
    /// So many processes, forked before, accept from one listener.
    Prefork(u32),
    /// One process accepts and hands the descriptor to another (SCM_RIGHTS).
    Pass,
    /// io_uring ACCEPT in one thread.
    Uring,
    /// Nobody accepts.
    Never,
}

/// A server process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// Where to listen; the port is chosen by the kernel.
    pub listen: Vec<IpAddr>,
    /// Who serves.
    pub serving: Serving,
    /// What is done on each connection.
    pub script: Script,
}

impl Server {
    /// A thread per connection on `listen`.
    pub fn new(listen: &[IpAddr], script: Script) -> Self {
        Self { listen: listen.to_vec(), serving: Serving::Threads, script }
    }

    /// The same, served otherwise.
    pub fn serving(mut self, serving: Serving) -> Self {
        self.serving = serving;
        self
    }
}
