//! A terminal of a given width that a program writes to.

use std::{
    fs::{File, OpenOptions},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    process::Stdio,
};

use anyhow::{Context, Result};
use nix::{errno::Errno, libc};

use crate::lines::Lines;

/// The end that the program does not see.
pub struct Terminal(File);

impl Terminal {
    /// A terminal of `columns`, and what a program takes as its stdout. Nobody inherits either end by chance.
    pub fn new(columns: u16) -> Result<(Self, Stdio)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        let ours = options.open("/dev/ptmx").context("make a terminal: open /dev/ptmx")?;
        let fd = ours.as_raw_fd();
        let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let unlocked: libc::c_int = 0;
        // SAFETY: the kernel reads a number that lives across the call.
        Errno::result(unsafe { libc::ioctl(fd, libc::TIOCSPTLCK, &raw const unlocked) })
            .context("unlock a terminal")?;
        // SAFETY: the kernel reads the size, which lives across the call.
        Errno::result(unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &raw const size) }).context("size a terminal")?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: the flags are a number, no memory is read or written.
        let theirs = Errno::result(unsafe { libc::ioctl(fd, libc::TIOCGPTPEER, flags) }).context("open a terminal")?;
        // SAFETY: the kernel has just made this descriptor for us.
        let theirs = unsafe { OwnedFd::from_raw_fd(theirs) };
        Ok((Self(ours), theirs.into()))
    }

    /// The lines that programs write to it, until the last of them ends.
    pub fn lines(self) -> Lines {
        Lines::collect(self.0)
    }
}
