//! Which process accepted a connection, also before or without any data.
//!
//! Hooks: `fexit inet_csk_accept`, `fexit inet_accept`, `kretprobe inet_csk_accept`, `tracepoint syscalls/sys_exit_accept4`,
//! `tracepoint syscalls/sys_exit_accept`
//!
//! The system calls' tracepoints see no accept by io_uring, and cost every system call of the host a little: they are
//! the last choice.

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel, generated::bpf_get_current_task_btf},
    macros::{fexit, kretprobe, tracepoint},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};

use super::{DONE, DONE_U32, syscall_result};
use crate::{
    conns, owner,
    settings::offset,
    sock::{Bare, Fields, Known, Sock as _, Typed},
};

/// `struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)`: since 6.10. The result stands behind
/// the arguments, and the verifier wants its place as a constant.
#[fexit(function = "inet_csk_accept")]
pub fn accept_fexit(ctx: FExitContext) -> i32 {
    accepted(ctx.arg(2));
    DONE
}

/// `int inet_accept(struct socket *sock, struct socket *newsock, int flags, bool kern)`: before 6.10. It has waited for
/// the new socket's lock, so that the connection is ESTABLISHED by now.
#[fexit(function = "inet_accept")]
pub fn accept_fexit_four(ctx: FExitContext) -> i32 {
    let sock: u64 = Typed(ctx.arg(1)).field(offset!(socket_sk));
    if sock != 0 {
        accepted_by_descriptor(sock);
    }
    DONE
}

#[kretprobe(function = "inet_csk_accept")]
pub fn accept_kretprobe(ctx: RetProbeContext) -> u32 {
    accepted(ctx.ret());
    DONE_U32
}

#[tracepoint(category = "syscalls", name = "sys_exit_accept4")]
pub fn accept4_tracepoint(ctx: TracePointContext) -> u32 {
    returned(&ctx);
    DONE_U32
}

#[tracepoint(category = "syscalls", name = "sys_exit_accept")]
pub fn accept_tracepoint(ctx: TracePointContext) -> u32 {
    returned(&ctx);
    DONE_U32
}

#[inline(always)]
fn returned(ctx: &TracePointContext) {
    let fd = syscall_result(ctx);
    if fd >= 0
        && let Some(sock) = socket_of(fd as u64)
    {
        accepted_by_descriptor(sock);
    }
}

/// Few are MPTCP's, whose descriptor's socket is none that is followed.
#[inline(always)]
fn accepted_by_descriptor(sock: u64) {
    let followed = if conns::get(sock).is_some() { Some(sock) } else { Known(Bare(sock)).first_subflow() };
    followed.into_iter().for_each(accepted);
}

/// The address of the socket behind one of the current process's descriptors.
#[inline(always)]
pub fn socket_of(fd: u64) -> Option<u64> {
    // SAFETY: the helper has no arguments.
    let task = Typed(unsafe { bpf_get_current_task_btf() }.cast_const().cast());
    let table = task.follow(offset!(task_files)).follow(offset!(files_fdt));
    if fd >= u64::from(table.field::<u32>(offset!(fdt_max_fds))) {
        return None;
    }
    let files: u64 = table.field(offset!(fdt_fd));
    // SAFETY: the helper checks the address.
    let file = unsafe { bpf_probe_read_kernel((files + fd * 8) as *const u64) }.ok()?;
    let socket: u64 = Bare(file).field(offset!(file_private_data));
    Some(Bare(socket).field(offset!(socket_sk)))
}

#[inline(always)]
fn accepted(sock: u64) {
    if let Some(conn) = conns::get(sock)
        && !owner::accept(conn)
    {
        conns::remove(sock);
    }
}
