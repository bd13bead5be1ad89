//! The only place that sends: into the ring, or into the fold when the ring is full.

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ringbuf_output};
use redial_common::{
    edge::{FOLD_NESTED, FoldKey, FoldTotals, fold_other_place},
    loss::Counter,
    record::conn::{Conn, HEAD_LEN},
};

use crate::maps::{FOLD, FOLD_EMPTY, FOLD_OTHER, FOLDING, GENERATION, RECORDS, count};

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
    let Some(depth) = FOLDING.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's own slot; who interrupts puts it back before this goes on.
    let is_nested = unsafe {
        *depth += 1;
        *depth > 1
    };
    // SAFETY: the helper has no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u16;
    let generation = GENERATION.get(0).copied().unwrap_or(0) as u8;
    let key = FoldKey::of(conn, cpu | if is_nested { FOLD_NESTED } else { 0 }, generation);
    if let Some(totals) = totals_of(&key, conn) {
        totals.add(conn);
    } else {
        count(Counter::FoldedOther);
        if let Some(totals) = FOLD_OTHER.get_ptr_mut(fold_other_place(generation, is_nested, conn.role)) {
            // SAFETY: this CPU's own slot, and this depth's.
            unsafe { (*totals).add(conn) };
        }
    }
    // SAFETY: as above.
    unsafe { *depth -= 1 };
    0
}

#[inline(always)]
fn totals_of<'a>(key: &FoldKey, conn: &Conn) -> Option<&'a mut FoldTotals> {
    if let Some(totals) = FOLD.get_ptr_mut(key) {
        // SAFETY: a slot of the map with one writer, which its key names.
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
