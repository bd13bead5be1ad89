//! Connections of the test itself in a namespace: opened until ports run out, and closed so that the client is left in
//! TIME_WAIT.

use std::{
    io::{ErrorKind, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use crate::netns::Netns;

/// A listener in `netns` with this backlog.
pub fn listen(netns: &Netns, address: SocketAddr, backlog: i32) -> Result<TcpListener> {
    netns.run(|| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).context("make a socket")?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
        socket.listen(backlog).with_context(|| format!("listen on {address}"))?;
        Ok(socket.into())
    })
}

/// A client of `to` from `netns`.
pub fn connect(netns: &Netns, to: SocketAddr) -> Result<TcpStream> {
    netns.run(|| TcpStream::connect(to).with_context(|| format!("connect to {to}")))
}

/// Opens `n` connections: both ends of each.
pub fn open(netns: &Netns, listener: &TcpListener, to: SocketAddr, n: usize) -> Result<Vec<(TcpStream, TcpStream)>> {
    let one = |_| Ok((connect(netns, to)?, listener.accept().context("accept")?.0));
    (0..n).map(one).collect()
}

/// Closes connections, client first, which leaves the clients in TIME_WAIT.
pub fn close(connections: Vec<(TcpStream, TcpStream)>) -> Result<()> {
    for (client, mut server) in connections {
        drop(client);
        server.set_read_timeout(Some(Duration::from_secs(5)))?;
        ensure!(server.read(&mut [0]).context("read the client's FIN")? == 0, "the client sent nothing");
    }
    Ok(())
}

/// Connects from `netns` until the kernel finds no port; the connections. Fails where that takes more than `most`.
pub fn exhaust(netns: &Netns, to: SocketAddr, most: usize) -> Result<Vec<TcpStream>> {
    netns.run(|| {
        let mut streams = Vec::new();
        loop {
            match TcpStream::connect(to) {
                Ok(stream) => streams.push(stream),
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return Ok(streams),
                Err(error) => return Err(error).context("connect"),
            }
            if streams.len() > most {
                bail!("{to}: more than {most} connections found a port");
            }
        }
    })
}
