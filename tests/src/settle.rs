//! Waits until the sockets of a namespace stand as they shall. When processes have closed all, the kernel may still be
//! at work: what the agent says is compared after that.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::{clock::poll_until, gate::slowdown, netns::Netns, peer::LIMIT};

/// How many sockets are in each state. Those that listen or are in TIME-WAIT do not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// ESTABLISHED, those in a listener's queue included.
    pub established: usize,
    /// SYN-SENT.
    pub connecting: usize,
    /// FIN-WAIT-2.
    pub fin_wait2: usize,
    /// CLOSE-WAIT.
    pub close_wait: usize,
    /// Any other.
    pub other: usize,
}

/// Nothing is left.
pub const EMPTY: Standing = Standing { established: 0, connecting: 0, fin_wait2: 0, close_wait: 0, other: 0 };

/// Waits until the sockets in `netns` are as `wanted`.
pub fn settle(netns: &Netns, wanted: Standing) -> Result<()> {
    netns.run(|| {
        let mut standing = Ok(EMPTY);
        poll_until(LIMIT * slowdown(), || {
            standing = now();
            !matches!(&standing, Ok(standing) if *standing != wanted)
        });
        let standing = standing?;
        ensure!(standing == wanted, "sockets did not settle: wanted {wanted:?}, they are {standing:?}");
        Ok(())
    })
}

/// How the sockets of this thread's namespace stand.
fn now() -> Result<Standing> {
    let mut standing = EMPTY;
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/thread-self/net/{table}");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        // proc_pid_net(5): slot, local and remote address, state in hexadecimal (include/net/tcp_states.h).
        for state in text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)) {
            match state {
                "01" => standing.established += 1,
                "02" => standing.connecting += 1,
                "05" => standing.fin_wait2 += 1,
                "08" => standing.close_wait += 1,
                "06" | "0A" => {}
                _ => standing.other += 1,
            }
        }
    }
    Ok(standing)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn this_namespace_is_read() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(now().unwrap().established >= 2);
        drop(stream);
    }
}
