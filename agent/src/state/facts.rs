//! What one record says about its connection: durations and counts, `None` where it was not seen.

use redial_common::{
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

/// How `conn` came to be.
pub fn phase(conn: &Conn) -> Phase {
    let adopted = conn.has(flag::ADOPTED);
    let connecting = conn.failed_by != failed_by::NONE || matches!(conn.state, state::SYN_SENT | state::SYN_RECV);
    match (adopted, conn.established_ns != 0) {
        (false, true) => Phase::Opened,
        (true, _) if !connecting => Phase::OpenAtStart,
        (true, true) => Phase::OpenAtStart,
        (_, false) => Phase::Attempt,
    }
}

/// SYN-SENT to ESTABLISHED, ns; clients only.
pub fn connect_ns(conn: &Conn) -> Option<u64> {
    (conn.role == role::CLIENT && phase(conn) == Phase::Opened && !conn.has(flag::RESTORED))
        .then(|| conn.established_ns.saturating_sub(conn.start_ns))
}

/// ESTABLISHED to CLOSED, ns, if both were seen.
pub fn lifetime_ns(conn: &Conn) -> Option<u64> {
    (phase(conn) == Phase::Opened && conn.end_ns != 0 && !conn.has(flag::END_UNSEEN))
        .then(|| conn.end_ns.saturating_sub(conn.established_ns))
}

/// Answered turns, if turns were watched.
pub fn exchanges(conn: &Conn) -> Option<u32> {
    // The kernel counts a server's turn when the next one begins, or at the end.
    let is_uncounted = conn.end_ns == 0 && conn.role == role::SERVER && conn.phase == phase::ANSWERED;
    conn.has(flag::TURNS_WATCHED).then_some(conn.exchanges + u32::from(is_uncounted))
}

/// Whether it ended without an exchange; `None` when that cannot be told.
pub fn unused(conn: &Conn) -> Option<bool> {
    match (phase(conn), exchanges(conn)?) {
        (Phase::Attempt, _) => None,
        (Phase::OpenAtStart, 0) => None,
        (_, count) => Some(count == 0),
    }
}

/// How long the connection's first turn took, ns. A connection older than the agent has none.
pub fn first_turn_ns(conn: &Conn) -> Option<u64> {
    (phase(conn) == Phase::Opened && exchanges(conn)? > 0 && conn.first_turn_ns != 0).then_some(conn.first_turn_ns)
}

/// What the first answer cost a client: connecting and the first turn, ns. Waiting between the two is not charged.
pub fn first_response_ns(conn: &Conn) -> Option<u64> {
    Some(connect_ns(conn)? + first_turn_ns(conn)?)
}

/// The last send or receive, ns of CLOCK_MONOTONIC.
pub fn last_activity_ns(conn: &Conn) -> Option<u64> {
    let last = conn.last_send_ns.max(conn.last_recv_ns);
    (is_timed(conn) && last != 0).then_some(last)
}

/// Whether sends were seen too: without them there are exchanges, but no times of turns.
pub fn is_timed(conn: &Conn) -> bool {
    conn.has(flag::TURNS_WATCHED) && (conn.exchanges == 0 || conn.last_send_ns != 0)
}

/// From the last activity to the first FIN or RST, ns.
pub fn idle_at_close_ns(conn: &Conn) -> Option<u64> {
    if conn.end_ns == 0 || conn.has(flag::END_UNSEEN) || phase(conn) == Phase::Attempt || !is_timed(conn) {
        return None;
    }
    // Without a FIN or RST (the kernel gave up, say) there was no moment at which it began to close.
    if conn.closing_ns == 0 { None } else { conn.idle_at_close_ns() }
}

/// Whether bytes, retransmits and round-trip times were read from the socket.
pub fn is_measured(conn: &Conn) -> bool {
    conn.has(flag::FINAL_READ) && !conn.has(flag::NO_OFFSETS)
}
