//! Receives: when a turn is answered for a client and begins for a server.
//!
//! Hooks: `tp_btf tcp_rcv_space_adjust`, `tracepoint tcp/tcp_rcv_space_adjust`
//!
//! The kernel calls it whenever bytes leave the receive queue, whoever takes them: `recv`, `splice`, io_uring, a
//! sockmap. A peek is told from a receive by `copied_seq`.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};

use super::{DONE, DONE_U32, word};
use crate::{
    conns,
    maps::NewConn,
    settings::setting,
    sock::{Bare, Known, Sock, Typed},
    turns,
};

/// `tcp_rcv_space_adjust(struct sock *sk)`
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub fn receive_tp_btf(ctx: BtfTracePointContext) -> i32 {
    received(Known(Typed(ctx.arg(0))));
    DONE
}

#[tracepoint(category = "tcp", name = "tcp_rcv_space_adjust")]
pub fn receive_tracepoint(ctx: TracePointContext) -> u32 {
    if setting!(offsets_known) != 0 {
        received(Known(Bare(word::<1>(&ctx))));
    }
    DONE_U32
}

#[inline(always)]
fn received<S: Sock>(sock: S) {
    if let Some(conn) = conns::with_data(sock, NewConn::Receive, false) {
        turns::received(sock, conn, conns::now());
    }
}
