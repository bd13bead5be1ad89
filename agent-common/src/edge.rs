//! Totals per edge that the kernel keeps while the ring has no room: nothing is lost but the single lines.

use crate::{
    dist::Dist,
    record::conn::COMM_LEN,
    tcp::{closed_by, failed_by},
};

/// Places that each generation has in the totals of no edge: one for each of [`crate::tcp::role`]'s codes, 0 included.
pub const FOLD_OTHER_ROLES: u32 = 4;

/// What connections are folded by.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FoldKey {
    /// Client: the remote address; server: zero. IPv4 in the first four bytes.
    pub remote: [u8; 16],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The owner, 0 when not known.
    pub tgid: u32,
    /// Client: the remote port; server: the local port.
    pub port: u16,
    /// One of [`crate::tcp::family`].
    pub family: u8,
    /// One of [`crate::tcp::role`].
    pub role: u8,
    /// The CPU that folds: an entry has one writer, so its maxima need no atomic operation.
    pub cpu: u16,
    /// Which of the two generations: user space reads the one that is not being written.
    pub generation: u16,
}

const _: () = assert!(size_of::<FoldKey>() == 32);

/// What is kept of the folded connections of one key.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FoldTotals {
    /// Ends folded, established or not.
    pub records: u64,
    /// Records of connections that reached ESTABLISHED after the agent began.
    pub opened: u64,
    /// Records of connections older than the agent.
    pub adopted: u64,
    /// Closed without an exchange.
    pub unused: u64,
    /// By [`crate::tcp::closed_by`].
    pub closed_by: [u64; closed_by::COUNT],
    /// By [`crate::tcp::failed_by`].
    pub failed_by: [u64; failed_by::COUNT],
    /// Ends that imply a TIME-WAIT socket.
    pub time_wait: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Exchanges that were the first of their connection.
    pub first_exchanges: u64,
    /// Payload bytes acknowledged.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Time within turns, ns.
    pub busy_ns: u64,
    /// ESTABLISHED to CLOSED.
    pub lifetime: Dist,
    /// SYN-SENT to ESTABLISHED, clients only.
    pub connect: Dist,
    /// First turns; a client's include the time to connect.
    pub first: Dist,
    /// Later turns.
    pub reused: Dist,
    /// Idle time before later turns.
    pub idle: Dist,
    /// Idle time at the end.
    pub idle_at_close: Dist,
    /// The owner's name when the entry was made.
    pub comm: [u8; COMM_LEN],
}

const _: () = assert!(size_of::<FoldTotals>() == 28 * 8 + 6 * size_of::<Dist>() + COMM_LEN);
