//! The only place that sends: into the ring, or into the fold when the ring is full.

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ringbuf_output};
use redial_common::{
    dist::Dist,
    edge::{FOLD_OTHER_ROLES, FoldKey, FoldTotals},
    loss::Counter,
    record::conn::{Conn, HEAD_LEN, flag},
    tcp::{closed_by, failed_by, role},
};

use crate::maps::{FOLD, FOLD_EMPTY, FOLD_OTHER, GENERATION, RECORDS, count};

/// User space drains on a timer: a wakeup a record would cost more than all the rest.
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_NOEXIST: u64 = 1;

/// Sends `len` bytes from `record`, and says whether the ring had room.
#[inline(always)]
pub fn output<T>(record: &T, len: usize) -> bool {
    // SAFETY: `len` is at most the size of `T`; the helper copies from memory that the verifier knows.
    unsafe {
        bpf_ringbuf_output(
            (&raw const RECORDS).cast_mut().cast(),
            core::ptr::from_ref(record).cast_mut().cast(),
            len as u64,
            BPF_RB_NO_WAKEUP,
        ) == 0
    }
}

/// Sends a connection that was just established.
#[inline(always)]
pub fn opened(conn: &Conn) {
    if !output(conn, HEAD_LEN) {
        count(Counter::OpensLost);
    }
}

/// Sends a connection's record, or folds it.
#[inline(always)]
pub fn ended(conn: &Conn) {
    let sent = if conn.reused.count == 0 { output(conn, HEAD_LEN) } else { output(conn, size_of::<Conn>()) };
    if !sent {
        // Counted last: user space looks for totals when the count has moved.
        fold(conn);
        count(Counter::Folded);
    }
}

#[inline(never)]
fn fold(conn: &Conn) -> u64 {
    let is_server = conn.role == role::SERVER;
    let key = FoldKey {
        remote: if is_server { [0; 16] } else { conn.remote },
        netns: conn.netns,
        tgid: conn.owner_tgid(),
        port: if is_server { conn.local_port } else { conn.remote_port },
        family: conn.family,
        role: conn.role,
        // SAFETY: the helper has no arguments.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        generation: GENERATION.get(0).copied().unwrap_or(0) as u16,
    };
    if let Some(totals) = totals_of(&key, conn) {
        add(totals, conn);
    } else {
        count(Counter::FoldedOther);
        let place = u32::from(key.generation) * FOLD_OTHER_ROLES + u32::from(key.role);
        if let Some(totals) = FOLD_OTHER.get_ptr_mut(place) {
            // SAFETY: this CPU's own slot.
            add(unsafe { &mut *totals }, conn);
        }
    }
    0
}

#[inline(always)]
fn totals_of<'a>(key: &FoldKey, conn: &Conn) -> Option<&'a mut FoldTotals> {
    if let Some(totals) = FOLD.get_ptr_mut(key) {
        // SAFETY: a slot of the map with this CPU as its only writer.
        return Some(unsafe { &mut *totals });
    }
    let empty = FOLD_EMPTY.get(0)?;
    FOLD.insert(key, empty, BPF_NOEXIST).ok()?;
    let totals = FOLD.get_ptr_mut(key)?;
    // SAFETY: as above.
    let totals = unsafe { &mut *totals };
    totals.comm = conn.comm;
    Some(totals)
}

#[inline(always)]
fn add(totals: &mut FoldTotals, conn: &Conn) {
    totals.records += 1;
    totals.exchanges += u64::from(conn.exchanges);
    totals.bytes_sent += conn.bytes_sent;
    totals.bytes_received += conn.bytes_received;
    totals.retransmits += u64::from(conn.retransmits);
    totals.busy_ns += conn.busy_ns;
    totals.time_wait += u64::from(conn.has(flag::TIME_WAIT));
    let why_failed = usize::from(conn.failed_by);
    let why_closed = usize::from(conn.closed_by);
    if conn.established_ns == 0 {
        if why_failed < failed_by::COUNT {
            totals.failed_by[why_failed] += 1;
        }
        return;
    }
    if why_closed < closed_by::COUNT {
        totals.closed_by[why_closed] += 1;
    }
    let end_was_seen = !conn.has(flag::END_UNSEEN);
    if end_was_seen && let Some(idle) = conn.idle_at_close_ns() {
        totals.idle_at_close.add(idle);
    }
    totals.unused += u64::from(conn.exchanges == 0);
    if conn.has(flag::ADOPTED) {
        totals.adopted += 1;
    } else {
        totals.opened += 1;
        if end_was_seen {
            totals.lifetime.add(conn.end_ns.saturating_sub(conn.established_ns));
        }
        totals.first_exchanges += u64::from(conn.exchanges != 0);
        let connect = conn.established_ns.saturating_sub(conn.start_ns);
        let is_client = conn.role == role::CLIENT;
        if is_client {
            totals.connect.add(connect);
        }
        if conn.first_answer_ns != 0 {
            totals.first.add(conn.first_turn_ns + if is_client { connect } else { 0 });
        }
    }
    if conn.reused.count != 0 {
        merge(&mut totals.reused, &conn.reused);
        merge(&mut totals.idle, &conn.idle);
    }
}

/// [`Dist::merge`] as a loop that the verifier can bound.
#[inline(always)]
fn merge(into: &mut Dist, from: &Dist) {
    into.sum += from.sum;
    into.count += from.count;
    if from.max > into.max {
        into.max = from.max;
    }
    for bucket in 0..redial_common::dist::BUCKETS {
        into.buckets[bucket] += from.buckets[bucket];
    }
}
