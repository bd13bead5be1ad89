//! What is asked of the kernel programs: filters that save work there, and the sizes of their maps.

use redial_common::tcp::role;

/// Which end of a connection to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Connections that this host's processes open.
    Client,
    /// Connections that this host's processes accept.
    Server,
}

impl Role {
    /// The wire's number for it.
    pub fn code(self) -> u8 {
        match self {
            Self::Client => role::CLIENT,
            Self::Server => role::SERVER,
        }
    }
}

/// Filters applied in the kernel, and sizes. `None` and an empty list mean "any", or the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only these processes.
    pub pids: Vec<u32>,
    /// Only processes of this name (at most 15 bytes).
    pub comm: Option<String>,
    /// Only this network namespace, by inode number.
    pub netns: Option<u32>,
    /// Only this role.
    pub role: Option<Role>,
    /// Only this port: a client's remote one, a server's local one.
    pub port: Option<u16>,
    /// Bytes of the ring, rounded up to a power of two of pages.
    pub ring_bytes: Option<u32>,
    /// Places in the map of live connections.
    pub max_connections: Option<u32>,
    /// Whether connections are also told when they open.
    pub opens: bool,
}
