//! Which process accepted a connection, also before or without any data.
//!
//! Hooks: `fexit inet_accept`, `fexit mptcp_stream_accept`, `kprobe inet_accept`, `kretprobe inet_accept`,
//! `tracepoint syscalls/sys_exit_accept4`, `tracepoint syscalls/sys_exit_accept`
//!
//! A connection may be taken from the listener's queue while it is still SYN-RECEIVED and not followed yet. These
//! functions then wait for the new socket's lock, so that it is ESTABLISHED when they return. The system calls'
//! tracepoints see no accept by io_uring, and cost every system call of the host a little: they are the last choice.

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel, generated::bpf_get_current_task_btf},
    macros::{fexit, kprobe, kretprobe, tracepoint},
    programs::{FExitContext, ProbeContext, RetProbeContext, TracePointContext},
};

use super::{DONE, DONE_U32, syscall_result};
use crate::{
    conns,
    maps::{keep_call, take_call},
    owner,
    settings::offset,
    sock::{Bare, Fields, Known, Sock as _, Typed},
};

/// `int inet_accept(struct socket *sock, struct socket *newsock, ...)`
#[fexit(function = "inet_accept")]
pub fn accept_fexit(ctx: FExitContext) -> i32 {
    into_socket(Typed(ctx.arg(1)));
    DONE
}

/// `int mptcp_stream_accept(struct socket *sock, struct socket *newsock, ...)`: since 6.3 it does without the other.
#[fexit(function = "mptcp_stream_accept")]
pub fn accept_mptcp_fexit(ctx: FExitContext) -> i32 {
    into_socket(Typed(ctx.arg(1)));
    DONE
}

#[kprobe(function = "inet_accept")]
pub fn accept_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(socket) = ctx.arg::<u64>(1) {
        keep_call([socket, 0]);
    }
    DONE_U32
}

#[kretprobe(function = "inet_accept")]
pub fn accept_kretprobe(_: RetProbeContext) -> u32 {
    if let Some([socket, _]) = take_call() {
        into_socket(Bare(socket));
    }
    DONE_U32
}

/// A call that accepts into `socket` returns.
#[inline(always)]
fn into_socket<F: Fields>(socket: F) {
    let sock: u64 = socket.field(offset!(socket_sk));
    // It has none when the call failed.
    if sock != 0 {
        accepted_by_descriptor(sock);
    }
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

#[inline(always)]
fn accepted_by_descriptor(sock: u64) {
    followed(sock).into_iter().for_each(accepted);
}

/// The socket that is followed for a descriptor's. Few are MPTCP's, which are not followed themselves.
#[inline(always)]
pub fn followed(sock: u64) -> Option<u64> {
    if conns::get(sock).is_some() { Some(sock) } else { Known(Bare(sock)).first_subflow() }
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
