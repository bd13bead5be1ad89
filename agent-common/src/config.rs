//! What user space sets before a program is loaded: filters, and what to leave out.

/// Filters and settings, constant while the programs run. 0 means "any" unless said otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The agent's own process, left out.
    pub own_tgid: u32,
    /// Only this network namespace (inode number).
    pub netns: u32,
    /// Only processes in the map of pids, if not 0.
    pub by_pid: u32,
    /// Only this role, one of [`crate::tcp::role`].
    pub role: u32,
    /// Only this port: a client's remote one, a server's local one.
    pub port: u32,
    /// Only processes of this name, if its first byte is not 0.
    pub comm: [u8; 16],
    /// Whether a record is sent when a connection is established, too.
    pub opens: u32,
    /// Whether the live map's places are made beforehand.
    pub preallocated: u32,
    /// Whether the field offsets are known.
    pub offsets_known: u32,
}

const _: () = assert!(size_of::<Config>() == 48);
