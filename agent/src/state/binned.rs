//! Durations counted in sparse log-linear buckets with a stated error, in bounded memory.

use redial_common::dist::{BUCKETS, Dist, UNIT_SHIFT};

use super::histogram::Bound;

/// Linear parts of each power of two at first, as a power of two itself: 16 parts.
const FINEST: u8 = 4;

/// How many buckets are kept before the resolution is halved. Each takes 8 bytes.
const MAX_BINS: usize = 96;

/// A bucket's number and how many values it holds share a word: the number above, so that words are in its order.
const COUNT_BITS: u32 = 48;

/// Buckets from this number on are those of a [`Dist`].
const COARSE: u16 = 1 << 15;

/// Durations in nanoseconds: count, sum and maximum exact, percentiles within [`Binned::bound`].
#[derive(Clone, Debug, PartialEq)]
pub struct Binned {
    count: u64,
    sum: u128,
    max: u64,
    /// log2 of how many parts a power of two has.
    parts: u8,
    /// Buckets that hold something, in order: [`COUNT_BITS`]. Those of values known only by the buckets of a [`Dist`]
    /// come last.
    bins: Vec<u64>,
}

impl Default for Binned {
    fn default() -> Self {
        Self { count: 0, sum: 0, max: 0, parts: FINEST, bins: Vec::new() }
    }
}

/// The bucket of `ns` with 2^`parts` parts to a power of two.
fn bin_of(ns: u64, parts: u8) -> u16 {
    let top = 63 - ns.max(1).leading_zeros();
    let parts = u32::from(parts);
    let index = if top < parts { ns } else { (u64::from(top - parts) << parts) + (ns >> (top - parts)) };
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// A bucket and its count in one word.
fn packed(bin: u16, count: u64) -> u64 {
    (u64::from(bin) << COUNT_BITS) | count
}

/// The bucket and the count in a word.
fn unpacked(word: u64) -> (u16, u64) {
    ((word >> COUNT_BITS) as u16, word & ((1 << COUNT_BITS) - 1))
}

/// The least value of a bucket and how many values it spans.
fn span_of(bin: u16, parts: u8) -> (u64, u64) {
    let (bin, parts) = (u64::from(bin), u32::from(parts));
    let group = bin >> parts;
    if group == 0 {
        return (bin, 1);
    }
    let shift = group - 1;
    let within = bin - (shift << parts);
    (within << shift, 1 << shift)
}

/// The value that stands for a bucket of a [`Dist`]: the geometric middle of its bounds.
fn coarse_middle(bucket: u16, max: u64) -> u64 {
    let unit = 1_u64 << UNIT_SHIFT;
    let low = unit << bucket;
    if bucket == 0 {
        unit
    } else if usize::from(bucket) >= BUCKETS - 1 {
        ((low as f64) * (max.max(low) as f64)).sqrt() as u64
    } else {
        (low as f64 * std::f64::consts::SQRT_2) as u64
    }
}

impl Binned {
    /// Adds one duration.
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum += u128::from(ns);
        self.max = self.max.max(ns);
        self.put(bin_of(ns, self.parts), 1);
        self.shrink();
    }

    /// Adds the durations of a distribution by its buckets.
    pub fn add_dist(&mut self, dist: &Dist) {
        self.count += u64::from(dist.count);
        self.sum += u128::from(dist.sum);
        self.max = self.max.max(dist.max);
        for (bucket, &count) in (COARSE..).zip(&dist.buckets) {
            if count > 0 {
                self.put(bucket, u64::from(count));
            }
        }
    }

    /// Adds all durations of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        while self.parts > other.parts {
            self.halve();
        }
        let (fine, coarse) = other.bins.split_at(other.fine());
        for (bin, count) in fine.iter().copied().map(unpacked) {
            // The resolution may fall while this goes on, so each bucket is placed by its least value.
            self.put(bin_of(span_of(bin, other.parts).0, self.parts), count);
            self.shrink();
        }
        coarse.iter().copied().map(unpacked).for_each(|(bucket, count)| self.put(bucket, count));
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, ns.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The greatest, ns.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// How far [`Binned::percentiles`] may be off.
    pub fn bound(&self) -> Bound {
        if self.fine() < self.bins.len() {
            Bound::FactorOfTwo
        } else {
            Bound::Relative(0.5 / f64::from(1_u32 << self.parts))
        }
    }

    /// The values that `shares` (0 to 1, rising) of all values do not exceed, ns.
    pub fn percentiles<const N: usize>(&self, shares: [f64; N]) -> [u64; N] {
        let (fine, coarse) = self.bins.split_at(self.fine());
        let fine = fine.iter().map(|&word| {
            let (bin, count) = unpacked(word);
            let (low, width) = span_of(bin, self.parts);
            (low + (width - 1) / 2, count)
        });
        let coarse = coarse.iter().map(|&word| {
            let (bucket, count) = unpacked(word);
            (coarse_middle(bucket - COARSE, self.max), count)
        });
        let (mut fine, mut coarse) = (fine.peekable(), coarse.peekable());
        let mut below = 0;
        let mut value = 0;
        shares.map(|share| {
            let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count);
            if rank == self.count {
                return self.max;
            }
            while below < rank {
                let next = match (fine.peek(), coarse.peek()) {
                    (Some(one), Some(other)) if other < one => coarse.next(),
                    (None, _) => coarse.next(),
                    (Some(_), _) => fine.next(),
                };
                let Some((middle, count)) = next else { return self.max };
                (value, below) = (middle, below + count);
            }
            value.min(self.max)
        })
    }

    /// How many of the buckets are finer than those of a [`Dist`].
    fn fine(&self) -> usize {
        self.bins.partition_point(|&word| word < packed(COARSE, 0))
    }

    fn put(&mut self, bin: u16, count: u64) {
        let least = packed(bin, 0);
        let at = self.bins.partition_point(|&word| word < least);
        match self.bins.get_mut(at) {
            // 2^48 values would take a host years: the count never reaches the bucket's number.
            Some(word) if *word >> COUNT_BITS == u64::from(bin) => *word += count,
            _ => self.bins.insert(at, packed(bin, count)),
        }
    }

    fn shrink(&mut self) {
        // The coarse ones are few.
        while self.bins.len() > MAX_BINS && self.fine() > MAX_BINS && self.parts > 0 {
            self.halve();
        }
    }

    /// Halves the resolution, and with it roughly the memory.
    fn halve(&mut self) {
        let bins = std::mem::take(&mut self.bins);
        let finer = self.parts;
        self.parts -= 1;
        for (bin, count) in bins.into_iter().map(unpacked) {
            let bin = if bin < COARSE { bin_of(span_of(bin, finer).0, self.parts) } else { bin };
            self.put(bin, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::numbers, *};

    #[test]
    fn every_value_is_in_its_bucket() {
        for parts in 0..=FINEST {
            for ns in (0..200).chain([1_000, 65_535, 65_536, 1 << 40, u64::MAX]) {
                let (low, width) = span_of(bin_of(ns, parts), parts);
                assert!(low <= ns && ns - low < width, "{ns} with {parts}: {low} + {width}");
            }
        }
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut binned = Binned::default();
        for (i, value) in numbers(9).take(5_000).enumerate() {
            binned.add(value >> (i % 40));
            let mut dist = Dist::EMPTY;
            (0..3).for_each(|n| dist.add(value >> (n * 13)));
            binned.add_dist(&dist);
            assert!(binned.bins.len() <= MAX_BINS + BUCKETS);
        }
        assert_eq!((binned.count(), binned.bound()), (20_000, Bound::FactorOfTwo));
    }

    #[test]
    fn merging_equals_adding() {
        let (mut left, mut right, mut both) = (Binned::default(), Binned::default(), Binned::default());
        for (i, value) in numbers(7).take(2_000).map(|x| x >> (x % 40)).enumerate() {
            if i % 3 == 0 {
                left.add(value)
            } else {
                right.add(value)
            }
            both.add(value);
        }
        left.merge(&right);
        assert_eq!((left.count(), left.sum(), left.max()), (both.count(), both.sum(), both.max()));
        while left.parts > both.parts {
            left.halve();
        }
        while both.parts > left.parts {
            both.halve();
        }
        assert_eq!(left, both);
    }
}
