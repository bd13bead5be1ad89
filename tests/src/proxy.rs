//! A proxy in this process: for [`Script::asks`] in front and [`Script::answers`] behind.
//!
//! [`Script::asks`]: crate::traffic::spec::Script::asks
//! [`Script::answers`]: crate::traffic::spec::Script::answers

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow};

use crate::{netns::Netns, traffic::channel::PATIENCE};

/// Bytes of a request and of an answer.
const BYTES: (usize, usize) = (100, 200);

/// How connections behind are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// A new one for each exchange.
    PerExchange,
    /// One for each connection in front.
    PerConnection,
}

/// A proxy for a number of connections.
pub struct Proxy {
    address: SocketAddr,
    threads: JoinHandle<Result<()>>,
}

impl Proxy {
    /// Listens in `netns` and passes what comes by `connections` connections on to `upstream`.
    pub fn start(netns: &Netns, upstream: SocketAddr, behind: Behind, connections: usize) -> Result<Self> {
        netns.run(|| {
            let listener = TcpListener::bind((upstream.ip(), 0)).context("listen as a proxy")?;
            let address = listener.local_addr()?;
            // Threads are where the one is that starts them.
            let threads = thread::spawn(move || accept(&listener, upstream, behind, connections));
            Ok(Self { address, threads })
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until all connections have ended.
    pub fn finish(self) -> Result<()> {
        self.threads.join().map_err(|_| anyhow!("a proxy panicked"))?
    }
}

fn accept(listener: &TcpListener, upstream: SocketAddr, behind: Behind, connections: usize) -> Result<()> {
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..connections {
            let (front, _) = listener.accept().context("accept as a proxy")?;
            workers.push(scope.spawn(move || pass(front, upstream, behind)));
        }
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a proxy panicked"))?)
    })
}

fn pass(mut front: TcpStream, upstream: SocketAddr, behind: Behind) -> Result<()> {
    let (mut request, mut answer) = ([0; BYTES.0], [0; BYTES.1]);
    front.set_read_timeout(Some(PATIENCE))?;
    let connect = || TcpStream::connect(upstream).context("connect as a proxy");
    let mut kept = None;
    loop {
        match front.read_exact(&mut request) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error).context("read as a proxy"),
        }
        let mut back = match kept.take() {
            Some(back) => back,
            None => connect()?,
        };
        back.set_read_timeout(Some(PATIENCE))?;
        back.write_all(&request).context("ask as a proxy")?;
        back.read_exact(&mut answer).context("be answered as a proxy")?;
        front.write_all(&answer).context("answer as a proxy")?;
        kept = (behind == Behind::PerConnection).then_some(back);
    }
}
