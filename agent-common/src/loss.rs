//! Counters that the kernel programs keep of themselves: what was lost, by cause, and what was left out.

/// Indices into the map of counters (one `u64` a CPU and index).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections that were given an id, whether the live map had room for them or not.
    Seen = 0,
    /// Connections whose record found no room in the ring and went into the fold.
    Folded = 1,
    /// Folded connections whose edge found no room in the fold: counted in the totals of no edge.
    FoldedOther = 2,
    /// Connections that were not tracked because the live map was full (E2BIG).
    MapFull = 3,
    /// Connections that were not tracked because the kernel had no memory at hand (ENOMEM).
    MapNoMemory = 4,
    /// Connections that were not tracked for another error of the map (EBUSY, EDEADLK).
    MapError = 5,
    /// Events in a process's life that found no room in the ring.
    ProcessLost = 6,
    /// Connections of the agent itself, left out.
    Own = 7,
    /// Connections left out by a filter.
    Filtered = 8,
    /// Connections whose end was missed and whose record was made later.
    Repaired = 9,
    /// Openings that were asked for and found no room in the ring.
    OpensLost = 10,
}

impl Counter {
    /// Every counter, in order of its index.
    pub const ALL: [Self; 11] = [
        Self::Seen,
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
