//! A distribution small enough to live inside a connection: count, sum, maximum and log2 buckets.

/// How many buckets a [`Dist`] has.
pub const BUCKETS: usize = 28;

/// Durations in nanoseconds, with log2 buckets of microseconds.
///
/// Bucket 0 holds what is below 2 µs, bucket `i` holds [2^i, 2^(i+1)) µs, and the last one also all that is longer
/// (134 s and up). Count, sum and maximum are exact; a percentile read from the buckets is off by less than a factor
/// of two.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let us = ns / 1000;
        let log2 = 63 - (us | 1).leading_zeros() as usize;
        if log2 < BUCKETS { log2 } else { BUCKETS - 1 }
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
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
        self.max = self.max.max(other.max);
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_their_bounds() {
        assert_eq!(Dist::bucket_of(0), 0);
        assert_eq!(Dist::bucket_of(1_999), 0);
        assert_eq!(Dist::bucket_of(2_000), 1);
        assert_eq!(Dist::bucket_of(1_000_000), 9);
        assert_eq!(Dist::bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn merging_equals_adding() {
        let (mut a, mut b, mut both) = (Dist::EMPTY, Dist::EMPTY, Dist::EMPTY);
        for (i, ns) in [5, 70_000, 3_000_000, 9_000_000_000].into_iter().enumerate() {
            if i % 2 == 0 { a.add(ns) } else { b.add(ns) }
            both.add(ns);
        }
        a.merge(&b);
        assert_eq!(a, both);
    }
}
