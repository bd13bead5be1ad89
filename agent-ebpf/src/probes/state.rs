//! State changes: the backbone, from which every connection's beginning and end is known.
//!
//! Hooks: `tp_btf inet_sock_set_state`, `tracepoint sock/inet_sock_set_state`

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use redial_common::{
    record::conn::Conn,
    tcp::{family, role},
};

use super::{DONE, DONE_U32};
use crate::{
    conns::{self, now},
    settings::setting,
    sock::{Bare, Known, Sock, Typed, put4, put16},
};

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn state_tp_btf(ctx: BtfTracePointContext) -> i32 {
    let sock = Known(Typed(ctx.arg(0)));
    if sock.is_tcp() {
        conns::on_state(sock, ctx.arg::<u32>(1) as u8, ctx.arg::<u32>(2) as u8);
    }
    DONE
}

#[tracepoint(category = "sock", name = "inet_sock_set_state")]
pub fn state_tracepoint(ctx: TracePointContext) -> u32 {
    let Some(event) = Event::read(&ctx) else { return DONE_U32 };
    if !event.is_tcp() {
        return DONE_U32;
    }
    let (old, new) = (event.old as u8, event.new as u8);
    if setting!(offsets_known) != 0 {
        conns::on_state(Known(Bare(event.sock)), old, new);
    } else {
        conns::on_state(event, old, new);
    }
    DONE_U32
}

/// The tracepoint's own fields (`events/sock/inet_sock_set_state/format`, the same since 5.6): all that is known of a
/// socket on a kernel without BTF.
#[repr(C)]
#[derive(Clone, Copy)]
struct Event {
    sock: u64,
    old: u32,
    new: u32,
    local_port: u16,
    remote_port: u16,
    family: u16,
    protocol: u16,
    local: u32,
    remote: u32,
    local_v6: [u64; 2],
    remote_v6: [u64; 2],
}

/// Where the fields begin, behind those that all tracepoints have.
const FIELDS: usize = 8;

impl Event {
    #[inline(always)]
    fn read(ctx: &TracePointContext) -> Option<Self> {
        // SAFETY: the format above; the kernel checks the read.
        unsafe { ctx.read_at(FIELDS) }.ok()
    }
}

impl Sock for Event {
    fn key(self) -> u64 {
        self.sock
    }

    fn is_tcp(self) -> bool {
        self.protocol == 6
    }

    fn first_subflow(self) -> Option<u64> {
        None
    }

    fn sibling(self) -> Option<u64> {
        None
    }

    fn state(self) -> u8 {
        self.new as u8
    }

    fn netns(self) -> u32 {
        0
    }

    fn write_tuple(self, conn: &mut Conn) {
        if self.remote_port != 0 {
            conn.remote_port = self.remote_port;
        }
        if self.local_port != 0 {
            conn.local_port = self.local_port;
        }
        // For IPv4 and for IPv4 mapped into IPv6 the tracepoint fills the short fields too.
        if self.family == u16::from(family::INET) || self.remote != 0 {
            conn.family = family::INET;
            put4(&mut conn.local, self.local);
            put4(&mut conn.remote, self.remote);
        } else {
            conn.family = family::INET6;
            put16(&mut conn.local, self.local_v6);
            put16(&mut conn.remote, self.remote_v6);
        }
    }

    fn ports(self) -> (u16, u16) {
        (self.local_port, self.remote_port)
    }

    fn source_port(self) -> u16 {
        self.local_port
    }

    fn error(self) -> u32 {
        0
    }

    fn seqs(self) -> Option<(u32, u32)> {
        None
    }

    fn packet_ns(self, _: u64) -> u64 {
        now()
    }

    fn sent_ns(self, _: u32) -> u64 {
        now()
    }

    fn snd_una(self) -> u32 {
        0
    }

    fn has_unread(self) -> bool {
        false
    }

    fn fin_received(self) -> bool {
        false
    }

    fn is_held(self) -> bool {
        true
    }

    fn is_indirect(self) -> bool {
        false
    }

    fn user_data_label(self) -> u32 {
        0
    }

    fn early_labels(self) -> u32 {
        0
    }

    fn write_base(self, _: &mut Conn) {}

    fn role_by_bytes(self, _: u8) -> u8 {
        role::UNKNOWN
    }

    fn fin_was_acknowledged(self, _: bool) -> bool {
        false
    }

    fn is_v6_only(self) -> bool {
        false
    }

    fn write_established(self, _: &mut Conn) {}

    fn write_facts(self, _: &mut Conn) {}
}
