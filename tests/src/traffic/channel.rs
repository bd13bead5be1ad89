//! A connected socket that notes every call that moves data.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{SpliceFFlags, splice},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        sendfile::sendfile,
        socket::{MsgFlags, recv, send},
    },
    unistd::pipe,
};
use socket2::Socket;

use crate::{
    clock::monotonic_ns,
    traffic::{
        spec::Io,
        truth::{Call, Direction},
        uring::Ring,
    },
};

/// The most that one call moves.
const CHUNK: usize = 64 << 10;

/// No call waits longer than this for the peer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What an [`Io`] needs beside the socket.
enum Helper {
    None,
    File(File),
    Pipe { read: OwnedFd, write: File },
    Ring(Box<Ring>),
}

/// A socket, the way to use it, and the calls made so far.
pub struct Channel {
    socket: Socket,
    io: Io,
    helper: Helper,
    buffer: Vec<u8>,
    /// Calls that moved data, in order.
    pub calls: Vec<Call>,
}

impl Channel {
    /// Takes a connected socket over.
    pub fn new(socket: Socket, io: Io) -> io::Result<Self> {
        let helper = match io {
            Io::Blocking | Io::ReadWrite | Io::Peek | Io::Nonblocking => Helper::None,
            Io::Sendfile => {
                let file = File::from(memfd_create(c"payload", MFdFlags::MFD_CLOEXEC)?);
                file.write_all_at(&vec![0; CHUNK], 0)?;
                Helper::File(file)
            }
            Io::Splice => {
                let (read, write) = pipe()?;
                Helper::Pipe { read, write: write.into() }
            }
            Io::Uring => Helper::Ring(Box::new(Ring::new()?)),
        };
        if io == Io::Nonblocking {
            socket.set_nonblocking(true)?;
        } else {
            socket.set_nonblocking(false)?;
            // A lost peer shall not make a test hang. Ignored by io_uring, whose waits end with the process.
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
        }
        Ok(Self { socket, io, helper, buffer: vec![0; CHUNK], calls: Vec::new() })
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends `bytes` zeros.
    pub fn send(&mut self, bytes: usize) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let begin_ns = monotonic_ns();
            match self.send_some(left.min(CHUNK)) {
                Ok(sent) => {
                    left -= sent;
                    self.note(Direction::Out, begin_ns, sent);
                }
                Err(Errno::EAGAIN) if self.io == Io::Nonblocking => self.wait(PollFlags::POLLOUT)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives until `bytes` have come or the peer's FIN; says how many came.
    pub fn recv(&mut self, bytes: usize) -> io::Result<usize> {
        let mut got = 0;
        while got < bytes {
            let begin_ns = monotonic_ns();
            match self.recv_some((bytes - got).min(CHUNK)) {
                Ok(0) => break,
                Ok(n) => {
                    got += n;
                    self.note(Direction::In, begin_ns, n);
                }
                Err(Errno::EAGAIN) if self.io == Io::Nonblocking => self.wait(PollFlags::POLLIN)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(got)
    }

    fn note(&mut self, direction: Direction, begin_ns: u64, bytes: usize) {
        self.calls.push(Call { direction, begin_ns, end_ns: monotonic_ns(), bytes });
    }

    fn send_some(&mut self, bytes: usize) -> Result<usize, Errno> {
        let fd = self.socket.as_raw_fd();
        match (&mut self.helper, self.io) {
            (Helper::File(file), _) => {
                let mut offset = 0;
                sendfile(&self.socket, file, Some(&mut offset), bytes)
            }
            (Helper::Pipe { read, write }, _) => {
                write.write_all(&self.buffer[..bytes]).map_err(|_| Errno::EIO)?;
                let mut left = bytes;
                while left > 0 {
                    left -= splice(read.as_fd(), None, &self.socket, None, left, SpliceFFlags::empty())?;
                }
                Ok(bytes)
            }
            (Helper::Ring(ring), _) => ring.send(&self.socket, &self.buffer[..bytes]),
            (Helper::None, Io::ReadWrite) => nix::unistd::write(&self.socket, &self.buffer[..bytes]),
            (Helper::None, _) => send(fd, &self.buffer[..bytes], MsgFlags::MSG_NOSIGNAL),
        }
    }

    fn recv_some(&mut self, bytes: usize) -> Result<usize, Errno> {
        let fd = self.socket.as_raw_fd();
        match (&mut self.helper, self.io) {
            (Helper::Pipe { read, write }, _) => {
                let got = splice(&self.socket, None, write.as_fd(), None, bytes, SpliceFFlags::empty())?;
                let mut left = got;
                while left > 0 {
                    left -= nix::unistd::read(read.as_fd(), &mut self.buffer[..left])?;
                }
                Ok(got)
            }
            (Helper::Ring(ring), _) => ring.recv(&self.socket, &mut self.buffer[..bytes]),
            (Helper::None, Io::Peek) => {
                recv(fd, &mut self.buffer[..bytes], MsgFlags::MSG_PEEK)?;
                recv(fd, &mut self.buffer[..bytes], MsgFlags::empty())
            }
            (Helper::None, Io::ReadWrite) => nix::unistd::read(&self.socket, &mut self.buffer[..bytes]),
            (Helper::None | Helper::File(_), _) => recv(fd, &mut self.buffer[..bytes], MsgFlags::empty()),
        }
    }

    fn wait(&self, events: PollFlags) -> io::Result<()> {
        wait_for(self.socket.as_fd(), events, PATIENCE)
    }
}

/// Waits until `fd` is ready.
pub fn wait_for(fd: BorrowedFd<'_>, events: PollFlags, limit: Duration) -> io::Result<()> {
    let timeout = PollTimeout::try_from(limit).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut [PollFd::new(fd, events)], timeout)? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}
