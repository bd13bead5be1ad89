//! Attempts that fail before a SYN: no route, a policy that forbids it. They make no state change.
//!
//! Hooks: `fexit tcp_v4_connect`, `fexit tcp_v6_connect`, `kprobe tcp_v4_connect`, `kretprobe tcp_v4_connect`,
//! `kprobe tcp_v6_connect`, `kretprobe tcp_v6_connect`, `tracepoint syscalls/sys_exit_connect`

use aya_ebpf::{
    helpers::bpf_probe_read_kernel,
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use redial_common::{errno, tcp::family};

use super::{DONE, DONE_U32};
use crate::{
    conns,
    maps::{keep_call, take_call},
    settings::setting,
    sock::{Bare, Known, Sock, Typed, is_v4_mapped, put4, put16},
};

/// `struct sockaddr_in` and `struct sockaddr_in6`, as far as both are needed.
#[repr(C)]
#[derive(Clone, Copy)]
struct Address {
    family: u16,
    port_be: u16,
    v4_or_flow: u32,
    v6: [u32; 4],
}

impl Address {
    /// The IPv6 address as two words in memory order.
    #[inline(always)]
    fn v6_words(&self) -> [u64; 2] {
        let word = |i: usize| u64::from(self.v6[i]) | (u64::from(self.v6[i + 1]) << 32);
        [word(0), word(2)]
    }

    #[inline(always)]
    fn is_v4_mapped(&self) -> bool {
        self.family == u16::from(family::INET6) && is_v4_mapped(self.v6_words())
    }
}

/// `int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`
#[fexit(function = "tcp_v4_connect")]
pub fn connect_v4_fexit(ctx: FExitContext) -> i32 {
    returned(&ctx, false);
    DONE
}

/// `int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`
#[fexit(function = "tcp_v6_connect")]
pub fn connect_v6_fexit(ctx: FExitContext) -> i32 {
    returned(&ctx, true);
    DONE
}

/// `is_v6`: it hands IPv4-mapped addresses to the other function, which has told of the failure already, unless the
/// socket takes none.
#[inline(always)]
fn returned(ctx: &FExitContext, is_v6: bool) {
    let result = ctx.arg::<i32>(3);
    if result < 0 {
        let sock = Known(Typed(ctx.arg(0)));
        if is_before_syn(sock, result) {
            // SAFETY: the helper checks the address.
            let address = unsafe { bpf_probe_read_kernel(ctx.arg::<*const Address>(1)) };
            let was_told = |address: &Address| is_v6 && address.is_v4_mapped() && !sock.is_v6_only();
            failed(sock, result, address.ok().filter(|address| !was_told(address)));
        }
    }
}

#[kprobe(function = "tcp_v4_connect")]
pub fn connect_v4_kprobe(ctx: ProbeContext) -> u32 {
    entered(&ctx);
    DONE_U32
}

#[kprobe(function = "tcp_v6_connect")]
pub fn connect_v6_kprobe(ctx: ProbeContext) -> u32 {
    entered(&ctx);
    DONE_U32
}

#[kretprobe(function = "tcp_v4_connect")]
pub fn connect_v4_kretprobe(ctx: RetProbeContext) -> u32 {
    left(&ctx);
    DONE_U32
}

#[kretprobe(function = "tcp_v6_connect")]
pub fn connect_v6_kretprobe(ctx: RetProbeContext) -> u32 {
    left(&ctx);
    DONE_U32
}

#[inline(always)]
fn entered(ctx: &ProbeContext) {
    if let (Some(sock), Some(address)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) {
        keep_call([sock, address]);
    }
}

#[inline(always)]
fn left(ctx: &RetProbeContext) {
    let Some([sock, address]) = take_call() else { return };
    let result = ctx.ret::<i32>();
    let sock = Known(Bare(sock));
    if result < 0 && is_before_syn(sock, result) {
        // SAFETY: the helper checks the address.
        failed(sock, result, unsafe { bpf_probe_read_kernel(address as *const Address) }.ok());
    }
}

/// What happens at the system call's return, where its arguments can still be read: only on x86-64, elsewhere the
/// result overwrites the first.
#[cfg(bpf_target_arch = "x86_64")]
mod syscall {
    use aya_ebpf::{
        helpers::{
            bpf_probe_read_user,
            generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
        },
        macros::tracepoint,
        programs::TracePointContext,
    };
    use redial_common::errno;

    use super::{Address, failed, is_before_syn};
    use crate::{
        probes::{DONE_U32, accept::socket_of, syscall_result},
        sock::{Bare, Fields as _, Known, Sock as _},
    };

    /// `struct pt_regs` of x86-64: a fixed interface, since ptrace(2) hands it out.
    const RSI: u32 = 13 * 8;
    const RDI: u32 = 14 * 8;

    #[tracepoint(category = "syscalls", name = "sys_exit_connect")]
    pub fn connect_tracepoint(ctx: TracePointContext) -> u32 {
        let result = syscall_result(&ctx) as i32;
        if result >= 0 || result == -errno::EINPROGRESS {
            return DONE_U32;
        }
        // SAFETY: the helpers take the current task.
        let regs = Bare(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64);
        if let Some(sock) = socket_of(regs.field(RDI)) {
            let sock = Known(Bare(sock));
            if sock.is_tcp() && is_before_syn(sock, result) {
                // SAFETY: the helper checks the address.
                let address = unsafe { bpf_probe_read_user(regs.field::<u64>(RSI) as *const Address) };
                failed(sock, result, address.ok());
            }
        }
        DONE_U32
    }
}

/// Whether `connect` failed with an error of routing or policy on a socket that never had a sequence number.
#[inline(always)]
fn is_before_syn<S: Sock>(sock: S, result: i32) -> bool {
    matches!(-result, errno::ENETUNREACH | errno::EHOSTUNREACH | errno::EACCES | errno::EPERM)
        && setting!(offsets_known) != 0
        && conns::get(sock.key()).is_none()
        && sock.seqs().is_some_and(|(written, _)| written == 0)
}

#[inline(always)]
fn failed<S: Sock>(sock: S, result: i32, address: Option<Address>) {
    let Some(address) = address else { return };
    conns::failed_early(sock, -result as u32, |conn| {
        conn.remote_port = u16::from_be(address.port_be);
        if address.family == u16::from(family::INET) {
            conn.family = family::INET;
            put4(&mut conn.remote, address.v4_or_flow);
        } else if address.is_v4_mapped() {
            conn.family = family::INET;
            put4(&mut conn.remote, address.v6[3]);
        } else {
            conn.family = family::INET6;
            put16(&mut conn.remote, address.v6_words());
        }
    });
}
