//! What one connection's state says about it: durations and counts, `None` where it was not seen.
//!
//! The kernel's fold and user space's totals both stand on these, so that a connection counts the same in either.

use crate::{
    record::conn::{Conn, flag, phase},
    tcp::{failed_by, role, state},
};

/// How an attempt or a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It reached ESTABLISHED while the agent watched.
    Opened,
    /// It was there when the agent began.
    OpenAtStart,
    /// It never reached ESTABLISHED: still connecting if it lives, failed if it ended.
    Attempt,
}

/// Why nobody owns a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Nobody {
    /// Its owner was not seen, or it has one.
    Unknown = 0,
    /// Its socket belongs to the kernel.
    Kernel = 1,
    /// No process accepted it.
    NotAccepted = 2,
}

impl Nobody {
    /// The reason with the number `raw`.
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            1 => Self::Kernel,
            2 => Self::NotAccepted,
            _ => Self::Unknown,
        }
    }
}

/// Why nobody owns `conn`, where nobody does.
#[inline(always)]
pub const fn nobody(conn: &Conn) -> Nobody {
    if conn.has(flag::NEVER_ACCEPTED) {
        Nobody::NotAccepted
    } else if conn.has(flag::KERNEL_SOCKET) {
        Nobody::Kernel
    } else {
        Nobody::Unknown
    }
}

/// How `conn` came to be.
#[inline(always)]
pub const fn phase(conn: &Conn) -> Phase {
    let is_connecting = conn.failed_by != failed_by::NONE || matches!(conn.state, state::SYN_SENT | state::SYN_RECV);
    if conn.established_ns != 0 {
        if conn.has(flag::ADOPTED) { Phase::OpenAtStart } else { Phase::Opened }
    } else if conn.has(flag::ADOPTED) && !is_connecting {
        Phase::OpenAtStart
    } else {
        Phase::Attempt
    }
}

/// SYN-SENT to ESTABLISHED, ns; clients only.
#[inline(always)]
pub fn connect_ns(conn: &Conn) -> Option<u64> {
    let start_is_known = conn.flags & (flag::RESTORED | flag::CONNECTING_AT_START) == 0;
    (conn.role == role::CLIENT && phase(conn) == Phase::Opened && start_is_known)
        .then(|| conn.established_ns.saturating_sub(conn.start_ns))
}

/// ESTABLISHED to CLOSED, ns, if both were seen.
#[inline(always)]
pub fn lifetime_ns(conn: &Conn) -> Option<u64> {
    (phase(conn) == Phase::Opened && conn.end_ns != 0 && !conn.has(flag::END_UNSEEN))
        .then(|| conn.end_ns.saturating_sub(conn.established_ns))
}

/// Answered turns, if turns were watched.
#[inline(always)]
pub fn exchanges(conn: &Conn) -> Option<u32> {
    // The kernel counts a server's turn when the next one begins, or at the end.
    let is_uncounted = conn.end_ns == 0 && conn.role == role::SERVER && conn.phase == phase::ANSWERED;
    conn.has(flag::TURNS_WATCHED).then(|| conn.exchanges + u32::from(is_uncounted))
}

/// Whether it ended without an exchange; `None` when that cannot be told.
#[inline(always)]
pub fn unused(conn: &Conn) -> Option<bool> {
    match (phase(conn), exchanges(conn)?) {
        (Phase::Attempt, _) => None,
        (Phase::OpenAtStart, 0) => None,
        (_, count) => Some(count == 0),
    }
}

/// How long the connection's first turn took, ns. A connection older than the agent has none.
#[inline(always)]
pub fn first_turn_ns(conn: &Conn) -> Option<u64> {
    (phase(conn) == Phase::Opened && exchanges(conn)? > 0 && conn.first_turn_ns != 0).then_some(conn.first_turn_ns)
}

/// What the first answer cost a client: connecting and the first turn, ns. Waiting between the two is not charged.
#[inline(always)]
pub fn first_response_ns(conn: &Conn) -> Option<u64> {
    Some(connect_ns(conn)? + first_turn_ns(conn)?)
}

/// The last send or receive, ns of CLOCK_MONOTONIC.
#[inline(always)]
pub fn last_activity_ns(conn: &Conn) -> Option<u64> {
    let last = if conn.last_send_ns > conn.last_recv_ns { conn.last_send_ns } else { conn.last_recv_ns };
    (is_timed(conn) && last != 0).then_some(last)
}

/// Whether sends were seen too: without them there are exchanges, but no times of turns.
#[inline(always)]
pub const fn is_timed(conn: &Conn) -> bool {
    conn.has(flag::TURNS_WATCHED) && (conn.exchanges == 0 || conn.last_send_ns != 0)
}

/// From the last activity to the first FIN or RST, ns.
#[inline(always)]
pub fn idle_at_close_ns(conn: &Conn) -> Option<u64> {
    // Without a FIN or RST (the kernel gave up, say) there was no moment at which it began to close.
    let began_to_close = conn.end_ns != 0 && conn.closing_ns != 0 && !conn.has(flag::END_UNSEEN);
    if !began_to_close || phase(conn) == Phase::Attempt {
        return None;
    }
    last_activity_ns(conn).map(|last| conn.closing_ns.saturating_sub(last))
}

/// Whether bytes, retransmits and round-trip times were read from the socket.
#[inline(always)]
pub const fn is_measured(conn: &Conn) -> bool {
    conn.has(flag::FINAL_READ) && !conn.has(flag::NO_OFFSETS)
}
