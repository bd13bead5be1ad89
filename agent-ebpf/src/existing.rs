//! Connections that were not watched from their beginning: older than the agent, or alive while nothing was watched.

use redial_common::{
    record::conn::{Conn, PASS_ADOPTS, flag},
    tcp::{closed_by, state},
};

use crate::{
    conns::{BPF_NOEXIST, EEXIST, blank, end_unseen, get, is_wanted, not_inserted, now, put, remove, send},
    maps::{NewConn, PASS},
    sock::Sock,
};

/// The socket exists. Where the pass over all sockets takes them in, it is followed from now on if it was not before,
/// and what was missed while nothing was watched is made up for.
#[inline(always)]
pub fn exists<S: Sock>(sock: S) {
    let Some(pass) = PASS.get(0) else { return };
    let adopts = *pass & PASS_ADOPTS != 0;
    if let Some(conn) = get(sock.key()) {
        if !adopts || catch_up(sock, conn) {
            conn.pass = *pass;
            return;
        }
        end_unseen(conn);
        send(conn, now());
        remove(sock.key());
    }
    if adopts {
        adopt(sock, *pass);
    }
}

/// Makes up for changes of state that were not watched, and says whether it is still the same connection.
#[inline(always)]
fn catch_up<S: Sock>(sock: S, conn: &mut Conn) -> bool {
    let (local_port, remote_port) = sock.ports();
    if sock.netns() != conn.netns
        || remote_port != conn.remote_port
        || (conn.local_port != 0 && local_port != conn.local_port)
    {
        return false;
    }
    let state = sock.state();
    if state == conn.state {
        return true;
    }
    if conn.state == state::SYN_SENT {
        sock.write_tuple(conn);
        conn.established_ns = now();
        conn.flags |= flag::CONNECTING_AT_START;
        sock.write_established(conn);
    }
    conn.state = state;
    if conn.closed_by == closed_by::NONE {
        conn.closed_by = began_to_close(state);
    }
    if conn.closed_by != closed_by::NONE && conn.closing_ns == 0 {
        conn.closing_ns = now();
    }
    true
}

/// Whose FIN was the first, as the state tells.
#[inline(always)]
fn began_to_close(state: u8) -> u8 {
    match state {
        state::FIN_WAIT1 | state::FIN_WAIT2 | state::CLOSING => closed_by::LOCAL,
        state::CLOSE_WAIT | state::LAST_ACK => closed_by::REMOTE,
        _ => closed_by::NONE,
    }
}

#[inline(always)]
fn adopt<S: Sock>(sock: S, pass: u32) {
    let state = sock.state();
    let closed_by = began_to_close(state);
    if closed_by == closed_by::NONE && state != state::SYN_SENT && state != state::ESTABLISHED {
        return;
    }
    let is_open = state != state::SYN_SENT;
    let Some(conn) = blank(NewConn::Existing) else { return };
    conn.role = sock.role_by_bytes(state);
    conn.state = state;
    conn.closed_by = closed_by;
    conn.pass = pass;
    conn.start_ns = now();
    if !is_wanted(sock, conn) {
        return;
    }
    conn.flags |= sock.early_labels() | if is_open { flag::ADOPTED } else { flag::CONNECTING_AT_START };
    if is_open {
        sock.write_established(conn);
        sock.write_base(conn);
    }
    // What the kernel counts FINs in is taken off at the end.
    if state == state::FIN_WAIT2 {
        conn.bytes_sent = conn.bytes_sent.saturating_sub(1);
    }
    if matches!(state, state::CLOSE_WAIT | state::LAST_ACK | state::CLOSING) {
        conn.bytes_received = conn.bytes_received.saturating_sub(1);
    }
    if let Err(error) = put(sock.key(), conn, BPF_NOEXIST)
        && error != EEXIST
    {
        not_inserted(error);
    }
}
