//! A distribution small enough to live inside a connection: count, sum, maximum and log2 buckets.

/// How many buckets a [`Dist`] has.
pub const BUCKETS: usize = 28;

/// A bucket's unit is 2 to this power, ns.
pub const UNIT_SHIFT: u32 = 10;

/// Durations in nanoseconds, with log2 buckets in units of 1,024 ns (a shift is cheaper than a division).
///
/// Bucket 0 holds what is below 2 units, bucket `i` holds [2^i, 2^(i+1)) units, and the last one also all that is longer
/// (137 s and up). Count, sum and maximum are exact; a percentile read from the buckets is off by less than a factor
/// of two.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dist {
    /// Sum of all values, ns.
    pub sum: u64,
    /// The greatest value, ns.
    pub max: u64,
    /// How many values.
    pub count: u32,
    /// Values per bucket.
    pub buckets: [u32; BUCKETS],
    /// Keeps the size a multiple of eight.
    pub pad: u32,
}

const _: () = assert!(size_of::<Dist>() == 136);

impl Dist {
    /// No values.
    pub const EMPTY: Self = Self { sum: 0, max: 0, count: 0, buckets: [0; BUCKETS], pad: 0 };

    /// The bucket that a duration of `ns` belongs to, always below [`BUCKETS`].
    #[inline(always)]
    pub const fn bucket_of(ns: u64) -> usize {
        // BPF has no instruction that counts leading zeros; halving the range five times is the cheapest way left.
        let units = ns >> UNIT_SHIFT;
        if units >= 1 << (BUCKETS - 1) {
            return BUCKETS - 1;
        }
        let mut rest = units as u32;
        let mut log2 = 0;
        if rest >= 1 << 16 {
            rest >>= 16;
            log2 += 16;
        }
        if rest >= 1 << 8 {
            rest >>= 8;
            log2 += 8;
        }
        if rest >= 1 << 4 {
            rest >>= 4;
            log2 += 4;
        }
        if rest >= 1 << 2 {
            rest >>= 2;
            log2 += 2;
        }
        log2 + (rest >> 1) as usize
    }

    /// Adds one duration.
    #[inline(always)]
    pub fn add(&mut self, ns: u64) {
        self.sum += ns;
        self.count += 1;
        if ns > self.max {
            self.max = ns;
        }
        let bucket = Self::bucket_of(ns);
        // The comparison is what the kernel's verifier needs to see; `bucket_of` keeps it true.
        if bucket < BUCKETS {
            self.buckets[bucket] += 1;
        }
    }

    /// Adds all values of `other`.
    #[inline(always)]
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
        if other.max > self.max {
            self.max = other.max;
        }
        for bucket in 0..BUCKETS {
            self.buckets[bucket] += other.buckets[bucket];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_their_bounds() {
        assert_eq!(Dist::bucket_of(0), 0);
        assert_eq!(Dist::bucket_of(u64::MAX), BUCKETS - 1);
        for bucket in 1..BUCKETS {
            let bound = 1 << (bucket + UNIT_SHIFT as usize);
            assert_eq!((Dist::bucket_of(bound - 1), Dist::bucket_of(bound)), (bucket - 1, bucket));
        }
    }

    #[test]
    fn merging_equals_adding() {
        let (mut a, mut b, mut both) = (Dist::EMPTY, Dist::EMPTY, Dist::EMPTY);
        for (i, ns) in [5, 70_000, 3_000_000, 9_000_000_000].into_iter().enumerate() {
            if i % 2 == 0 {
                a.add(ns)
            } else {
                b.add(ns)
            }
            both.add(ns);
        }
        a.merge(&b);
        assert_eq!(a, both);
    }
}
