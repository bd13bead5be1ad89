//! One io_uring per connection or listener: an operation at a time, submitted and waited for.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use io_uring::{IoUring, opcode, squeue::Entry, types::Fd};
use nix::errno::Errno;
use socket2::{SockAddr, Socket};

/// A ring with room for one operation.
pub struct Ring(IoUring);

impl Ring {
    /// Makes a ring; fails where io_uring is switched off (`kernel.io_uring_disabled`).
    pub fn new() -> io::Result<Self> {
        IoUring::new(2).map(Self)
    }

    /// Sends from `data`.
    pub fn send(&mut self, socket: &Socket, data: &[u8]) -> Result<usize, Errno> {
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), data.as_ptr(), data.len() as u32).build();
        // SAFETY: `data` outlives the operation: `run` returns when it is complete.
        unsafe { self.run(&entry) }.map(|n| n as usize)
    }

    /// Receives into `data`.
    pub fn recv(&mut self, socket: &Socket, data: &mut [u8]) -> Result<usize, Errno> {
        let entry = opcode::Recv::new(Fd(socket.as_raw_fd()), data.as_mut_ptr(), data.len() as u32).build();
        // SAFETY: `data` outlives the operation, as above, and nobody else uses it meanwhile.
        unsafe { self.run(&entry) }.map(|n| n as usize)
    }

    /// Connects.
    pub fn connect(&mut self, socket: &Socket, to: &SockAddr) -> Result<(), Errno> {
        let entry = opcode::Connect::new(Fd(socket.as_raw_fd()), to.as_ptr().cast(), to.len()).build();
        // SAFETY: `to` outlives the operation, as above.
        unsafe { self.run(&entry) }.map(drop)
    }

    /// Accepts.
    pub fn accept(&mut self, listener: &Socket) -> Result<Socket, Errno> {
        let entry = opcode::Accept::new(Fd(listener.as_raw_fd()), std::ptr::null_mut(), std::ptr::null_mut()).build();
        // SAFETY: the operation uses no memory of ours.
        let fd = unsafe { self.run(&entry) }?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
    }

    /// # Safety
    ///
    /// Memory that `entry` names must live, and not be used otherwise, until this returns.
    unsafe fn run(&mut self, entry: &Entry) -> Result<i32, Errno> {
        // SAFETY: the caller's promise. The queue is empty, so there is room.
        unsafe { self.0.submission().push(entry) }.map_err(|_| Errno::EBUSY)?;
        loop {
            match self.0.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => continue,
                Err(error) => return Err(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
            }
            if let Some(done) = self.0.completion().next() {
                let result = done.result();
                return if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(result) };
            }
        }
    }
}
