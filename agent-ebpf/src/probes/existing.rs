//! Connections older than the agent: their sockets, and the processes that hold them. Later it tells which of the
//! followed connections still have a socket.
//!
//! Hooks: `iter tcp`, `iter task_file`
//!
//! Both run when user space reads them. The kernel holds each socket's lock meanwhile (before 5.15 that of its hash bucket,
//! which it must leave before its end is told), so that none ends unseen between being found and being followed.

use redial_common::record::conn::COMM_LEN;

use super::{DONE, accept::followed};
use crate::{
    conns, existing, owner,
    settings::offset,
    sock::{Bare, Fields as _, Known, Typed, put16},
};

/// `struct bpf_iter__tcp`, without the user's number.
#[repr(C)]
struct TcpContext {
    meta: *const u8,
    /// `struct sock_common`; null at the end of the list.
    sock: *const u8,
}

/// `struct bpf_iter__task_file`
#[repr(C)]
struct FileContext {
    meta: *const u8,
    /// `struct task_struct`; null at the end of the list.
    task: *const u8,
    fd: u32,
    /// `struct file`; null at the end of the list.
    file: *const u8,
}

/// Reads a field of an iterator's context, as the verifier wants it: directly.
macro_rules! context {
    ($ctx:ident, $type:ident, $field:ident) => {{
        // SAFETY: the kernel hands the program such a context; the verifier checks the read.
        unsafe { (&raw const (*$ctx.cast::<$type>()).$field).read_volatile() }
    }};
}

/// A TCP socket of the reader's network namespace.
#[unsafe(link_section = "iter/tcp")]
#[unsafe(no_mangle)]
pub extern "C" fn existing_tcp(ctx: *const u8) -> i32 {
    let sock = context!(ctx, TcpContext, sock);
    if sock.is_null() {
        return DONE;
    }
    // What is in TIME-WAIT, or not yet a socket of its own, is no `tcp_sock`.
    if let Some(tcp) = Typed(sock).as_tcp() {
        existing::exists(Known(tcp));
    }
    DONE
}

/// A descriptor of a process.
#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
pub extern "C" fn existing_holders(ctx: *const u8) -> i32 {
    let (task, file) = (context!(ctx, FileContext, task), context!(ctx, FileContext, file));
    if task.is_null() || file.is_null() {
        return DONE;
    }
    let file = file as u64;
    let socket = Bare(Bare(file).field(offset!(file_private_data)));
    // Only a socket points back to its file like this.
    if socket.0 == 0 || socket.field::<u64>(offset!(socket_file)) != file {
        return DONE;
    }
    if let Some(sock) = followed(socket.field(offset!(socket_sk)))
        && let Some(conn) = conns::get(sock)
    {
        let task = Typed(task);
        let leader = task.follow(offset!(task_group_leader));
        // Words, for the verifier allows no wider read through a typed pointer.
        let words: [u64; 2] = [leader.field(offset!(task_comm)), leader.field(offset!(task_comm) + 8)];
        let mut comm = [0; COMM_LEN];
        put16(&mut comm, words);
        if !owner::holds(conn, task.field(offset!(task_tgid)), &comm) {
            conns::remove(sock);
        }
    }
    DONE
}
