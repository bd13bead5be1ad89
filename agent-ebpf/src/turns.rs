//! Exchanges: turns of asking and answering, told from sends and receives alone.
//!
//! A client asks by sending and is answered by what it then receives; a server is the mirror of that. `write_seq` and
//! `copied_seq` say whether data really went or came, so a peek, an empty read, or a send that no hook saw do not
//! mislead the count. Exchanges are counted only where the kernel holds the socket's lock, at receives and state
//! changes; sends are seen after the lock is gone, and give the times alone.

use redial_common::{
    record::conn::{Conn, flag, phase},
    tcp::role,
};

use crate::sock::Sock;

/// A send of payload returned.
#[inline(always)]
pub fn sent<S: Sock>(sock: S, conn: &mut Conn) {
    let Some((written, _)) = sock.seqs() else { return };
    // A second thread may have read the answer before this call returned: then the turn is over already.
    if conn.role == role::SERVER || written != conn.seq_at_recv {
        sending(conn, sock.sent_ns(written));
    }
}

/// A send of payload begins: its bytes are not written yet.
#[inline(always)]
pub fn sending(conn: &mut Conn, now: u64) {
    if conn.role == role::SERVER {
        if conn.phase == phase::ASKED {
            answered(conn, now, conn.exchanges == 0);
        }
        add_busy(conn, conn.last_send_ns, now);
    } else if conn.phase != phase::ASKED {
        asked(conn, now);
    }
    conn.last_send_ns = now;
    if conn.first_send_ns == 0 {
        conn.first_send_ns = now;
    }
}

/// A receive took bytes from the socket, or only looked at them.
#[inline(always)]
pub fn received<S: Sock>(sock: S, conn: &mut Conn, now: u64) {
    let Some((written, copied)) = sock.seqs() else { return };
    if copied == conn.copied_seq {
        return;
    }
    conn.copied_seq = copied;
    if conn.role == role::SERVER {
        count_server(conn, written);
        if conn.phase != phase::ASKED {
            asked(conn, now);
        }
    } else {
        if written != conn.seq_at_recv {
            conn.exchanges += 1;
            if conn.phase == phase::ASKED {
                answered(conn, now, conn.exchanges == 1);
            } else {
                unseen(conn);
                conn.turn_start_ns = 0;
            }
        }
        add_busy(conn, conn.last_recv_ns, now);
    }
    conn.seq_at_recv = written;
    conn.last_recv_ns = now;
}

/// Our side will write nothing more but its FIN: a server's last answer is counted.
#[inline(always)]
pub fn settle<S: Sock>(sock: S, conn: &mut Conn) {
    let Some((written, _)) = sock.seqs() else { return };
    let is_server = conn.role == role::SERVER;
    if is_server {
        count_server(conn, written);
    }
    // The FIN takes a number, and answers and asks nothing. What a client has asked is still to be answered.
    if is_server || written == conn.seq_at_recv {
        conn.seq_at_recv = written.wrapping_add(1);
    }
}

/// The end came while payload waits to be read: for a client that asked, it is the answer.
#[inline(always)]
pub fn unread_at_end(conn: &mut Conn) {
    if conn.role != role::SERVER && conn.phase == phase::ASKED {
        conn.exchanges += 1;
        unseen(conn);
    }
}

/// Counts a server's turn that is over: something was received, and something written since. What it wrote before it
/// received anything is a greeting.
#[inline(always)]
fn count_server(conn: &mut Conn, written: u32) {
    if conn.last_recv_ns != 0 && written != conn.seq_at_recv {
        conn.exchanges += 1;
        if conn.phase == phase::ASKED {
            unseen(conn);
        }
    }
}

#[inline(always)]
fn asked(conn: &mut Conn, now: u64) {
    let last = if conn.last_send_ns > conn.last_recv_ns { conn.last_send_ns } else { conn.last_recv_ns };
    conn.turn_idle_ns = if conn.exchanges == 0 { 0 } else { now.saturating_sub(last) };
    conn.turn_start_ns = now;
    conn.phase = phase::ASKED;
}

/// Times an answer.
#[inline(always)]
fn answered(conn: &mut Conn, now: u64, is_first: bool) {
    let took = now.saturating_sub(conn.turn_start_ns);
    conn.phase = phase::ANSWERED;
    conn.busy_ns += took;
    if is_first && !conn.has(flag::ADOPTED) {
        conn.first_turn_ns = took;
        conn.first_answer_ns = now;
    } else {
        conn.reused.add(took);
        if conn.turn_idle_ns != 0 {
            conn.idle.add(conn.turn_idle_ns);
        }
    }
}

/// An exchange is certain, its times are not.
#[inline(always)]
fn unseen(conn: &mut Conn) {
    conn.phase = phase::ANSWERED;
    conn.flags |= flag::START_UNSEEN;
}

/// The answer goes on: the turn is busy until `now`.
#[inline(always)]
fn add_busy(conn: &mut Conn, since: u64, now: u64) {
    if conn.phase == phase::ANSWERED && conn.turn_start_ns != 0 && since > conn.turn_start_ns {
        conn.busy_ns += now.saturating_sub(since);
    }
}
