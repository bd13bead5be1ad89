//! The maps: live connections, the ring of records, the fold for when it is full, and counters.

use core::arch::asm;

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use redial_common::{
    edge::{FOLD_OTHER_PLACES, FoldKey, FoldTotals},
    limits,
    loss::Counter,
    record::{conn::Conn, process::Process},
};

use crate::settings::setting;

/// Live connections by the address of their socket, in places allocated as they are needed.
#[map]
static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(limits::CONNS, BPF_F_NO_PREALLOC);

/// The same in places made beforehand, for kernels whose programs must not allocate; of the two only one is in use.
#[map]
static CONNS_PREALLOCATED: HashMap<u64, Conn> = HashMap::with_max_entries(limits::CONNS_PREALLOCATED, 0);

/// The map of live connections.
#[inline(always)]
pub fn conns() -> &'static HashMap<u64, Conn> {
    if setting!(preallocated) != 0 { &CONNS_PREALLOCATED } else { &CONNS }
}

/// Records for user space.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(limits::RING_BYTES, 0);

/// Totals of the connections whose record found no room in the ring.
#[map]
pub static FOLD: HashMap<FoldKey, FoldTotals> = HashMap::with_max_entries(limits::FOLD, 0);

/// What new entries of the fold are made from; always zero.
#[map]
pub static FOLD_EMPTY: PerCpuArray<FoldTotals> = PerCpuArray::with_max_entries(1, 0);

/// Totals of the connections that the fold had no room for, by generation, depth and role.
#[map]
pub static FOLD_OTHER: PerCpuArray<FoldTotals> = PerCpuArray::with_max_entries(FOLD_OTHER_PLACES, 0);

/// How many programs are folding on this CPU: a softirq may interrupt one in a process.
#[map]
pub static FOLDING: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Which generation of the fold is written now (0 or 1); user space turns it.
#[map]
pub static GENERATION: Array<u32> = Array::with_max_entries(1, 0);

/// Until when sends and receives were not watched, ns of CLOCK_MONOTONIC; `u64::MAX` while they are not. User space
/// writes it.
#[map]
pub static UNWATCHED_UNTIL: Array<u64> = Array::with_max_entries(1, 0);

/// The number of the pass over all sockets that is under way, with or without [`PASS_ADOPTS`]; user space writes it.
///
/// [`PASS_ADOPTS`]: redial_common::record::conn::PASS_ADOPTS
#[map]
pub static PASS: Array<u32> = Array::with_max_entries(1, 0);

/// Counters by [`Counter`].
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

/// Where new connections are put together, one place per kind of program that may do so; too large for the stack.
#[map]
pub static NEW_CONN: PerCpuArray<Conn> = PerCpuArray::with_max_entries(NewConn::COUNT, 0);

/// Where events of a process's life are put together.
#[map]
pub static NEW_PROCESS: PerCpuArray<Process> = PerCpuArray::with_max_entries(1, 0);

/// What was given to the kernel's function that a thread is inside of, by thread. The oldest give way: a return that
/// the kernel did not tell leaves one behind.
#[map]
static CALLS: LruHashMap<u64, [u64; 2]> = LruHashMap::with_max_entries(limits::CALLS, 0);

/// Keeps what a function is given: the registers are other ones when it returns. Without room, the call is not seen.
#[inline(always)]
pub fn keep_call(given: [u64; 2]) {
    let _ = CALLS.insert(bpf_get_current_pid_tgid(), given, 0);
}

/// What the function that returns now was given.
#[inline(always)]
pub fn take_call() -> Option<[u64; 2]> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: a slot that only this thread writes.
    let given = unsafe { *CALLS.get_ptr(thread)? };
    let _ = CALLS.remove(thread);
    Some(given)
}

/// The processes that the filter lets through.
#[map]
pub static PIDS: HashMap<u32, u8> = HashMap::with_max_entries(limits::PIDS, 0);

/// The programs that make connections. A softirq may interrupt what runs in a process on the same CPU, never another
/// softirq; hence a place for each, though state changes alone are one program.
#[derive(Clone, Copy)]
pub enum NewConn {
    /// State changes in the process that connects.
    Connecting = 0,
    /// State changes of a listener's children, in an interrupt, perhaps of the other.
    FromListener = 1,
    /// Sends.
    Send = 2,
    /// Receives.
    Receive = 3,
    /// Attempts that fail before a SYN.
    Early = 4,
    /// The pass over the sockets that exist.
    Existing = 5,
}

impl NewConn {
    /// How many there are.
    pub const COUNT: u32 = 6;
}

/// Adds one to a counter of this CPU; atomic, because a softirq may interrupt it here.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: an aligned slot of the map. An instruction, since the target's `AtomicU64` cannot add.
        unsafe { asm!("lock *(u64 *)({slot} + 0) += {one}", slot = in(reg) value, one = in(reg) 1_u64) };
    }
}
