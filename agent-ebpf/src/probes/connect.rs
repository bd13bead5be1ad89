//! Attempts that fail before a SYN: no route, a policy that forbids it. They make no state change.
//!
//! Hooks: `fexit tcp_v4_connect`, `fexit tcp_v6_connect`, `tracepoint syscalls/sys_exit_connect`

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel, bpf_probe_read_user},
    macros::{fexit, tracepoint},
    programs::{FExitContext, TracePointContext},
};
use redial_common::{errno, tcp::family};

use super::{DONE, DONE_U32, accept::socket_of};
use crate::{
    conns,
    settings::setting,
    sock::{Bare, Known, Sock, Typed, put4, put16},
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

/// `int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`
#[fexit(function = "tcp_v4_connect")]
pub fn connect_v4_fexit(ctx: FExitContext) -> i32 {
    returned(&ctx);
    DONE
}

/// `int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`
#[fexit(function = "tcp_v6_connect")]
pub fn connect_v6_fexit(ctx: FExitContext) -> i32 {
    returned(&ctx);
    DONE
}

#[inline(always)]
fn returned(ctx: &FExitContext) {
    let result = ctx.arg::<i32>(3);
    if result < 0 {
        let sock = Known(Typed(ctx.arg(0)));
        if is_before_syn(sock, result) {
            // SAFETY: the helper checks the address.
            let address = unsafe { bpf_probe_read_kernel(ctx.arg::<*const Address>(1)) };
            failed(sock, result, address.ok());
        }
    }
}

#[tracepoint(category = "syscalls", name = "sys_exit_connect")]
pub fn connect_tracepoint(ctx: TracePointContext) -> u32 {
    // SAFETY: the call's result follows its number in the format; the kernel checks the read.
    let Ok(result) = (unsafe { ctx.read_at::<i64>(16) }) else { return DONE_U32 };
    let result = result as i32;
    if result >= 0 || result == -errno::EINPROGRESS {
        return DONE_U32;
    }
    if let Some((fd, address)) = arguments()
        && let Some(address_of_sock) = socket_of(fd)
    {
        let sock = Known(Bare(address_of_sock));
        if sock.is_tcp() && is_before_syn(sock, result) {
            // SAFETY: the helper checks the address.
            let address = unsafe { bpf_probe_read_user(address as *const Address) };
            failed(sock, result, address.ok());
        }
    }
    DONE_U32
}

/// Descriptor and address that the current system call was given.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn arguments() -> Option<(u64, u64)> {
    use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
    /// `struct pt_regs` of x86-64: a fixed interface, since ptrace(2) hands it out.
    const RSI: u32 = 13 * 8;
    const RDI: u32 = 14 * 8;
    // SAFETY: the helpers take the current task.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    let regs = Bare(regs);
    use crate::sock::Fields;
    Some((regs.field(RDI), regs.field(RSI)))
}

/// Elsewhere the first argument is overwritten by the result: these kernels have fexit or nothing.
#[cfg(not(bpf_target_arch = "x86_64"))]
#[inline(always)]
fn arguments() -> Option<(u64, u64)> {
    None
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
        } else {
            conn.family = family::INET6;
            let word = |i: usize| u64::from(address.v6[i]) | (u64::from(address.v6[i + 1]) << 32);
            put16(&mut conn.remote, [word(0), word(2)]);
        }
    });
}
