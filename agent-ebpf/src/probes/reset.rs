//! Resets on connections that were closing already.
//!
//! Hooks: `tp_btf tcp_receive_reset`, `tp_btf tcp_send_reset`, `tracepoint tcp/tcp_receive_reset`
//!
//! A reset of an established connection is told by its state change: here it costs no more than a look at its state.
//! So is one that we send after the peer's FIN.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use redial_common::{record::conn::flag, tcp::state};

use super::{DONE, DONE_U32, word};
use crate::{
    conns,
    settings::setting,
    sock::{Bare, Known, Sock, Typed},
};

/// `tcp_receive_reset(struct sock *sk)`
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn receive_reset_tp_btf(ctx: BtfTracePointContext) -> i32 {
    reset(Known(Typed(ctx.arg(0))));
    DONE
}

/// `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb, ...)`; `sk` may be null.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn send_reset_tp_btf(ctx: BtfTracePointContext) -> i32 {
    let sock: *const u8 = ctx.arg(0);
    if !sock.is_null() {
        reset(Known(Typed(sock)));
    }
    DONE
}

#[tracepoint(category = "tcp", name = "tcp_receive_reset")]
pub fn receive_reset_tracepoint(ctx: TracePointContext) -> u32 {
    if setting!(offsets_known) != 0 {
        reset(Known(Bare(word::<1>(&ctx))));
    }
    DONE_U32
}

#[inline(always)]
fn reset<S: Sock>(sock: S) {
    let is_closing = matches!(
        sock.state(),
        state::FIN_WAIT1 | state::FIN_WAIT2 | state::CLOSE_WAIT | state::CLOSING | state::LAST_ACK
    );
    if is_closing && let Some(conn) = conns::get(sock.key()) {
        conn.flags |= flag::RESET_AFTER_FIN;
    }
}
