//! The life of a process: its fork, its exec and its exit.

use super::conn::COMM_LEN;

/// What happened to the process.
pub mod event {
    /// It was forked from `parent`.
    pub const FORK: u32 = 1;
    /// It runs another program now.
    pub const EXEC: u32 = 2;
    /// Its first thread ended; others may live on.
    pub const EXIT: u32 = 3;
}

/// Longest path of an executable that a record carries, with its final zero.
pub const PATH_LEN: usize = 128;

/// One event in a process's life.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// [`super::Kind::Process`].
    pub kind: u32,
    /// One of [`event`].
    pub event: u32,
    /// When, ns of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The process.
    pub tgid: u32,
    /// FORK: the process it came from; else 0.
    pub parent: u32,
    /// Its control group in the unified hierarchy (cgroup v2): the inode number of its directory; 0 when not known.
    pub cgroup_id: u64,
    /// Its name, ended by a zero.
    pub comm: [u8; COMM_LEN],
    /// EXEC: the path it was called by, ended by a zero, cut when longer; else empty.
    pub path: [u8; PATH_LEN],
}

/// Length of a [`Process`] without its path, as FORK and EXIT are sent.
pub const HEAD_LEN: usize = core::mem::offset_of!(Process, path);

const _: () = assert!(HEAD_LEN == 48);
const _: () = assert!(size_of::<Process>() == 176);
