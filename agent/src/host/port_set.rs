//! A set of ports.

use std::{fmt, ops::RangeInclusive};

const WORDS: usize = (1 << 16) / 64;

/// Any of the 65,536 ports; 8 KiB.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet(Box<[u64; WORDS]>);

impl PortSet {
    /// None.
    pub fn empty() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// From a list as the kernel writes it: `8080,9000-9010`; empty for none.
    pub fn parse(list: &str) -> Option<Self> {
        let mut set = Self::empty();
        for item in list.trim().split(',').filter(|item| !item.is_empty()) {
            let (low, high) = item.split_once('-').unwrap_or((item, item));
            set.insert_all(low.parse().ok()?..=high.parse().ok()?);
        }
        Some(set)
    }

    /// Adds every port of `range`.
    pub fn insert_all(&mut self, range: RangeInclusive<u16>) {
        range.for_each(|port| self.0[usize::from(port >> 6)] |= 1 << (port & 63));
    }

    /// Takes `port` out; whether it was in.
    pub fn remove(&mut self, port: u16) -> bool {
        let was_in = self.contains(port);
        self.0[usize::from(port >> 6)] &= !(1 << (port & 63));
        was_in
    }

    /// Takes out every port that is in `other`.
    pub fn remove_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(word, out)| *word &= !out);
    }

    /// Whether `port` is in.
    pub fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] >> (port & 63) & 1 == 1
    }

    /// How many are in.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({} ports)", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel_are_understood() {
        let set = PortSet::parse("0,63-65,65535\n").unwrap();
        let ports: Vec<u16> = (0..=u16::MAX).filter(|port| set.contains(*port)).collect();
        assert_eq!(ports, [0, 63, 64, 65, 65535]);
        assert_eq!(set.count(), 5);
        assert!(PortSet::parse("\n").unwrap().count() == 0);
        for wrong in ["x", "1-", "70000"] {
            assert_eq!(PortSet::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ports_are_taken_out_once() {
        let mut set = PortSet::parse("10-20").unwrap();
        assert!(set.remove(15) && !set.remove(15) && !set.remove(9));
        set.remove_all(&PortSet::parse("1-12").unwrap());
        assert_eq!(set, PortSet::parse("13,14,16-20").unwrap());
    }
}
