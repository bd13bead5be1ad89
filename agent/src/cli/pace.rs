//! How long to wait between two looks at the ring: wakeups cost more than the programs, so the kernel sends none.

use std::time::Duration;

/// Between looks while connections come.
const BUSY: Duration = Duration::from_millis(50);

/// Between looks while nothing comes.
const IDLE: Duration = Duration::from_millis(200);

/// Bytes that a connection takes in the ring, with the ring's own header, if it had one turn at most.
const EVENT_BYTES: usize = redial_common::record::conn::HEAD_LEN + 8;

/// The drain timer.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    wait: Duration,
    /// So many events at one look mean that the ring is filling.
    many: usize,
}

impl Pace {
    /// A timer for a ring of `ring_bytes`.
    pub fn new(ring_bytes: u32) -> Self {
        Self { wait: BUSY, many: (usize::try_from(ring_bytes).unwrap_or(usize::MAX) / EVENT_BYTES / 4).max(1) }
    }

    /// How long to wait after a look that found `events`: not at all while the ring fills.
    pub fn after(&mut self, events: usize) -> Duration {
        self.wait = match events {
            0 => (self.wait * 2).clamp(BUSY, IDLE),
            n if n >= self.many => Duration::ZERO,
            _ => BUSY,
        };
        self.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_slows_down_when_idle_and_hurries_when_the_ring_fills() {
        let mut pace = Pace::new(8 << 20);
        assert_eq!(pace.after(1), BUSY);
        assert_eq!((pace.after(0), pace.after(0), pace.after(0)), (BUSY * 2, IDLE, IDLE));
        assert_eq!(pace.after(10_000), Duration::ZERO);
        assert_eq!(pace.after(0), BUSY);
        assert_eq!(pace.after(3), BUSY);
    }
}
