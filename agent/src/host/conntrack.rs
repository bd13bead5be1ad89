//! How full the connection tracking table is.

use super::sysctl;

/// Connection tracking of the calling thread's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections that are tracked now.
    pub count: u64,
    /// How many may be. The kernel has one limit for all namespaces, each of which is counted by itself.
    pub max: u64,
}

impl Conntrack {
    /// Reads it now; `None` where nothing tracks connections, or this may not be read.
    pub fn read() -> Option<Self> {
        let [count, max] = ["count", "max"].map(|what| sysctl::number(&format!("netfilter/nf_conntrack_{what}")));
        Some(Self { count: count?, max: max? })
    }
}
