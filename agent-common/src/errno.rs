//! The kernel's error numbers that say why a connection ended (`include/uapi/asm-generic/errno*.h`).

/// Operation not permitted.
pub const EPERM: i32 = 1;
/// Permission denied.
pub const EACCES: i32 = 13;
/// Broken pipe: a reset in CLOSE-WAIT.
pub const EPIPE: i32 = 32;
/// Protocol not available: an ICMP or ICMPv6 error.
pub const ENOPROTOOPT: i32 = 92;
/// Cannot assign requested address.
pub const EADDRNOTAVAIL: i32 = 99;
/// Network is unreachable.
pub const ENETUNREACH: i32 = 101;
/// Software caused connection abort.
pub const ECONNABORTED: i32 = 103;
/// Connection reset by peer.
pub const ECONNRESET: i32 = 104;
/// Connection timed out.
pub const ETIMEDOUT: i32 = 110;
/// Connection refused.
pub const ECONNREFUSED: i32 = 111;
/// Host is down.
pub const EHOSTDOWN: i32 = 112;
/// No route to host.
pub const EHOSTUNREACH: i32 = 113;
/// Operation now in progress.
pub const EINPROGRESS: i32 = 115;
