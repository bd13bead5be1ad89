//! One connection, as its live state in the kernel's map and as the record that is sent when it ends.
//!
//! Both are the same structure, so user space reads them with the same code. A connection that had no second turn
//! has empty distributions: its record stops at [`HEAD_LEN`].

use crate::{
    dist::Dist,
    tcp::{closed_by, failed_by, role, state},
};

/// Bits of [`Conn::flags`].
pub mod flag {
    /// The connection is older than the agent: its start and its first turns were not seen.
    pub const ADOPTED: u32 = 1 << 0;
    /// The socket belongs to the kernel (NFS, CIFS, an in-kernel server).
    pub const KERNEL_SOCKET: u32 = 1 << 1;
    /// A subflow of an MPTCP connection.
    pub const MPTCP: u32 = 1 << 2;
    /// Data or a cookie went with the SYN (TCP Fast Open, RFC 7413).
    pub const FAST_OPEN: u32 = 1 << 3;
    /// An upper-layer protocol is installed on the socket (kTLS and its like).
    pub const ULP: u32 = 1 << 4;
    /// Another kernel part owns the socket's data: a sockmap, or an in-kernel user.
    pub const USER_DATA: u32 = 1 << 5;
    /// The last transition implies that a TIME-WAIT socket was left behind.
    pub const TIME_WAIT: u32 = 1 << 6;
    /// A RST was received or sent when a FIN had gone or come already.
    pub const RESET_AFTER_FIN: u32 = 1 << 7;
    /// SO_KEEPALIVE was set when last looked at.
    pub const KEEPALIVE: u32 = 1 << 8;
    /// At least one exchange's beginning was not seen (its response time is missing).
    pub const START_UNSEEN: u32 = 1 << 9;
    /// The attempt failed before a SYN could be sent.
    pub const NO_SYN: u32 = 1 << 10;
    /// The end was not seen: the record was made when the socket was destroyed or taken for a new connection.
    pub const END_UNSEEN: u32 = 1 << 11;
    /// The peer's FIN was received.
    pub const FIN_RECEIVED: u32 = 1 << 12;
    /// Field offsets were not known: bytes, retransmits, errors and the namespace were not read.
    pub const NO_OFFSETS: u32 = 1 << 13;
    /// Data pass the hooks for sends and receives, so no exchange means that there was none. User space takes it off
    /// where the hooks could not be attached.
    pub const TURNS_WATCHED: u32 = 1 << 14;
    /// `bytes_sent`, `bytes_received`, `retransmits` and the round-trip times were read from the socket at the end.
    pub const FINAL_READ: u32 = 1 << 15;
    /// A listener closed before the connection was accepted.
    pub const NEVER_ACCEPTED: u32 = 1 << 16;
    /// Put together from a checkpoint (TCP_REPAIR): there was no handshake.
    pub const RESTORED: u32 = 1 << 17;
    /// The attempt was under way when the agent began: its start was not seen.
    pub const CONNECTING_AT_START: u32 = 1 << 18;
    /// Older than the agent, and more than one process holds it: whoever uses it next owns it.
    pub const SHARED: u32 = 1 << 19;
}

/// The bit of a pass over all sockets that takes in those that nobody follows.
pub const PASS_ADOPTS: u32 = 1 << 31;

/// Where a connection is within a turn.
pub mod phase {
    /// No turn has begun.
    pub const NONE: u8 = 0;
    /// The asking side has sent (a client sent, a server received).
    pub const ASKED: u8 = 1;
    /// The answering side has answered.
    pub const ANSWERED: u8 = 2;
}

/// Longest name of a process, with its final zero (the kernel's TASK_COMM_LEN).
pub const COMM_LEN: usize = 16;

/// One connection. Times are nanoseconds of CLOCK_MONOTONIC; 0 means that it did not happen or was not seen.
///
/// What sends and receives write comes first, so that it lies in few cache lines.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// [`super::Kind::Conn`].
    pub kind: u32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Owner: the process that connected, or that serves an accepted connection; 0 when not known.
    pub tgid: u32,
    /// Turns that were answered; while a server's connection lives, without the one that is under way or was answered
    /// last.
    pub exchanges: u32,
    /// `write_seq` at the last receive (or at ESTABLISHED).
    pub seq_at_recv: u32,
    /// `copied_seq` at the last receive (or at ESTABLISHED).
    pub copied_seq: u32,
    /// One of [`crate::tcp::role`].
    pub role: u8,
    /// One of [`phase`].
    pub phase: u8,
    /// One of [`crate::tcp::family`].
    pub family: u8,
    /// One of [`crate::tcp::state`]: the last one but CLOSE.
    pub state: u8,
    /// One of [`crate::tcp::closed_by`].
    pub closed_by: u8,
    /// One of [`crate::tcp::failed_by`].
    pub failed_by: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// The last send.
    pub last_send_ns: u64,
    /// The last receive.
    pub last_recv_ns: u64,
    /// When the turn that is under way began; 0 when its beginning was not seen.
    pub turn_start_ns: u64,
    /// Idle time before the turn that is under way, ns.
    pub turn_idle_ns: u64,
    /// Time within turns, ns: from a turn's beginning to the last answering activity before the next one.
    pub busy_ns: u64,
    /// When the first send returned.
    pub first_send_ns: u64,
    /// Client: first byte of the first answer read. Server: first answer sent.
    pub first_answer_ns: u64,
    /// How long the first turn took, ns. Later turns are in [`Conn::reused`].
    pub first_turn_ns: u64,
    /// Unique within one run of the agent: CPU number in the upper 16 bits, the kind of program that made it in the next
    /// eight, a counter in the others.
    pub id: u64,
    /// Client: SYN-SENT; server: ESTABLISHED; adopted: when it was first seen.
    pub start_ns: u64,
    /// When it became ESTABLISHED.
    pub established_ns: u64,
    /// When the first FIN or RST went or came.
    pub closing_ns: u64,
    /// When it reached CLOSED.
    pub end_ns: u64,
    /// When the peer's FIN came and ours had not gone (CLOSE-WAIT began).
    pub close_wait_ns: u64,
    /// When CLOSE-WAIT ended.
    pub close_wait_end_ns: u64,
    /// Payload bytes that the peer acknowledged while the agent watched. Until the end: those from before.
    pub bytes_sent: u64,
    /// Payload bytes received in order, likewise.
    pub bytes_received: u64,
    /// The process that accepted; 0 when not seen.
    pub acceptor_tgid: u32,
    /// The process that closed the last descriptor; 0 when not seen.
    pub closer_tgid: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Segments sent again, SYN included, likewise.
    pub retransmits: u32,
    /// Segments sent again since the peer last acknowledged anything new; [`u32::MAX`] where user space knows that they
    /// were not watched.
    pub unanswered: u32,
    /// `snd_una` when [`Conn::unanswered`] began to count.
    pub unanswered_una: u32,
    /// Smoothed round-trip time, µs.
    pub srtt_us: u32,
    /// Least round-trip time of the kernel's window, µs; [`u32::MAX`] when there was none.
    pub min_rtt_us: u32,
    /// Idle time before the first TCP keepalive probe, in the kernel's ticks.
    pub keepalive_ticks: u32,
    /// `sk_err` at the end, or what `connect` returned, as a positive error number.
    pub error: u32,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// The last pass over all sockets that found this one, 0 for none.
    pub pass: u32,
    /// Local address; IPv4 in the first four bytes.
    pub local: [u8; 16],
    /// Remote address; IPv4 in the first four bytes.
    pub remote: [u8; 16],
    /// Name of the owner's process when it was seen, ended by a zero.
    pub comm: [u8; COMM_LEN],
    /// Turns on a connection that had carried one before.
    pub reused: Dist,
    /// Idle time before those turns.
    pub idle: Dist,
}

/// Length of a [`Conn`] without its distributions.
pub const HEAD_LEN: usize = core::mem::offset_of!(Conn, reused);

const _: () = assert!(HEAD_LEN == 264);
const _: () = assert!(size_of::<Conn>() == HEAD_LEN + 2 * size_of::<Dist>());

impl Conn {
    /// All zero: what a map slot is filled from.
    pub const ZERO: Self = Self {
        kind: super::Kind::Conn as u32,
        flags: 0,
        tgid: 0,
        exchanges: 0,
        seq_at_recv: 0,
        copied_seq: 0,
        role: 0,
        phase: 0,
        family: 0,
        state: 0,
        closed_by: 0,
        failed_by: 0,
        pad: [0; 2],
        last_send_ns: 0,
        last_recv_ns: 0,
        turn_start_ns: 0,
        turn_idle_ns: 0,
        busy_ns: 0,
        first_send_ns: 0,
        first_answer_ns: 0,
        first_turn_ns: 0,
        id: 0,
        start_ns: 0,
        established_ns: 0,
        closing_ns: 0,
        end_ns: 0,
        close_wait_ns: 0,
        close_wait_end_ns: 0,
        bytes_sent: 0,
        bytes_received: 0,
        acceptor_tgid: 0,
        closer_tgid: 0,
        netns: 0,
        retransmits: 0,
        unanswered: 0,
        unanswered_una: 0,
        srtt_us: 0,
        min_rtt_us: 0,
        keepalive_ticks: 0,
        error: 0,
        local_port: 0,
        remote_port: 0,
        pass: 0,
        local: [0; 16],
        remote: [0; 16],
        comm: [0; COMM_LEN],
        reused: Dist::EMPTY,
        idle: Dist::EMPTY,
    };

    /// The process that counts as the owner: the one that uses the connection, else the one that accepted it; 0 when
    /// neither was seen.
    #[inline(always)]
    pub const fn owner_tgid(&self) -> u32 {
        if self.tgid == 0 { self.acceptor_tgid } else { self.tgid }
    }

    /// Takes [`flag::TURNS_WATCHED`] off where data pass no hook: what MPTCP and sockmaps carry does not.
    #[inline(always)]
    pub const fn drop_unwatched(&mut self) {
        if self.flags & (flag::MPTCP | flag::USER_DATA) != 0 {
            self.flags &= !flag::TURNS_WATCHED;
        }
    }

    /// Gives the end that was not seen a cause.
    #[inline(always)]
    pub const fn mark_end_unseen(&mut self) {
        self.flags |= flag::END_UNSEEN;
        // A server's last answer is counted where its FIN goes, if that was seen.
        let fin_went = matches!(self.state, state::FIN_WAIT1 | state::FIN_WAIT2 | state::CLOSING | state::LAST_ACK);
        if self.role == role::SERVER && self.phase == phase::ANSWERED && !fin_went {
            self.exchanges += 1;
        }
        let is_attempt = self.established_ns == 0 && !self.has(flag::ADOPTED);
        if is_attempt {
            self.failed_by = failed_by::OTHER;
        } else if self.closed_by == closed_by::NONE {
            self.closed_by = closed_by::UNKNOWN;
        }
    }

    /// Whether all of `bits` are set.
    #[inline(always)]
    pub const fn has(&self, bits: u32) -> bool {
        self.flags & bits == bits
    }
}
