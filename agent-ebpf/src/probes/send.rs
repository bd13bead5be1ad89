//! Sends: when a turn begins for a client and is answered by a server.
//!
//! Hooks: `tp_btf sock_send_length`, `fentry tcp_sendmsg`, `kprobe tcp_sendmsg`
//!
//! The tracepoint fires when the call returns and covers `sendfile`, `splice` and io_uring; the function's entry, on
//! kernels before 6.3, comes before the bytes are written and misses `sendfile`. A send that is missed still counts as
//! an exchange, by `write_seq`, but gives no response time.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, kprobe},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext},
};

use super::{DONE, DONE_U32};
use crate::{
    conns,
    maps::NewConn,
    sock::{Bare, Known, Sock, Typed},
    turns,
};

/// `sock_send_length(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_send_length")]
pub fn send_tp_btf(ctx: BtfTracePointContext) -> i32 {
    let sock = Known(Typed(ctx.arg(0)));
    if ctx.arg::<i32>(1) <= 0 {
        return DONE;
    }
    if !sock.is_tcp() {
        if let Some(first) = sock.first_subflow() {
            conns::claim(first);
        }
    } else if let Some(conn) = conns::with_data(sock, NewConn::Send, true) {
        turns::sent(sock, conn);
    }
    DONE
}

/// `int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)`
#[fentry(function = "tcp_sendmsg")]
pub fn send_fentry(ctx: FEntryContext) -> i32 {
    if ctx.arg::<u64>(2) != 0 {
        entered(Known(Typed(ctx.arg(0))));
    }
    DONE
}

#[kprobe(function = "tcp_sendmsg")]
pub fn send_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(sock), Some(size)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(2))
        && size != 0
    {
        entered(Known(Bare(sock)));
    }
    DONE_U32
}

#[inline(always)]
fn entered<S: Sock>(sock: S) {
    if sock.is_tcp()
        && let Some(conn) = conns::with_data(sock, NewConn::Send, true)
    {
        turns::sending(conn, conns::now());
    }
}
