//! The process that is running now, and whether the filters want it.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, generated::bpf_get_current_task};
use redial_common::{
    loss::Counter,
    record::conn::{COMM_LEN, Conn, flag},
};

use crate::{
    maps::{PIDS, count},
    settings::{offset, setting},
    sock::{Bare, Fields},
};

/// The current process.
#[inline(always)]
pub fn tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The name of the current process: its first thread's, as `ps` shows it, not the thread's own.
#[inline(always)]
fn comm(pid_tgid: u64) -> [u8; COMM_LEN] {
    let is_leader = pid_tgid as u32 == (pid_tgid >> 32) as u32;
    if is_leader || setting!(offsets_known) == 0 {
        return bpf_get_current_comm().unwrap_or([0; COMM_LEN]);
    }
    // SAFETY: the helper has no arguments.
    let task = Bare(unsafe { bpf_get_current_task() });
    task.follow(offset!(task_group_leader)).field::<[u8; COMM_LEN]>(offset!(task_comm))
}

/// Whether a thread of the kernel uses `conn` now: it acts for others and owns nothing. It can only be one of these
/// sockets.
#[inline(always)]
fn is_kernel_thread(conn: &Conn) -> bool {
    if conn.flags & (flag::KERNEL_SOCKET | flag::MPTCP | flag::USER_DATA) == 0 {
        return false;
    }
    const PF_KTHREAD: u32 = 0x0020_0000;
    // SAFETY: the helper has no arguments.
    let task = Bare(unsafe { bpf_get_current_task() });
    setting!(offsets_known) != 0 && task.field::<u32>(offset!(task_flags)) & PF_KTHREAD != 0
}

/// Takes the label of a kernel's socket off `conn` when a process uses it: children of a listener inherit it.
#[inline(always)]
pub fn clear_kernel_label(conn: &mut Conn) {
    if conn.has(flag::KERNEL_SOCKET) && !is_kernel_thread(conn) {
        conn.flags &= !flag::KERNEL_SOCKET;
    }
}

/// Makes the owner of `other` the owner of `conn` too.
#[inline(always)]
pub fn copy(conn: &mut Conn, other: &Conn) {
    conn.tgid = other.tgid;
    conn.comm = other.comm;
    conn.acceptor_tgid = other.acceptor_tgid;
}

/// Makes the current process the owner of `conn`, unless it is left out: then says so and counts it.
#[inline(always)]
pub fn claim(conn: &mut Conn) -> bool {
    if is_kernel_thread(conn) {
        return true;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    if is_own(tgid) {
        return false;
    }
    let comm = comm(pid_tgid);
    if !wants(tgid, &comm) {
        count(Counter::Filtered);
        return false;
    }
    conn.tgid = tgid;
    conn.comm = comm;
    true
}

/// Makes the current process the owner of `conn`, which several hold, if the filters want it.
#[inline(always)]
pub fn take_over(conn: &mut Conn) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let comm = comm(pid_tgid);
    if !is_kernel_thread(conn) && wants(tgid, &comm) {
        conn.tgid = tgid;
        conn.comm = comm;
        conn.flags &= !flag::SHARED;
    }
}

/// Notes that the current process accepted `conn`, unless it is left out: then says so and counts it.
#[inline(always)]
pub fn accept(conn: &mut Conn) -> bool {
    if is_kernel_thread(conn) {
        return true;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    if is_own(tgid) {
        return false;
    }
    conn.acceptor_tgid = tgid;
    // A listener of the kernel's making hands its label down to sockets that processes accept.
    conn.flags &= !flag::KERNEL_SOCKET;
    // The name is wanted only if nobody uses the connection before it ends, and user space knows it then; a filter by
    // name cannot wait for that.
    if conn.tgid == 0 && setting!(comm)[0] != 0 {
        conn.comm = comm(pid_tgid);
    }
    true
}

/// Notes that a process holds `conn`, which is older than the agent, unless it is the agent's own: then says so and
/// counts it. A process that the filters do not want is no holder; another may be.
#[inline(always)]
pub fn holds(conn: &mut Conn, tgid: u32, comm: &[u8; COMM_LEN]) -> bool {
    if conn.flags & (flag::ADOPTED | flag::CONNECTING_AT_START) == 0 {
        return true;
    }
    if is_own(tgid) {
        return false;
    }
    if conn.tgid == tgid || !wants(tgid, comm) {
        return true;
    }
    if conn.tgid == 0 {
        conn.tgid = tgid;
        conn.comm = *comm;
    } else {
        conn.flags |= flag::SHARED;
    }
    true
}

#[inline(always)]
fn is_own(tgid: u32) -> bool {
    let own = tgid == setting!(own_tgid);
    if own {
        count(Counter::Own);
    }
    own
}

/// Whether the filters by process let a process through.
#[inline(always)]
pub fn wants(tgid: u32, comm: &[u8; COMM_LEN]) -> bool {
    if setting!(by_pid) != 0 && PIDS.get_ptr(tgid).is_none() {
        return false;
    }
    let wanted = setting!(comm);
    wanted[0] == 0 || u128::from_ne_bytes(wanted) == u128::from_ne_bytes(*comm)
}
