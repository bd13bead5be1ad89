//! The order in which edges are shown: most opened first, then by program, role and place.

use std::{cmp::Reverse, net::IpAddr, sync::Arc};

use foldhash::{HashMap, HashMapExt as _};

use super::{
    edge::OwnerKind,
    row::{OTHER, Row},
};
use crate::state::{key::Place, tally::Tally};

/// A program by what it is ordered by: executable, name, kind.
type Program<'a> = (Option<&'a str>, Option<&'a str>, OwnerKind);

/// Where the texts of a program are kept.
type Kept = (Option<*const u8>, Option<*const u8>, OwnerKind);

/// What edges are ordered by, in words: two edges are compared without a look at them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Opened, failed, open.
    counts: Reverse<(u64, u64, u64)>,
    /// Number of the program, role, kind of the address.
    program: (u32, u8, u8),
    address: u128,
    port_and_netns: u64,
    position: u32,
}

/// Edges to be ordered.
pub struct Order<'a> {
    numbers: HashMap<Kept, u32>,
    programs: Vec<Program<'a>>,
    ranks: Vec<Rank>,
}

impl<'a> Order<'a> {
    /// Nothing yet, and room for so many edges.
    pub fn with_capacity(edges: usize) -> Self {
        Self { numbers: HashMap::new(), programs: Vec::new(), ranks: Vec::with_capacity(edges) }
    }

    /// Adds the next edge.
    pub fn add(&mut self, row: &Row<'a>, tally: &Tally) {
        let address = |text: Option<&Arc<str>>| text.map(|text| Arc::as_ptr(text).cast::<u8>());
        let (exe, comm, kind) = (row.executable(), row.comm(), row.kind());
        let programs = &mut self.programs;
        let number = *self.numbers.entry((address(exe), address(comm), kind)).or_insert_with(|| {
            let exe = exe.map(AsRef::as_ref).or((kind == OwnerKind::Other).then_some(OTHER));
            programs.push((exe, comm.map(AsRef::as_ref), kind));
            (programs.len() - 1) as u32
        });
        let (family, address, port) = match row.key.place {
            Place::Any => (0, 0, 0),
            Place::LocalPort(port) => (0, 0, port),
            Place::Remote(IpAddr::V4(address), port) => (1, address.to_bits().into(), port),
            Place::Remote(IpAddr::V6(address), port) => (2, address.to_bits(), port),
        };
        self.ranks.push(Rank {
            counts: Reverse((tally.counts.opened, tally.counts.failed(), tally.open)),
            program: (number, row.key.role as u8, family),
            address,
            port_and_netns: u64::from(port) << 32 | u64::from(row.key.netns),
            position: self.ranks.len() as u32,
        });
    }

    /// The positions in which edges were added, in the order in which they are shown.
    pub fn sorted(mut self) -> impl ExactSizeIterator<Item = usize> {
        // Programs are few: their texts are compared here, and not for each pair of edges.
        let mut sorted = self.programs.clone();
        sorted.sort_unstable();
        // Equal texts have equal numbers, though they may be kept twice.
        let number = |program| sorted.partition_point(|other| other < program) as u32;
        let numbers: Vec<u32> = self.programs.iter().map(number).collect();
        self.ranks.iter_mut().for_each(|rank| rank.program.0 = numbers[rank.program.0 as usize]);
        self.ranks.sort_unstable();
        self.ranks.into_iter().map(|rank| rank.position as usize)
    }
}
