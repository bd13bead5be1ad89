//! Sizes of the kernel's maps, each with what it costs. User space may ask for other sizes at load time.

/// Connections in the live map, where the kernel allocates places as they are needed (6.1 and later): 4 MB for the
/// map itself, 1 KB a connection that is open.
pub const CONNS: u32 = 262_144;

/// Connections in the live map where all places are made beforehand: 40 MB.
pub const CONNS_PREALLOCATED: u32 = 65_536;

/// Bytes of the ring, a power of two: 30,000 records of connections with one exchange.
pub const RING_BYTES: u32 = 8 << 20;

/// Entries of the fold; one takes about 1.1 KB.
pub const FOLD: u32 = 4_096;

/// Threads inside the kernel's functions that connect and accept, where those are watched by breakpoints: many may
/// wait to accept. 350 KB.
pub const CALLS: u32 = 4_096;

/// Processes in the filter by process.
pub const PIDS: u32 = 4_096;
