//! By which rules the kernel picks local ports for `connect`, in one network namespace.
//!
//! As in `__inet_hash_connect` and `tcp_twsk_unique` (net/ipv4): a port is picked that lies in the range, is not
//! reserved, was not bound by `bind`, and whose connection to this remote from this source is not there yet, or is in
//! TIME_WAIT and may be replaced.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use redial_common::tcp::state;

use super::{port_set::PortSet, socket::Socket, sysctl};

/// How long TIME_WAIT lasts (`TCP_TIMEWAIT_LEN`; not configurable).
pub const TIME_WAIT_LENGTH: Duration = Duration::from_secs(60);

/// The loopback device's index in every namespace.
const LOOPBACK_INTERFACE: u32 = 1;

/// Whose TIME_WAIT `connect` may replace (`net.ipv4.tcp_tw_reuse`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Nobody's.
    #[default]
    Off,
    /// Everybody's.
    All,
    /// Those on loopback; the default since Linux 4.19.
    Loopback,
}

/// The rules of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRules {
    /// `ip_local_port_range`.
    pub range: RangeInclusive<u16>,
    /// `ip_local_reserved_ports`.
    pub reserved: PortSet,
    /// Whose TIME_WAIT may be replaced; [`Reuse::Off`] too where TCP timestamps are off, which it needs.
    pub reuse: Reuse,
    /// After how long in TIME_WAIT (`tcp_tw_reuse_delay`; 1 s before Linux 6.14).
    pub reuse_delay: Duration,
}

impl PortRules {
    /// Reads those of the calling thread's namespace; `None` where they cannot be read.
    pub fn read() -> Option<Self> {
        let range = sysctl::text("ipv4/ip_local_port_range")?;
        let mut bounds = range.split_whitespace().map(str::parse);
        let (low, high) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
        let has_timestamps = sysctl::number::<u32>("ipv4/tcp_timestamps").is_some_and(|value| value > 0);
        let reuse = match sysctl::number::<u32>("ipv4/tcp_tw_reuse") {
            Some(1) if has_timestamps => Reuse::All,
            Some(2) if has_timestamps => Reuse::Loopback,
            _ => Reuse::Off,
        };
        Some(Self {
            range: low..=high,
            reserved: PortSet::parse(&sysctl::text("ipv4/ip_local_reserved_ports")?)?,
            reuse,
            reuse_delay: Duration::from_millis(sysctl::number("ipv4/tcp_tw_reuse_delay").unwrap_or(1000)),
        })
    }

    /// The ports that may be picked while nothing is bound.
    pub fn ports(&self) -> PortSet {
        let mut ports = PortSet::empty();
        ports.insert_all(self.range.clone());
        ports.remove_all(&self.reserved);
        ports
    }

    /// Whether a `connect` with the same addresses may have this connection's local port: it is in TIME_WAIT and may be
    /// replaced.
    pub fn is_reusable(&self, socket: &Socket) -> bool {
        let age = TIME_WAIT_LENGTH.saturating_sub(socket.expires);
        socket.state == state::TIME_WAIT
            && age > self.reuse_delay
            && match self.reuse {
                Reuse::Off => false,
                Reuse::All => true,
                Reuse::Loopback => is_on_loopback(socket),
            }
    }
}

fn is_on_loopback(socket: &Socket) -> bool {
    let is_loopback = |address: IpAddr| address.is_loopback();
    socket.interface == LOOPBACK_INTERFACE || is_loopback(socket.local.ip()) || is_loopback(socket.remote.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time_wait(local: &str, age_ms: u64) -> Socket {
        Socket {
            state: state::TIME_WAIT,
            local: local.parse().unwrap(),
            remote: "192.0.2.1:80".parse().unwrap(),
            interface: 0,
            expires: TIME_WAIT_LENGTH - Duration::from_millis(age_ms),
            receive_queue: 0,
            send_queue: 0,
        }
    }

    fn rules(reuse: Reuse) -> PortRules {
        let reserved = PortSet::parse("32769,60000-65535").unwrap();
        PortRules { range: 32768..=60999, reserved, reuse, reuse_delay: Duration::from_secs(1) }
    }

    #[test]
    fn reserved_ports_are_not_picked() {
        assert_eq!(rules(Reuse::Off).ports().count(), 28_232 - 1 - 1000);
    }

    #[test]
    fn time_wait_is_replaced_as_the_namespace_allows() {
        let (far, here) = (time_wait("192.0.2.2:40000", 1001), time_wait("127.0.0.1:40000", 1001));
        let six = time_wait("[::1]:40000", 1001);
        let device = Socket { interface: LOOPBACK_INTERFACE, ..far };
        for (reuse, expected) in
            [(Reuse::Off, [false; 4]), (Reuse::All, [true; 4]), (Reuse::Loopback, [false, true, true, true])]
        {
            let rules = rules(reuse);
            assert_eq!([far, here, six, device].map(|socket| rules.is_reusable(&socket)), expected, "{reuse:?}");
        }
    }

    #[test]
    fn only_old_enough_time_wait_is_replaced() {
        let rules = rules(Reuse::All);
        assert!(!rules.is_reusable(&time_wait("192.0.2.2:40000", 1000)));
        for other in [state::FIN_WAIT2, state::ESTABLISHED, state::CLOSE_WAIT] {
            assert!(!rules.is_reusable(&Socket { state: other, ..time_wait("192.0.2.2:40000", 9000) }), "{other}");
        }
    }

    #[test]
    fn this_namespace_has_rules() {
        let rules = PortRules::read().unwrap();
        assert!(!rules.range.is_empty() && rules.ports().count() <= rules.range.len() as u32);
    }
}
