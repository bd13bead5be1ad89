//! TCP's own counters of trouble in the calling thread's network namespace, since the namespace was made.

use std::fs;

/// Cumulative counts; the caller makes differences. `None` where the kernel does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounters {
    /// Connections dropped because an accept queue was full (`ListenOverflows`).
    pub listen_overflows: Option<u64>,
    /// Connections dropped at a listener for any reason, overflows included (`ListenDrops`).
    pub listen_drops: Option<u64>,
    /// Closes that left no TIME_WAIT because there were `tcp_max_tw_buckets` of them (`TCPTimeWaitOverflow`).
    pub time_wait_overflows: Option<u64>,
}

impl TcpCounters {
    /// Reads them now.
    pub fn read() -> Self {
        // /proc/net is of the namespace of the process's first thread.
        fs::read_to_string("/proc/thread-self/net/netstat").map(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// From the text of /proc/net/netstat: a line of names, then a line of numbers in the same order.
    fn parse(text: &str) -> Self {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let count = |wanted: &str| {
            let at = names.split_whitespace().position(|name| name == wanted)?;
            numbers.split_whitespace().nth(at)?.parse().ok()
        };
        Self {
            listen_overflows: count("ListenOverflows"),
            listen_drops: count("ListenDrops"),
            time_wait_overflows: count("TCPTimeWaitOverflow"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows TCPTimeWaitOverflow\nTcpExt: 1 22 333\n\
            IpExt: InNoRoutes ListenDrops\nIpExt: 4 5\n";
        let counters = TcpCounters::parse(text);
        assert_eq!(counters.listen_overflows, Some(22));
        assert_eq!(counters.time_wait_overflows, Some(333));
        assert_eq!(counters.listen_drops, None, "not of this group");
        assert_eq!(TcpCounters::parse(""), TcpCounters::default());
    }

    #[test]
    fn this_kernel_counts() {
        let counters = TcpCounters::read();
        assert!(counters.listen_drops >= counters.listen_overflows && counters.listen_overflows.is_some());
        assert!(counters.time_wait_overflows.is_some());
    }
}
