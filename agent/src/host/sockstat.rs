//! Whether the calling thread's network namespace has any TCP sockets: asking is much cheaper than listing none, for
//! which the kernel walks hash tables that hold the sockets of all namespaces.

use std::fs;

use super::sockets::Family;

/// What the kernel counts in a namespace (/proc/net/sockstat and sockstat6); `None` where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockstat {
    /// Sockets for IPv4 that listen, connect or are connected.
    v4: Option<u64>,
    /// The same for IPv6.
    v6: Option<u64>,
    /// Sockets of both families in TIME_WAIT or waiting for the peer's FIN without an owner.
    time_wait: Option<u64>,
}

impl Sockstat {
    /// Reads it now.
    pub fn read() -> Self {
        let text = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
        let (v4, v6) = (text("sockstat"), text("sockstat6"));
        Self { v4: value(&v4, "TCP:", "inuse"), v6: value(&v6, "TCP6:", "inuse"), time_wait: value(&v4, "TCP:", "tw") }
    }

    /// Whether there may be sockets of `family`. One that is bound and nothing else is not counted by the kernel.
    pub fn may_have(&self, family: Family) -> bool {
        let inuse = match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        };
        inuse != Some(0) || self.time_wait != Some(0)
    }
}

/// The number after `name` in the line that begins with `group`.
fn value(text: &str, group: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(group))?;
    line.split_whitespace().skip_while(|word| *word != name).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKSTAT: &str = "sockets: used 17\nTCP: inuse 3 orphan 0 tw 12 alloc 9 mem 0\nUDP: inuse 5 mem 0\n";

    #[test]
    fn numbers_are_found_by_group_and_name() {
        assert_eq!(value(SOCKSTAT, "TCP:", "inuse"), Some(3));
        assert_eq!(value(SOCKSTAT, "TCP:", "tw"), Some(12));
        assert_eq!(value(SOCKSTAT, "TCP6:", "inuse"), None);
    }

    #[test]
    fn only_what_is_known_to_be_empty_is_empty() {
        let none = Sockstat { v4: Some(0), v6: Some(0), time_wait: Some(0) };
        for (stat, v4, v6) in [
            (none, false, false),
            (Sockstat { v4: Some(1), ..none }, true, false),
            (Sockstat { v6: Some(1), ..none }, false, true),
            (Sockstat { time_wait: Some(1), ..none }, true, true),
            (Sockstat { v6: None, ..none }, false, true),
            (Sockstat::default(), true, true),
        ] {
            assert_eq!((stat.may_have(Family::V4), stat.may_have(Family::V6)), (v4, v6), "{stat:?}");
        }
    }
}
