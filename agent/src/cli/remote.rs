//! The filter by remote: networks and hosts.

use std::{
    net::{IpAddr, ToSocketAddrs as _},
    str::FromStr,
};

use anyhow::Context;
use ipnet::IpNet;
use redial_common::{edge::FoldKey, record::conn::Conn, tcp::role};

use super::failure::Failure;
use crate::enrich::address::address;

/// What `--remote` says: a network, or a host by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// An address or a network.
    Network(IpNet),
    /// A name.
    Host(String),
}

impl FromStr for Remote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.to_canonical().into()));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network));
        }
        // What looks like an address and is none must not be asked for as a name.
        let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let named = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if numeric || !named {
            return Err("neither an address, a network as 10.0.0.0/8, nor the name of a host".to_owned());
        }
        Ok(Self::Host(text.to_owned()))
    }
}

/// The remotes to watch; all when empty.
#[derive(Clone, Debug, Default)]
pub struct RemoteFilter {
    networks: Vec<IpNet>,
}

impl RemoteFilter {
    /// Resolves names, once, as the system does it.
    pub fn resolve(remotes: &[Remote]) -> Result<Self, Failure> {
        let mut networks = Vec::new();
        for remote in remotes {
            match remote {
                Remote::Network(network) => networks.push(*network),
                Remote::Host(name) => {
                    let addresses = (name.as_str(), 0)
                        .to_socket_addrs()
                        .with_context(|| format!("cannot resolve --remote {name}; give an address or a network"))?;
                    networks.extend(addresses.map(|found| IpNet::from(found.ip().to_canonical())));
                }
            }
        }
        Ok(Self { networks })
    }

    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether `remote` is wanted.
    pub fn allows(&self, remote: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&remote))
    }

    /// Whether `conn` is wanted.
    pub fn allows_conn(&self, conn: &Conn) -> bool {
        self.allows(address(conn.family, &conn.remote))
    }

    /// Whether folded connections are wanted; `None` when their totals do not tell the remote.
    pub fn allows_fold(&self, key: &FoldKey) -> Option<bool> {
        if self.networks.is_empty() {
            Some(true)
        } else if key.role == role::SERVER || key.family == 0 {
            None
        } else {
            Some(self.allows(address(key.family, &key.remote)))
        }
    }
}

#[cfg(test)]
mod tests {
    use redial_common::tcp::family;

    use super::*;

    #[test]
    fn addresses_networks_and_names_are_told_apart() {
        assert_eq!("10.0.0.0/8".parse(), Ok(Remote::Network("10.0.0.0/8".parse().unwrap())));
        assert_eq!("::ffff:10.0.0.1".parse(), Ok(Remote::Network("10.0.0.1/32".parse().unwrap())));
        assert_eq!("db-1.example".parse(), Ok(Remote::Host("db-1.example".into())));
        for wrong in ["10.0.0.300", "10.0.0.0/33", "", "a b", "fe80::/200"] {
            assert!(wrong.parse::<Remote>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_filter_is_exact() {
        let filter = RemoteFilter::resolve(&["10.1.0.0/16".parse().unwrap(), "2001:db8::1".parse().unwrap()]).unwrap();
        let conn = |a, b| Conn {
            family: family::INET,
            remote: [a, b, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ..Conn::ZERO
        };
        assert!(filter.allows_conn(&conn(10, 1)));
        assert!(!filter.allows_conn(&conn(10, 2)));
        assert!(RemoteFilter::default().allows_conn(&conn(10, 2)));
        let mut key = FoldKey {
            remote: conn(10, 1).remote,
            netns: 0,
            tgid: 0,
            port: 80,
            family: family::INET,
            role: role::CLIENT,
            writer: 0,
            nobody: 0,
            generation: 0,
        };
        assert_eq!(filter.allows_fold(&key), Some(true));
        key.role = role::SERVER;
        assert_eq!(filter.allows_fold(&key), None);
        assert_eq!(RemoteFilter::default().allows_fold(&key), Some(true));
    }
}
