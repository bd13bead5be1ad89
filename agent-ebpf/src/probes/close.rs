//! Closing by the application.
//!
//! Hooks: `fentry tcp_close`, `kprobe tcp_close`
//!
//! Where neither is allowed, who closed is taken from the state change that our FIN or RST makes: it happens in the
//! closing process too.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use super::{DONE, DONE_U32};
use crate::{conns, owner};

/// `void tcp_close(struct sock *sk, long timeout)`
#[fentry(function = "tcp_close")]
pub fn close_fentry(ctx: FEntryContext) -> i32 {
    closing(ctx.arg(0));
    DONE
}

#[kprobe(function = "tcp_close")]
pub fn close_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sock) = ctx.arg(0) {
        closing(sock);
    }
    DONE_U32
}

#[inline(always)]
fn closing(sock: u64) {
    if let Some(conn) = conns::get(sock)
        && conn.closer_tgid == 0
    {
        conn.closer_tgid = owner::tgid();
    }
}
