//! The only reads of the kernel's socket structures.

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_skc_to_tcp_sock};
use redial_common::{
    record::conn::{Conn, flag},
    tcp::{family, role, state},
};

use crate::{
    conns::now,
    settings::{known, offset},
};

const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;
/// Bits of `sk_flags` (`enum sock_flags`): no kernel since 2.6 has moved them.
const SOCK_DONE: u64 = 1 << 1;
const SOCK_KEEPOPEN: u64 = 1 << 3;

/// A pointer into a kernel structure, by whichever way the program's type allows to follow it.
pub trait Fields: Copy {
    /// Reads a field; 0 where the memory cannot be read.
    fn field<T: Copy + Default>(self, offset: u32) -> T;
    /// Follows a pointer field.
    fn follow(self, offset: u32) -> Self;
    /// The address.
    fn address(self) -> u64;
    /// The same socket as a `tcp_sock`.
    fn as_tcp(self) -> Option<Self>;
}

/// A pointer whose type the verifier knows: tp_btf, fentry and fexit arguments are read directly.
#[derive(Clone, Copy)]
pub struct Typed(pub *const u8);

impl Fields for Typed {
    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: the verifier checks the access against the type; a fault reads as zero.
        unsafe { self.0.add(offset as usize).cast::<T>().read_volatile() }
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        // SAFETY: as in `field`.
        Self(unsafe { self.0.add(offset as usize).cast::<*const u8>().read_volatile() })
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn as_tcp(self) -> Option<Self> {
        // SAFETY: the helper takes any socket pointer and returns null when it is no TCP socket.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.0.cast_mut().cast()) };
        if tcp.is_null() { None } else { Some(Self(tcp.cast_const().cast())) }
    }
}

/// A bare address: kprobe and tracepoint arguments are read by a helper.
#[derive(Clone, Copy)]
pub struct Bare(pub u64);

impl Fields for Bare {
    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: the helper checks the address and fails rather than fault.
        unsafe { bpf_probe_read_kernel((self.0 + u64::from(offset)) as *const T) }.unwrap_or_default()
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        Self(self.field(offset))
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn as_tcp(self) -> Option<Self> {
        Some(self)
    }
}

/// What the programs ask of a socket.
pub trait Sock: Copy {
    /// What identifies the socket while it lives: its address.
    fn key(self) -> u64;
    /// Whether it speaks TCP (an MPTCP socket does not; its subflows do).
    fn is_tcp(self) -> bool;
    /// The subflow that an MPTCP socket began with; `None` for other sockets.
    fn first_subflow(self) -> Option<u64>;
    /// The first subflow of the connection that this further subflow belongs to.
    fn sibling(self) -> Option<u64>;
    /// The state it is in.
    fn state(self) -> u8;
    /// Inode number of its network namespace, 0 when not known.
    fn netns(self) -> u32;
    /// Writes family, addresses and ports, and never overwrites one with nothing.
    fn write_tuple(self, conn: &mut Conn);
    /// The local and the remote port; 0 for one that it has not, or no more.
    fn ports(self) -> (u16, u16);
    /// The local port of an attempt that is over: the socket is unbound by then, its source port stays.
    fn source_port(self) -> u16;
    /// The pending error as a positive number.
    fn error(self) -> u32;
    /// `write_seq` and `copied_seq`.
    fn seqs(self) -> Option<(u32, u32)>;
    /// When the packet that is worked on now came, or the clock's time where the socket keeps an older one than
    /// `not_before`: ns of CLOCK_MONOTONIC. For state changes that a packet makes.
    fn packet_ns(self, not_before: u64) -> u64;
    /// When the last of what was written, up to the sequence number `written`, went out; the clock's time while some of
    /// it waits. For the return of a send.
    fn sent_ns(self, written: u32) -> u64;
    /// `snd_una`.
    fn snd_una(self) -> u32;
    /// Whether payload waits to be read.
    fn has_unread(self) -> bool;
    /// Whether the peer's FIN was received.
    fn fin_received(self) -> bool;
    /// Whether a process holds the socket: false until it is accepted and after the last close.
    fn is_held(self) -> bool;
    /// Whether data pass through another kernel part, so that the current process says nothing about the owner.
    fn is_indirect(self) -> bool;
    /// The label that another kernel part may put on a socket, and take off again, at any time.
    fn user_data_label(self) -> u32;
    /// Labels that are known before the connection is established.
    fn early_labels(self) -> u32;
    /// Writes what is known once it is: labels, and the sequence numbers that turns are counted from.
    fn write_established(self, conn: &mut Conn);
    /// Writes the counts that a connection older than the agent begins with, which its end takes off.
    fn write_base(self, conn: &mut Conn);
    /// The role in a connection that is in `state`, from the kernel's counts alone; unknown where they do not tell.
    fn role_by_bytes(self, state: u8) -> u8;
    /// Whether our FIN was acknowledged, from the kernel's counts alone. `syn_was`: our SYN was.
    fn fin_was_acknowledged(self, syn_was: bool) -> bool;
    /// Whether it takes no IPv4 (IPV6_V6ONLY).
    fn is_v6_only(self) -> bool;
    /// Writes byte counts, retransmits, round-trip times, keepalive and what labels have come since.
    fn write_facts(self, conn: &mut Conn);
}

/// A socket whose field offsets are known.
#[derive(Clone, Copy)]
pub struct Known<F>(pub F);

impl<F: Fields> Known<F> {
    #[inline(always)]
    fn bit(self, bit: redial_common::offsets::Bit) -> bool {
        known(bit.byte) && self.0.field::<u8>(bit.byte) & bit.mask as u8 != 0
    }

    /// Labels that only a `tcp_sock` tells.
    #[inline(always)]
    fn tcp_labels(self) -> u32 {
        let mut labels = 0;
        if self.bit(offset!(tcp_is_mptcp)) {
            labels |= flag::MPTCP;
        }
        if self.bit(offset!(tcp_syn_fastopen))
            || self.bit(offset!(tcp_syn_data))
            || self.bit(offset!(tcp_syn_data_acked))
        {
            labels |= flag::FAST_OPEN;
        }
        // MPTCP is itself one of these protocols.
        if labels & flag::MPTCP == 0 && self.0.field::<u64>(offset!(icsk_ulp_ops)) != 0 {
            labels |= flag::ULP;
        }
        labels
    }

    #[inline(always)]
    fn address_at(self, offset: u32) -> [u64; 2] {
        [self.0.field(offset), self.0.field(offset + 8)]
    }
}

impl<F: Fields> Sock for Known<F> {
    #[inline(always)]
    fn key(self) -> u64 {
        self.0.address()
    }

    #[inline(always)]
    fn is_tcp(self) -> bool {
        self.0.field::<u16>(offset!(sock_protocol)) == IPPROTO_TCP
    }

    #[inline(always)]
    fn first_subflow(self) -> Option<u64> {
        (self.0.field::<u16>(offset!(sock_protocol)) == IPPROTO_MPTCP && known(offset!(mptcp_first)))
            .then(|| Bare(self.0.address()).field(offset!(mptcp_first)))
    }

    #[inline(always)]
    fn sibling(self) -> Option<u64> {
        if !known(offset!(mptcp_first)) || !known(offset!(subflow_conn)) {
            return None;
        }
        let tcp = Bare(self.0.address());
        if !Known(tcp).bit(offset!(tcp_is_mptcp)) {
            return None;
        }
        Some(tcp.follow(offset!(icsk_ulp_data)).follow(offset!(subflow_conn)).field(offset!(mptcp_first)))
    }

    #[inline(always)]
    fn state(self) -> u8 {
        self.0.field(offset!(sock_state))
    }

    #[inline(always)]
    fn netns(self) -> u32 {
        self.0.follow(offset!(sock_net)).field(offset!(net_inum))
    }

    #[inline(always)]
    fn write_tuple(self, conn: &mut Conn) {
        let sock = self.0;
        let (local_port, remote_port) = self.ports();
        if remote_port != 0 {
            conn.remote_port = remote_port;
        }
        if local_port != 0 {
            conn.local_port = local_port;
        }
        let (local, remote) = if sock.field::<u16>(offset!(sock_family)) == u16::from(family::INET) {
            ([0, sock.field::<u32>(offset!(sock_rcv_saddr))], [0, sock.field::<u32>(offset!(sock_daddr))])
        } else {
            let local = self.address_at(offset!(sock_v6_rcv_saddr));
            let remote = self.address_at(offset!(sock_v6_daddr));
            if is_v4_mapped(remote) {
                ([0, (local[1] >> 32) as u32], [0, (remote[1] >> 32) as u32])
            } else {
                conn.family = family::INET6;
                put16(&mut conn.local, local);
                put16(&mut conn.remote, remote);
                return;
            }
        };
        conn.family = family::INET;
        put4(&mut conn.local, local[1]);
        put4(&mut conn.remote, remote[1]);
    }

    #[inline(always)]
    fn ports(self) -> (u16, u16) {
        (self.0.field(offset!(sock_num)), u16::from_be(self.0.field(offset!(sock_dport))))
    }

    #[inline(always)]
    fn source_port(self) -> u16 {
        self.0.as_tcp().map_or(0, |tcp| u16::from_be(tcp.field(offset!(inet_sport))))
    }

    #[inline(always)]
    fn error(self) -> u32 {
        self.0.field(offset!(sock_err))
    }

    #[inline(always)]
    fn seqs(self) -> Option<(u32, u32)> {
        let tcp = self.0.as_tcp()?;
        Some((tcp.field(offset!(tcp_write_seq)), tcp.field(offset!(tcp_copied_seq))))
    }

    #[inline(always)]
    fn packet_ns(self, not_before: u64) -> u64 {
        // `tcp_mstamp_refresh`: the kernel has just read the clock itself, and reading it is dear.
        if known(offset!(tcp_clock_cache))
            && let Some(tcp) = self.0.as_tcp()
        {
            let at: u64 = tcp.field(offset!(tcp_clock_cache));
            if at > not_before {
                return at;
            }
        }
        now()
    }

    #[inline(always)]
    fn sent_ns(self, written: u32) -> u64 {
        // What went out did so after this call began, and the clock was read for it.
        let all_out = self.0.as_tcp().is_some_and(|tcp| tcp.field::<u32>(offset!(tcp_snd_nxt)) == written);
        if all_out { self.packet_ns(0) } else { now() }
    }

    #[inline(always)]
    fn snd_una(self) -> u32 {
        self.0.as_tcp().map_or(0, |tcp| tcp.field(offset!(tcp_snd_una)))
    }

    #[inline(always)]
    fn has_unread(self) -> bool {
        self.0.as_tcp().is_some_and(|tcp| {
            let received: u32 = tcp.field(offset!(tcp_rcv_nxt));
            let unread = received.wrapping_sub(tcp.field(offset!(tcp_copied_seq)));
            // A FIN takes a number of its own.
            unread > u32::from(self.fin_received())
        })
    }

    #[inline(always)]
    fn fin_received(self) -> bool {
        self.0.field::<u64>(offset!(sock_flags)) & SOCK_DONE != 0
    }

    #[inline(always)]
    fn is_held(self) -> bool {
        self.0.field::<u64>(offset!(sock_socket)) != 0
    }

    #[inline(always)]
    fn is_indirect(self) -> bool {
        self.user_data_label() != 0 || self.0.as_tcp().is_some_and(|tcp| Self(tcp).tcp_labels() & flag::ULP != 0)
    }

    #[inline(always)]
    fn user_data_label(self) -> u32 {
        if self.0.field::<u64>(offset!(sock_user_data)) != 0 { flag::USER_DATA } else { 0 }
    }

    #[inline(always)]
    fn early_labels(self) -> u32 {
        let mut labels = self.user_data_label();
        if self.bit(offset!(sock_kern_sock)) {
            // The kernel makes the subflows of every process's MPTCP socket itself.
            let is_subflow = self.0.as_tcp().is_some_and(|tcp| Self(tcp).bit(offset!(tcp_is_mptcp)));
            labels |= if is_subflow { flag::MPTCP } else { flag::KERNEL_SOCKET };
        }
        labels
    }

    #[inline(always)]
    fn write_base(self, conn: &mut Conn) {
        let Some(tcp) = self.0.as_tcp() else { return };
        conn.bytes_sent = tcp.field(offset!(tcp_bytes_acked));
        conn.bytes_received = tcp.field(offset!(tcp_bytes_received));
        conn.retransmits = tcp.field(offset!(tcp_total_retrans));
    }

    #[inline(always)]
    fn role_by_bytes(self, state: u8) -> u8 {
        if state == state::SYN_SENT {
            return role::CLIENT;
        }
        let Some(tcp) = self.0.as_tcp() else { return role::UNKNOWN };
        let all_went = tcp.field::<u32>(offset!(tcp_snd_nxt)) == tcp.field(offset!(tcp_write_seq));
        let fin_went = match state {
            state::FIN_WAIT2 => true,
            state::FIN_WAIT1 | state::CLOSING | state::LAST_ACK => all_went,
            _ => false,
        };
        match controls(tcp).wrapping_sub(u64::from(fin_went)) {
            0 => role::SERVER,
            1 => role::CLIENT,
            _ => role::UNKNOWN,
        }
    }

    #[inline(always)]
    fn fin_was_acknowledged(self, syn_was: bool) -> bool {
        self.0.as_tcp().is_some_and(|tcp| {
            let all_acknowledged = tcp.field::<u32>(offset!(tcp_snd_una)) == tcp.field(offset!(tcp_snd_nxt));
            all_acknowledged && controls(tcp) == u64::from(syn_was) + 1
        })
    }

    #[inline(always)]
    fn is_v6_only(self) -> bool {
        self.bit(offset!(sock_ipv6only))
    }

    #[inline(always)]
    fn write_established(self, conn: &mut Conn) {
        let Some(tcp) = self.0.as_tcp() else { return };
        conn.flags |= Self(tcp).tcp_labels();
        // With Fast Open a server may have received, and answered, before.
        if conn.last_recv_ns == 0 {
            let written: u32 = tcp.field(offset!(tcp_write_seq));
            // Data on the SYN were written before: they ask, so the sequence must look moved.
            let ask = Self(tcp).bit(offset!(tcp_syn_data)) && !conn.has(flag::ADOPTED);
            conn.seq_at_recv = written.wrapping_sub(u32::from(ask));
            conn.copied_seq = tcp.field(offset!(tcp_copied_seq));
        }
        if conn.role == role::CLIENT && !conn.has(flag::ADOPTED) {
            // The peer's answer to our SYN acknowledged it; who restores a connection sends none.
            if tcp.field::<u64>(offset!(tcp_bytes_acked)) == 0 {
                conn.flags |= flag::RESTORED;
            }
            // `connect` only looked up a cookie, and the SYN went with the first data: it was a round trip ago.
            if Self(tcp).bit(offset!(tcp_fastopen_connect)) && Self(tcp).bit(offset!(tcp_syn_data)) {
                let round_trip_ns = u64::from(tcp.field::<u32>(offset!(tcp_srtt_us)) >> 3) * 1000;
                conn.start_ns = conn.established_ns.saturating_sub(round_trip_ns);
            }
        }
    }

    #[inline(always)]
    fn write_facts(self, conn: &mut Conn) {
        let Some(tcp) = self.0.as_tcp() else { return };
        conn.flags |= Self(tcp).tcp_labels();
        conn.bytes_sent = tcp.field::<u64>(offset!(tcp_bytes_acked)).wrapping_sub(conn.bytes_sent);
        conn.bytes_received = tcp.field::<u64>(offset!(tcp_bytes_received)).wrapping_sub(conn.bytes_received);
        conn.retransmits = tcp.field::<u32>(offset!(tcp_total_retrans)).wrapping_sub(conn.retransmits);
        if conn.unanswered != 0 && tcp.field::<u32>(offset!(tcp_snd_una)) != conn.unanswered_una {
            conn.unanswered = 0;
        }
        // Kept by the kernel in eighths of a microsecond.
        conn.srtt_us = tcp.field::<u32>(offset!(tcp_srtt_us)) >> 3;
        // `struct minmax_sample { u32 t; u32 v; }`: the value follows its time.
        conn.min_rtt_us = tcp.field(offset!(tcp_rtt_min) + 4);
        if self.0.field::<u64>(offset!(sock_flags)) & SOCK_KEEPOPEN != 0 {
            conn.flags |= flag::KEEPALIVE;
            let own: u32 = tcp.field(offset!(tcp_keepalive_time));
            conn.keepalive_ticks = if own != 0 {
                own
            } else if known(offset!(net_keepalive_time)) {
                self.0.follow(offset!(sock_net)).field(offset!(net_keepalive_time))
            } else {
                0
            };
        }
        conn.flags |= flag::FINAL_READ;
    }
}

/// How many of the sequence numbers that went out are no payload: that of our FIN and, on the side that sent the first
/// SYN, one for it, since the kernel counts the acknowledgement of a SYN there alone.
#[inline(always)]
fn controls<F: Fields>(tcp: F) -> u64 {
    let waiting = tcp.field::<u32>(offset!(tcp_snd_nxt)).wrapping_sub(tcp.field(offset!(tcp_snd_una)));
    let numbers = tcp.field::<u64>(offset!(tcp_bytes_acked)) + u64::from(waiting);
    let again: u64 = tcp.field(offset!(tcp_bytes_retrans));
    numbers.wrapping_add(again).wrapping_sub(tcp.field(offset!(tcp_bytes_sent)))
}

/// Whether an address, as two words in memory order, is ::ffff:a.b.c.d.
#[inline(always)]
pub fn is_v4_mapped(address: [u64; 2]) -> bool {
    address[0] == 0 && address[1] as u32 == u32::from_ne_bytes([0, 0, 0xff, 0xff])
}

/// Writes an IPv4 address, given in memory order.
#[inline(always)]
pub fn put4(to: &mut [u8; 16], address: u32) {
    to[..4].copy_from_slice(&address.to_ne_bytes());
}

/// Writes an IPv6 address, given as two words in memory order.
#[inline(always)]
pub fn put16(to: &mut [u8; 16], address: [u64; 2]) {
    to[..8].copy_from_slice(&address[0].to_ne_bytes());
    to[8..].copy_from_slice(&address[1].to_ne_bytes());
}
