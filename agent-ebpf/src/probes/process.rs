//! Fork, exec and exit: a process that lived for a millisecond has its name.
//!
//! Hooks: `tp_btf sched_process_fork`, `tp_btf sched_process_exec`, `tp_btf sched_process_exit`,
//! `tracepoint sched/sched_process_exec`, `tracepoint sched/sched_process_exit`

use aya_ebpf::{
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_probe_read_kernel_str_bytes,
        generated::bpf_get_current_cgroup_id,
    },
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use redial_common::{
    loss::Counter,
    record::{
        Kind,
        conn::COMM_LEN,
        process::{HEAD_LEN, Process, event},
    },
};

use super::{DONE, DONE_U32};
use crate::{
    conns::now,
    emit,
    maps::{NEW_PROCESS, count},
    settings::offset,
    sock::{Fields, Typed},
};

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
#[btf_tracepoint(function = "sched_process_fork")]
pub fn fork_tp_btf(ctx: BtfTracePointContext) -> i32 {
    let (parent, child) = (Typed(ctx.arg(0)), Typed(ctx.arg(1)));
    let tgid: u32 = child.field(offset!(task_tgid));
    if child.field::<u32>(offset!(task_pid)) == tgid {
        // Words, for the verifier allows no wider read through a typed pointer.
        let words: [u64; 2] = [child.field(offset!(task_comm)), child.field(offset!(task_comm) + 8)];
        let mut comm = [0; COMM_LEN];
        crate::sock::put16(&mut comm, words);
        send(event::FORK, tgid, parent.field(offset!(task_tgid)), comm, None);
    }
    DONE
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[btf_tracepoint(function = "sched_process_exec")]
pub fn exec_tp_btf(ctx: BtfTracePointContext) -> i32 {
    let path: u64 = Typed(ctx.arg(2)).field(offset!(binprm_filename));
    current(event::EXEC, Some(path));
    DONE
}

/// `sched_process_exit(struct task_struct *p, ...)`
#[btf_tracepoint(function = "sched_process_exit")]
pub fn exit_tp_btf(_: BtfTracePointContext) -> i32 {
    current(event::EXIT, None);
    DONE
}

#[tracepoint(category = "sched", name = "sched_process_exec")]
pub fn exec_tracepoint(_: TracePointContext) -> u32 {
    current(event::EXEC, None);
    DONE_U32
}

#[tracepoint(category = "sched", name = "sched_process_exit")]
pub fn exit_tracepoint(_: TracePointContext) -> u32 {
    current(event::EXIT, None);
    DONE_U32
}

/// Sends what happened to the current process; nothing for threads other than its first.
#[inline(always)]
fn current(event: u32, path: Option<u64>) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    if pid_tgid as u32 == tgid {
        send(event, tgid, 0, bpf_get_current_comm().unwrap_or([0; COMM_LEN]), path);
    }
}

#[inline(always)]
fn send(event: u32, tgid: u32, parent: u32, comm: [u8; COMM_LEN], path: Option<u64>) {
    let Some(record) = NEW_PROCESS.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own place: forks, execs and exits happen in processes, and none takes the CPU from another
    // while a tracepoint's programs run.
    let record = unsafe { &mut *record };
    record.kind = Kind::Process as u32;
    record.event = event;
    record.at_ns = now();
    record.tgid = tgid;
    record.parent = parent;
    // SAFETY: the helper has no arguments. A fork's child is in the group of the process that forks, unless it was made
    // with CLONE_INTO_CGROUP: then its exec tells.
    record.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    record.comm = comm;
    let sent = if let Some(path) = path {
        // SAFETY: the helper checks the address and ends the text with a zero.
        if unsafe { bpf_probe_read_kernel_str_bytes(path as *const u8, &mut record.path) }.is_err() {
            record.path[0] = 0;
        }
        emit::output(record, size_of::<Process>())
    } else {
        emit::output(record, HEAD_LEN)
    };
    if !sent {
        count(Counter::ProcessLost);
    }
}
