//! One kernel event a file, each with its fallbacks beside it.

mod accept;
mod close;
mod connect;
mod destroy;
mod process;
mod receive;
mod reset;
mod retransmit;
mod send;
mod state;

/// What a program returns; the kernel ignores it for tracing programs.
const DONE: i32 = 0;
/// The same for tracepoints and kprobes, whose type is unsigned.
const DONE_U32: u32 = 0;
