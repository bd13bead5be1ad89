//! TCP's words as numbers: states as the kernel counts them, roles, and how a connection ended.

/// Values of `sk->sk_state` (the kernel's `include/net/tcp_states.h`; names of RFC 9293).
pub mod state {
    /// ESTABLISHED.
    pub const ESTABLISHED: u8 = 1;
    /// SYN-SENT.
    pub const SYN_SENT: u8 = 2;
    /// SYN-RECEIVED.
    pub const SYN_RECV: u8 = 3;
    /// FIN-WAIT-1.
    pub const FIN_WAIT1: u8 = 4;
    /// FIN-WAIT-2.
    pub const FIN_WAIT2: u8 = 5;
    /// TIME-WAIT.
    pub const TIME_WAIT: u8 = 6;
    /// CLOSED.
    pub const CLOSE: u8 = 7;
    /// CLOSE-WAIT.
    pub const CLOSE_WAIT: u8 = 8;
    /// LAST-ACK.
    pub const LAST_ACK: u8 = 9;
    /// LISTEN.
    pub const LISTEN: u8 = 10;
    /// CLOSING.
    pub const CLOSING: u8 = 11;
    /// A connection request that has no full socket yet.
    pub const NEW_SYN_RECV: u8 = 12;
}

/// Which end of the connection this host's socket is.
pub mod role {
    /// The socket called `connect`.
    pub const CLIENT: u8 = 1;
    /// The socket came out of a listener.
    pub const SERVER: u8 = 2;
    /// The socket is older than the agent and its counts do not tell.
    pub const UNKNOWN: u8 = 3;
}

/// Address families as the kernel counts them.
pub mod family {
    /// IPv4.
    pub const INET: u8 = 2;
    /// IPv6.
    pub const INET6: u8 = 10;
}

/// Who closed an established connection, and how.
pub mod closed_by {
    /// Still open, or never established.
    pub const NONE: u8 = 0;
    /// Our FIN went before theirs came.
    pub const LOCAL: u8 = 1;
    /// Their FIN came first.
    pub const REMOTE: u8 = 2;
    /// We sent RST before any FIN.
    pub const RESET_LOCAL: u8 = 3;
    /// They sent RST before any FIN.
    pub const RESET_REMOTE: u8 = 4;
    /// The kernel gave up on an unanswering peer.
    pub const TIMEOUT: u8 = 5;
    /// Another process destroyed the socket (SOCK_DESTROY).
    pub const ABORTED: u8 = 6;
    /// The kernel did not tell.
    pub const UNKNOWN: u8 = 7;
    /// One more than the greatest code.
    pub const COUNT: usize = 8;
}

/// Why an attempt to connect failed.
pub mod failed_by {
    /// Still connecting, or established.
    pub const NONE: u8 = 0;
    /// ECONNREFUSED.
    pub const REFUSED: u8 = 1;
    /// ETIMEDOUT.
    pub const TIMED_OUT: u8 = 2;
    /// ECONNRESET.
    pub const RESET: u8 = 3;
    /// EHOSTUNREACH, ENETUNREACH and their like.
    pub const UNREACHABLE: u8 = 4;
    /// EADDRNOTAVAIL: no local port left.
    pub const NO_PORTS: u8 = 5;
    /// The application closed while connecting.
    pub const CANCELLED: u8 = 6;
    /// EACCES or EPERM.
    pub const DENIED: u8 = 7;
    /// Anything else.
    pub const OTHER: u8 = 8;
    /// One more than the greatest code.
    pub const COUNT: usize = 9;
}
