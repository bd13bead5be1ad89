//! Retransmits that nothing answers: the sign of a path that drops in silence.
//!
//! Hooks: `tp_btf tcp_retransmit_skb`, `tracepoint tcp/tcp_retransmit_skb`
//!
//! How many segments were sent again in all is read from the socket at its end; here only the run without progress.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};

use super::{DONE, DONE_U32, word};
use crate::{
    conns,
    settings::setting,
    sock::{Bare, Known, Sock, Typed},
};

/// `tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb, ...)`
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn retransmit_tp_btf(ctx: BtfTracePointContext) -> i32 {
    retransmitted(Known(Typed(ctx.arg(0))));
    DONE
}

#[tracepoint(category = "tcp", name = "tcp_retransmit_skb")]
pub fn retransmit_tracepoint(ctx: TracePointContext) -> u32 {
    if setting!(offsets_known) != 0 {
        retransmitted(Known(Bare(word::<2>(&ctx))));
    }
    DONE_U32
}

#[inline(always)]
fn retransmitted<S: Sock>(sock: S) {
    let Some(conn) = conns::get(sock.key()) else { return };
    let una = sock.snd_una();
    if una != conn.unanswered_una {
        conn.unanswered_una = una;
        conn.unanswered = 0;
    }
    conn.unanswered += 1;
}
