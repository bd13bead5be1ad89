//! Sizes of the kernel's maps, each with what it costs. User space may ask for other sizes at load time.

/// Connections in the live map. One takes about 600 bytes with the map's own overhead.
pub const CONNS: u32 = 65_536;

/// Bytes of the ring, a power of two: 30,000 records of connections with one exchange.
pub const RING_BYTES: u32 = 8 << 20;

/// Entries of the fold; one takes about 1.1 KB.
pub const FOLD: u32 = 4_096;

/// Processes in the filter by process.
pub const PIDS: u32 = 4_096;
