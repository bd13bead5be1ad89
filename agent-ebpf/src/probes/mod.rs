//! One kernel event a file, each with its fallbacks beside it.

use aya_ebpf::{EbpfContext as _, programs::TracePointContext};

mod accept;
mod close;
mod connect;
mod destroy;
mod existing;
mod process;
mod receive;
mod reset;
mod retransmit;
mod send;
mod state;

/// The eight bytes at `WORD` × 8 of a tracepoint's format (`events/CATEGORY/NAME/format`).
///
/// The fields that all tracepoints have take the first word. Read directly, for a helper would cost more than all the
/// rest of most runs.
#[inline(always)]
fn word<const WORD: usize>(ctx: &TracePointContext) -> u64 {
    // SAFETY: the verifier checks that the read lies within the context.
    unsafe { ctx.as_ptr().cast::<u64>().add(WORD).read() }
}

/// What a system call returned, at its exit: it follows the call's number.
#[inline(always)]
fn syscall_result(ctx: &TracePointContext) -> i64 {
    word::<2>(ctx) as i64
}

/// What a program returns; the kernel ignores it for tracing programs.
const DONE: i32 = 0;
/// The same for tracepoints and kprobes, whose type is unsigned.
const DONE_U32: u32 = 0;
