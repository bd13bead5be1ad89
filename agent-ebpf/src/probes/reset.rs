//! Resets, received and sent.
//!
//! Hooks: `tp_btf tcp_receive_reset`, `tp_btf tcp_send_reset`, `tracepoint tcp/tcp_receive_reset`
//!
//! Who reset first is told by the state changes; these mark a reset on a connection that was closing already.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use redial_common::record::conn::flag;

use super::{DONE, DONE_U32, word};
use crate::conns;

/// `tcp_receive_reset(struct sock *sk)`
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn receive_reset_tp_btf(ctx: BtfTracePointContext) -> i32 {
    mark(ctx.arg(0), flag::RESET_RECEIVED);
    DONE
}

/// `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb, ...)`; `sk` may be null.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn send_reset_tp_btf(ctx: BtfTracePointContext) -> i32 {
    mark(ctx.arg(0), flag::RESET_SENT);
    DONE
}

#[tracepoint(category = "tcp", name = "tcp_receive_reset")]
pub fn receive_reset_tracepoint(ctx: TracePointContext) -> u32 {
    mark(word::<1>(&ctx), flag::RESET_RECEIVED);
    DONE_U32
}

#[inline(always)]
fn mark(sock: u64, bit: u32) {
    if let Some(conn) = conns::get(sock) {
        conn.flags |= bit;
    }
}
