//! Addresses as the wire carries them, turned into Rust's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use redial_common::tcp::family;

/// The address in `bytes` for one of [`family`]. An IPv4 address mapped into IPv6 comes back as IPv4.
pub fn address(raw_family: u8, bytes: &[u8; 16]) -> IpAddr {
    if raw_family == family::INET6 {
        Ipv6Addr::from(*bytes).to_canonical()
    } else {
        Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4() {
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[192, 0, 2, 7]);
        assert_eq!(address(family::INET, &bytes), v4);
        let mapped: Ipv6Addr = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(address(family::INET6, &mapped.octets()), v4);
        let v6: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(address(family::INET6, &v6.octets()), IpAddr::V6(v6));
    }
}
