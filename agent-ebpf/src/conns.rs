//! The life of a connection, from its first state change to its record.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use redial_common::{
    errno,
    loss::Counter,
    record::conn::{Conn, HEAD_LEN, flag},
    tcp::{closed_by, failed_by, role, state},
};

use crate::{
    emit,
    maps::{NEW_CONN, NewConn, UNWATCHED_UNTIL, conns, count},
    owner,
    settings::setting,
    sock::Sock,
    turns,
};

const BPF_ANY: u64 = 0;
pub const BPF_NOEXIST: u64 = 1;
pub const EEXIST: i32 = -17;
const ENOMEM: i32 = -12;
const E2BIG: i32 = -7;

/// The live state of a socket.
#[inline(always)]
pub fn get<'a>(key: u64) -> Option<&'a mut Conn> {
    let conn = conns().get_ptr_mut(key)?;
    // SAFETY: the map's memory outlives the program's run. Two CPUs may work on one socket at the same time, as its
    // sender, which holds no lock any more, and its receiver: counts are written under the lock only, times by either,
    // and a stale integer is no unsoundness.
    Some(unsafe { &mut *conn })
}

/// A socket went from `old` to `new`.
#[inline(always)]
pub fn on_state<S: Sock>(sock: S, old: u8, new: u8) {
    match new {
        state::SYN_SENT => connecting(sock),
        state::ESTABLISHED => established(sock, old),
        state::CLOSE => {
            if old != state::LISTEN {
                closed(sock, old);
            }
        }
        state::LISTEN | state::SYN_RECV | state::NEW_SYN_RECV => {}
        _ => closing(sock, new),
    }
}

#[inline(always)]
fn connecting<S: Sock>(sock: S) {
    let Some(conn) = blank(NewConn::Connecting) else { return };
    conn.role = role::CLIENT;
    conn.state = state::SYN_SENT;
    conn.start_ns = now();
    conn.flags |= sock.early_labels();
    if !is_wanted(sock, conn) || !owner::claim(conn) {
        return;
    }
    if conn.tgid == 0 {
        inherit(sock, conn);
    }
    insert(sock.key(), conn);
}

/// A further subflow of an MPTCP connection is opened by the kernel, for the process that has the connection.
#[inline(always)]
fn inherit<S: Sock>(sock: S, conn: &mut Conn) {
    if let Some(first) = sock.sibling()
        && first != sock.key()
        && let Some(first) = get(first)
    {
        owner::copy(conn, first);
    }
}

#[inline(always)]
fn established<S: Sock>(sock: S, old: u8) {
    let known = get(sock.key()).filter(|conn| old != state::SYN_RECV || is_begun_by(sock, conn));
    if let Some(conn) = known {
        sock.write_tuple(conn);
        let at = sock.packet_ns(conn.start_ns);
        become_established(sock, conn, at);
    } else if old == state::SYN_RECV
        && let Some(conn) = from_listener(sock, NewConn::FromListener)
    {
        become_established(sock, conn, conn.start_ns);
        insert(sock.key(), conn);
    }
}

/// Whether `conn`, known before its handshake was over, is of this socket out of SYN-RECEIVED: begun by data on the SYN,
/// or by both ends connecting at once. A socket's place may be used again by one whose connection's end was missed.
#[inline(always)]
fn is_begun_by<S: Sock>(sock: S, conn: &Conn) -> bool {
    conn.established_ns == 0 && !conn.has(flag::ADOPTED) && sock.ports().1 == conn.remote_port
}

#[inline(always)]
fn become_established<S: Sock>(sock: S, conn: &mut Conn, at: u64) {
    conn.established_ns = at;
    conn.state = state::ESTABLISHED;
    sock.write_established(conn);
    if setting!(opens) != 0 {
        emit::opened(conn);
    }
}

/// With TCP Fast Open a server may have answered all, and be closing, before its handshake is over.
#[inline(always)]
fn establish_late(conn: &mut Conn) {
    if conn.established_ns == 0 && conn.role == role::SERVER && !conn.has(flag::ADOPTED) {
        conn.established_ns = conn.start_ns;
        if setting!(opens) != 0 {
            emit::opened(conn);
        }
    }
}

/// A new connection of a socket that came out of a listener, if the filters want it; not in the map yet.
#[inline(always)]
fn from_listener<'a, S: Sock>(sock: S, place: NewConn) -> Option<&'a mut Conn> {
    let conn = blank(place)?;
    conn.role = role::SERVER;
    conn.state = state::SYN_RECV;
    conn.start_ns = sock.packet_ns(0);
    if !is_wanted(sock, conn) {
        return None;
    }
    conn.flags |= sock.early_labels();
    Some(conn)
}

/// The connection that data pass on, with its owner, unless it is not followed.
///
/// Data on a SYN (TCP Fast Open) come before ESTABLISHED: only then does a connection begin here. `is_in_process`: this
/// runs in the process that uses the socket, even where data pass through another kernel part.
#[inline(always)]
pub fn with_data<'a, S: Sock>(sock: S, place: NewConn, is_in_process: bool) -> Option<&'a mut Conn> {
    let key = sock.key();
    let conn = match get(key) {
        Some(conn) => conn,
        None if sock.state() == state::SYN_RECV => {
            let conn = from_listener(sock, place)?;
            insert(key, conn);
            get(key)?
        }
        None => return None,
    };
    add_label(conn, sock.user_data_label());
    if conn.tgid != 0 {
        if conn.has(flag::SHARED) && (is_in_process || !sock.is_indirect()) {
            owner::take_over(conn);
        }
    } else if is_in_process || !sock.is_indirect() {
        if !owner::claim(conn) {
            remove(key);
            return None;
        }
        if conn.tgid != 0 {
            // A listener of the kernel's making, as MPTCP has, hands its label down to sockets of processes.
            conn.flags &= !flag::KERNEL_SOCKET;
        }
    }
    Some(conn)
}

/// Adds a label that may be there already: another CPU may write the flags at the same time, so as seldom as can be.
#[inline(always)]
fn add_label(conn: &mut Conn, label: u32) {
    if !conn.has(label) {
        conn.flags |= label;
    }
}

/// The current process uses the MPTCP connection that began with the subflow `key`.
#[inline(always)]
pub fn claim(key: u64) {
    if let Some(conn) = get(key)
        && conn.tgid == 0
        && !owner::claim(conn)
    {
        remove(key);
    }
}

/// A socket went to a state between ESTABLISHED and CLOSED.
#[inline(always)]
fn closing<S: Sock>(sock: S, new: u8) {
    let Some(conn) = get(sock.key()) else { return };
    // `close` after `shutdown` sets the state that is there already.
    if conn.state == new {
        return;
    }
    establish_late(conn);
    conn.state = new;
    add_label(conn, sock.user_data_label());
    if conn.tgid == 0 && conn.has(flag::MPTCP) {
        inherit(sock, conn);
    }
    let at = now();
    if conn.closing_ns == 0 {
        conn.closing_ns = at;
    }
    match new {
        state::CLOSE_WAIT => {
            conn.flags |= flag::FIN_RECEIVED;
            conn.close_wait_ns = at;
            if conn.closed_by == closed_by::NONE {
                conn.closed_by = closed_by::REMOTE;
            }
        }
        state::FIN_WAIT1 => {
            if conn.closed_by == closed_by::NONE {
                conn.closed_by = closed_by::LOCAL;
            }
            closed_by_us(sock, conn);
        }
        state::LAST_ACK => {
            conn.close_wait_end_ns = at;
            closed_by_us(sock, conn);
        }
        state::CLOSING => conn.flags |= flag::FIN_RECEIVED,
        _ => {}
    }
    // Our FIN takes the next sequence number: what was written until now is all there will be.
    if new == state::FIN_WAIT1 || new == state::LAST_ACK {
        turns::settle(sock, conn);
    }
}

/// Our side ends the connection now, in the context of the process that does.
#[inline(always)]
fn closed_by_us<S: Sock>(sock: S, conn: &mut Conn) {
    if conn.role == role::SERVER && conn.tgid == 0 && conn.acceptor_tgid == 0 && !sock.is_held() {
        conn.flags |= flag::NEVER_ACCEPTED;
        owner::clear_kernel_label(conn);
    } else if conn.closer_tgid == 0 {
        conn.closer_tgid = owner::tgid();
    }
}

#[inline(always)]
fn closed<S: Sock>(sock: S, old: u8) {
    let key = sock.key();
    let Some(conn) = get(key) else { return };
    conn.state = old;
    conn.error = sock.error();
    establish_late(conn);
    if conn.established_ns == 0 && !conn.has(flag::ADOPTED) {
        let port = sock.source_port();
        if port != 0 {
            conn.local_port = port;
        }
        conn.failed_by = why_failed(sock, conn);
    } else if conn.closed_by == closed_by::NONE {
        conn.closed_by = why_closed(conn);
        if conn.closed_by == closed_by::RESET_LOCAL {
            closed_by_us(sock, conn);
        }
        turns::settle(sock, conn);
    } else if old == state::CLOSE_WAIT {
        conn.close_wait_end_ns = now();
        // With an error it ended in an interrupt, whose process says nothing; without one we reset it, and the kernel's
        // own word on that comes when the state has changed.
        if conn.error == 0 && setting!(offsets_known) != 0 {
            conn.flags |= flag::RESET_AFTER_FIN;
            closed_by_us(sock, conn);
        }
        turns::settle(sock, conn);
    }
    if conn.error == 0 && (old == state::FIN_WAIT2 || old == state::CLOSING) {
        conn.flags |= flag::TIME_WAIT;
    }
    // The process may still read an answer that came with the end, when nobody watches any more.
    if sock.is_held() && sock.has_unread() {
        turns::unread_at_end(conn);
    }
    finish(sock, conn, old);
    remove(key);
}

/// The socket is destroyed or taken anew, and its end was missed: the record is made from what is known.
#[inline(always)]
pub fn repair<S: Sock>(sock: S) {
    let key = sock.key();
    let Some(conn) = get(key) else { return };
    end_unseen(conn);
    finish(sock, conn, conn.state);
    remove(key);
}

#[inline(always)]
pub fn end_unseen(conn: &mut Conn) {
    count(Counter::Repaired);
    conn.mark_end_unseen();
}

/// The attempt failed with `error` before a SYN could be sent: there was no state change to follow.
#[inline(always)]
pub fn failed_early<S: Sock>(sock: S, error: u32, fill_remote: impl FnOnce(&mut Conn)) {
    let Some(conn) = blank(NewConn::Early) else { return };
    conn.role = role::CLIENT;
    conn.state = state::CLOSE;
    conn.start_ns = now();
    conn.end_ns = conn.start_ns;
    write_place(sock, conn);
    fill_remote(conn);
    if !passes(conn) || !owner::claim(conn) {
        return;
    }
    conn.flags |= flag::NO_SYN;
    conn.error = error;
    conn.failed_by = by_error(error as i32);
    emit::ended(conn);
}

#[inline(always)]
fn finish<S: Sock>(sock: S, conn: &mut Conn, last: u8) {
    if setting!(offsets_known) != 0 {
        sock.write_facts(conn);
        if sock.fin_received() {
            conn.flags |= flag::FIN_RECEIVED;
        }
        count_payload_only(sock, conn, last);
    }
    send(conn, now());
}

/// Sends the record of a connection that ended at `at`, if the filters want it.
#[inline(always)]
pub fn send(conn: &mut Conn, at: u64) {
    conn.end_ns = at;
    if conn.closing_ns == 0 {
        conn.closing_ns = at;
    }
    if setting!(offsets_known) == 0 {
        conn.flags |= flag::NO_OFFSETS;
    }
    conn.drop_unwatched();
    // Neither what it did while turns were not watched, nor what it did not, is known.
    if UNWATCHED_UNTIL.get(0).is_some_and(|until| conn.start_ns < *until) {
        conn.flags &= !flag::TURNS_WATCHED;
    }
    // Filters by process let pass what has no process yet; without one at the end, it was none of theirs.
    if conn.tgid == 0 && !owner::wants(conn.acceptor_tgid, &conn.comm) {
        count(Counter::Filtered);
        return;
    }
    emit::ended(conn);
}

/// Takes SYN and FIN out of the kernel's byte counts (RFC 4898 counts them in, each as one).
#[inline(always)]
fn count_payload_only<S: Sock>(sock: S, conn: &mut Conn, last: u8) {
    let syn_was_acknowledged = conn.role == role::CLIENT && conn.established_ns != 0 && !conn.has(flag::RESTORED);
    let fin_was_acknowledged = if conn.has(flag::END_UNSEEN) {
        sock.fin_was_acknowledged(conn.role == role::CLIENT && !conn.has(flag::RESTORED))
    } else {
        last == state::FIN_WAIT2 || (conn.error == 0 && (last == state::CLOSING || last == state::LAST_ACK))
    };
    let controls = u64::from(syn_was_acknowledged) + u64::from(fin_was_acknowledged);
    conn.bytes_sent = conn.bytes_sent.saturating_sub(controls);
    if conn.has(flag::FIN_RECEIVED) {
        conn.bytes_received = conn.bytes_received.saturating_sub(1);
    }
}

#[inline(always)]
fn why_failed<S: Sock>(sock: S, conn: &Conn) -> u8 {
    if conn.error != 0 {
        return by_error(conn.error as i32);
    }
    if setting!(offsets_known) == 0 {
        return failed_by::OTHER;
    }
    // `tcp_v4_connect` gives the socket its first sequence number once it has a local port.
    let got_port = conn.local_port != 0 && sock.seqs().is_some_and(|(written, _)| written != 0);
    if got_port { failed_by::CANCELLED } else { failed_by::NO_PORTS }
}

#[inline(always)]
fn by_error(error: i32) -> u8 {
    match error {
        errno::ECONNREFUSED => failed_by::REFUSED,
        errno::ETIMEDOUT => failed_by::TIMED_OUT,
        errno::ECONNRESET => failed_by::RESET,
        errno::ENETUNREACH | errno::EHOSTUNREACH | errno::EHOSTDOWN | errno::ENOPROTOOPT => failed_by::UNREACHABLE,
        errno::EADDRNOTAVAIL => failed_by::NO_PORTS,
        errno::EACCES | errno::EPERM => failed_by::DENIED,
        _ => failed_by::OTHER,
    }
}

/// How an established connection ended on which no FIN was seen.
#[inline(always)]
fn why_closed(conn: &Conn) -> u8 {
    if setting!(offsets_known) == 0 {
        return closed_by::UNKNOWN;
    }
    match conn.error as i32 {
        0 => closed_by::RESET_LOCAL,
        errno::ECONNRESET | errno::EPIPE => closed_by::RESET_REMOTE,
        errno::ETIMEDOUT | errno::EHOSTUNREACH | errno::ENETUNREACH => closed_by::TIMEOUT,
        errno::ECONNABORTED => closed_by::ABORTED,
        _ => closed_by::UNKNOWN,
    }
}

/// Writes tuple and namespace, and says whether the filters that need no process let the connection through.
#[inline(always)]
pub fn is_wanted<S: Sock>(sock: S, conn: &mut Conn) -> bool {
    write_place(sock, conn);
    passes(conn)
}

#[inline(always)]
fn write_place<S: Sock>(sock: S, conn: &mut Conn) {
    sock.write_tuple(conn);
    conn.netns = sock.netns();
}

#[inline(always)]
fn passes(conn: &Conn) -> bool {
    // Where the role is not known, either port may be the one that is meant.
    let is_port = |port: u16| setting!(port) == u32::from(port);
    let has_port = (conn.role != role::SERVER && is_port(conn.remote_port))
        || (conn.role != role::CLIENT && is_port(conn.local_port));
    let wanted = (setting!(netns) == 0 || setting!(netns) == conn.netns)
        && (setting!(role) == 0 || setting!(role) == u32::from(conn.role))
        && (setting!(port) == 0 || has_port);
    if !wanted {
        count(Counter::Filtered);
    }
    wanted
}

/// A connection with nothing in it but an id.
#[inline(always)]
pub fn blank<'a>(place: NewConn) -> Option<&'a mut Conn> {
    let conn = NEW_CONN.get_ptr_mut(place as u32)?;
    // SAFETY: the helper has no arguments.
    let cpu = u64::from(unsafe { aya_ebpf::helpers::generated::bpf_get_smp_processor_id() });
    // SAFETY: this CPU's own place for this kind of program, which does not run twice on a CPU at a time. Only the
    // head is ever written there: the distributions stay zero.
    unsafe {
        // Counted on from the connection that was put together here before.
        let id = ((*conn).id + 1) | (cpu << 48) | ((place as u64) << 40);
        // Volatile, or the compiler makes it a call of a `memset` that goes byte by byte.
        for word in 0..HEAD_LEN / 8 {
            conn.cast::<u64>().add(word).write_volatile(0);
        }
        (*conn).kind = redial_common::record::Kind::Conn as u32;
        (*conn).flags = flag::TURNS_WATCHED;
        (*conn).id = id;
        Some(&mut *conn)
    }
}

#[inline(always)]
pub fn put(key: u64, conn: &Conn, flags: u64) -> Result<(), i32> {
    conns().insert(key, conn, flags)
}

#[inline(always)]
fn insert(key: u64, conn: &mut Conn) {
    let mut result = put(key, conn, BPF_NOEXIST);
    if result == Err(EEXIST) {
        // The socket is used again and the end of its last connection was missed.
        if let Some(before) = get(key) {
            end_unseen(before);
            send(before, conn.start_ns);
        }
        result = put(key, conn, BPF_ANY);
    }
    if let Err(error) = result {
        not_inserted(error);
    }
}

/// Counts a connection that cannot be followed.
#[inline(always)]
pub fn not_inserted(error: i32) {
    count(match error {
        E2BIG => Counter::MapFull,
        ENOMEM => Counter::MapNoMemory,
        _ => Counter::MapError,
    });
}

/// Stops following a socket.
#[inline(always)]
pub fn remove(key: u64) {
    // A failure means that the entry is gone already, which is what is wanted.
    let _ = conns().remove(key);
}

/// CLOCK_MONOTONIC, ns.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no arguments.
    unsafe { bpf_ktime_get_ns() }
}
