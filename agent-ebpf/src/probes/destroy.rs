//! The end of a socket: a connection that is still known here had its end missed.
//!
//! Hooks: `tp_btf tcp_destroy_sock`, `tracepoint tcp/tcp_destroy_sock`

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};

use super::{DONE, DONE_U32, word};
use crate::{
    conns,
    settings::setting,
    sock::{Bare, Known, Typed},
};

/// `tcp_destroy_sock(struct sock *sk)`
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn destroy_tp_btf(ctx: BtfTracePointContext) -> i32 {
    conns::repair(Known(Typed(ctx.arg(0))));
    DONE
}

#[tracepoint(category = "tcp", name = "tcp_destroy_sock")]
pub fn destroy_tracepoint(ctx: TracePointContext) -> u32 {
    if setting!(offsets_known) != 0 {
        conns::repair(Known(Bare(word::<1>(&ctx))));
    }
    DONE_U32
}
