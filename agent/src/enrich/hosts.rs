//! Names of remote addresses, from the hosts file only: no DNS is asked.

use std::{collections::HashMap, fs::File, io::Read, net::IpAddr, path::Path, sync::Arc};

/// How much of the file is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Names by address.
#[derive(Debug, Default)]
pub struct Hosts {
    names: HashMap<IpAddr, Arc<str>>,
}

impl Hosts {
    /// Reads the hosts file at `path`. One that is missing or unreadable names nothing: hosts without one are usual.
    pub fn read(path: &Path) -> Self {
        let mut text = Vec::new();
        match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text)) {
            Ok(_) => Self::parse(&String::from_utf8_lossy(&text)),
            Err(_) => Self::default(),
        }
    }

    /// Reads the format of hosts(5). The first name of an address counts, as for the C library.
    pub fn parse(text: &str) -> Self {
        let mut names = HashMap::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(address), Some(name)) = (words.next(), words.next()) else { continue };
            // A name for loopback says less than the address: 127.0.0.1 and ::1 usually share it.
            if let Ok(address) = address.parse::<IpAddr>().map(|address| address.to_canonical())
                && !address.is_loopback()
            {
                names.entry(address).or_insert_with(|| name.into());
            }
        }
        Self { names }
    }

    /// The name of `address`, if the file has one.
    pub fn name_of(&self, address: IpAddr) -> Option<&Arc<str>> {
        self.names.get(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_counts() {
        let hosts = Hosts::parse(
            "# comment\n192.0.2.1 db1 db1.example # main\n192.0.2.1 other\nnonsense x\n::1 lo6\n2001:db8::1 six\n",
        );
        let name_of = |address: &str| hosts.name_of(address.parse().unwrap()).map(AsRef::as_ref);
        assert_eq!(name_of("192.0.2.1"), Some("db1"));
        assert_eq!(name_of("2001:db8::1"), Some("six"));
        assert_eq!(name_of("::1"), None);
        assert_eq!(name_of("192.0.2.2"), None);
    }
}
