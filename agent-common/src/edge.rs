//! Totals per edge that the kernel keeps while the ring has no room: nothing is lost but the single lines.

use crate::{
    counts::Counts,
    dist::Dist,
    facts,
    record::conn::{COMM_LEN, Conn, flag},
    tcp::role,
};

/// Set in [`FoldKey::writer`] for a program that interrupted another while it folded: a softirq a process.
pub const FOLD_NESTED: u16 = 1 << 15;

/// Roles that are told apart in the totals of no edge: [`crate::tcp::role`]'s codes, 0 included.
pub const FOLD_OTHER_ROLES: u32 = 4;

/// Places in the totals of no edge, on each CPU.
pub const FOLD_OTHER_PLACES: u32 = 2 * 2 * FOLD_OTHER_ROLES;

/// The place of a role in the totals of no edge.
#[inline(always)]
pub const fn fold_other_place(generation: u8, is_nested: bool, role: u8) -> u32 {
    (generation as u32 * 2 + is_nested as u32) * FOLD_OTHER_ROLES + role as u32
}

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
    /// The CPU that folds, with [`FOLD_NESTED`]: an entry has one writer, so it needs no atomic operation.
    pub writer: u16,
    /// Which of the two generations: user space reads the one that is not being written.
    pub generation: u8,
    /// One of [`facts::Nobody`].
    pub nobody: u8,
}

const _: () = assert!(size_of::<FoldKey>() == 32);

impl FoldKey {
    /// The key of a connection that ended, as folded by `writer` in `generation`.
    #[inline(always)]
    pub const fn of(conn: &Conn, writer: u16, generation: u8) -> Self {
        let is_server = conn.role == role::SERVER;
        Self {
            remote: if is_server { [0; 16] } else { conn.remote },
            netns: conn.netns,
            tgid: conn.owner_tgid(),
            port: if is_server { conn.local_port } else { conn.remote_port },
            family: conn.family,
            role: conn.role,
            writer,
            generation,
            nobody: facts::nobody(conn) as u8,
        }
    }
}

/// What is kept of the folded connections of one key. All zero is a value: nothing was folded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldTotals {
    /// Ends folded, established or not.
    pub records: u64,
    /// What was counted of them.
    pub counts: Counts,
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

const _: () = assert!(size_of::<FoldTotals>() == 8 + size_of::<Counts>() + 6 * size_of::<Dist>() + COMM_LEN);

impl FoldTotals {
    /// Adds a connection or an attempt that ended.
    #[inline(always)]
    pub fn add(&mut self, conn: &Conn) {
        self.records += 1;
        self.counts.add_ended(conn);
        add(&mut self.lifetime, facts::lifetime_ns(conn));
        add(&mut self.connect, facts::connect_ns(conn));
        let is_server = conn.role == role::SERVER;
        add(&mut self.first, if is_server { facts::first_turn_ns(conn) } else { facts::first_response_ns(conn) });
        add(&mut self.idle_at_close, facts::idle_at_close_ns(conn));
        if conn.has(flag::TURNS_WATCHED) && conn.reused.count != 0 {
            self.reused.merge(&conn.reused);
            self.idle.merge(&conn.idle);
        }
    }

    /// Takes out what the hooks for sends and receives would have told, where they could not be attached.
    pub fn drop_unwatched(&mut self) {
        self.counts.drop_unwatched();
        for turns in [&mut self.first, &mut self.reused, &mut self.idle, &mut self.idle_at_close] {
            *turns = Dist::EMPTY;
        }
    }
}

#[inline(always)]
fn add(to: &mut Dist, ns: Option<u64>) {
    if let Some(ns) = ns {
        to.add(ns);
    }
}
