//! Counters that the kernel programs keep of themselves: what was lost, by cause, and what was left out.

/// Indices into the map of counters (one `u64` a CPU and index).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections whose record found no room in the ring and went into the fold.
    Folded = 0,
    /// Folded connections whose edge found no room in the fold: counted in the totals of no edge.
    FoldedOther = 1,
    /// Connections that were not tracked because the live map was full (E2BIG). One with data on its SYN (TCP Fast Open) is
    /// tried again with each data, and counted each time.
    MapFull = 2,
    /// Connections that were not tracked because the kernel had no memory at hand (ENOMEM).
    MapNoMemory = 3,
    /// Connections that were not tracked for another error of the map (EBUSY, EDEADLK).
    MapError = 4,
    /// Events in a process's life that found no room in the ring.
    ProcessLost = 5,
    /// Connections of the agent itself, left out.
    Own = 6,
    /// Connections left out by a filter.
    Filtered = 7,
    /// Connections whose end was missed and whose record was made later.
    Repaired = 8,
    /// Openings that were asked for and found no room in the ring.
    OpensLost = 9,
}

impl Counter {
    /// Every counter, in order of its index.
    pub const ALL: [Self; 10] = [
        Self::Folded,
        Self::FoldedOther,
        Self::MapFull,
        Self::MapNoMemory,
        Self::MapError,
        Self::ProcessLost,
        Self::Own,
        Self::Filtered,
        Self::Repaired,
        Self::OpensLost,
    ];
}
