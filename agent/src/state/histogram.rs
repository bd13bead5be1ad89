//! Durations of one edge: a sparse log-linear histogram with a stated error, in bounded memory.

use redial_common::dist::{BUCKETS, Dist, UNIT_SHIFT};

/// Linear parts of each power of two at first, as a power of two itself: 16 parts.
const FINEST: u8 = 4;

/// How many buckets are kept before the resolution is halved. Each takes 8 bytes.
const MAX_BINS: usize = 96;

/// A bucket's number and how many values it holds share a word: the number above, so that words are in its order.
const COUNT_BITS: u32 = 48;

/// How far a percentile may be from the true one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// By this share of the true value at most.
    Relative(f64),
    /// Less than a factor of two (1 µs below 2 µs; unbounded above 134 s): some values came as log2 buckets.
    FactorOfTwo,
}

/// Durations in nanoseconds: count, sum and maximum exact, percentiles within [`Histogram::bound`].
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    count: u64,
    sum: u128,
    max: u64,
    /// log2 of how many parts a power of two has.
    parts: u8,
    /// Buckets that hold something, in order: [`COUNT_BITS`].
    bins: Vec<u64>,
    /// Values known only by the buckets of a [`Dist`].
    coarse: Option<Box<[u64; BUCKETS]>>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { count: 0, sum: 0, max: 0, parts: FINEST, bins: Vec::new(), coarse: None }
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
fn coarse_middle(bucket: usize, max: u64) -> u64 {
    let unit = 1_u64 << UNIT_SHIFT;
    let low = unit << bucket;
    if bucket == 0 {
        unit
    } else if bucket == BUCKETS - 1 {
        ((low as f64) * (max.max(low) as f64)).sqrt() as u64
    } else {
        (low as f64 * std::f64::consts::SQRT_2) as u64
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum += u128::from(ns);
        self.max = self.max.max(ns);
        self.put(bin_of(ns, self.parts), 1);
        self.shrink();
    }

    /// Adds the durations of a connection's or a fold's distribution. One or two of them are known exactly.
    pub fn add_dist(&mut self, dist: &Dist) {
        match dist.count {
            0 => {}
            1 => self.add(dist.sum),
            2 => {
                self.add(dist.max);
                self.add(dist.sum.saturating_sub(dist.max));
            }
            _ => {
                self.count += u64::from(dist.count);
                self.sum += u128::from(dist.sum);
                self.max = self.max.max(dist.max);
                let coarse = self.coarse.get_or_insert_default();
                for (mine, theirs) in coarse.iter_mut().zip(dist.buckets) {
                    *mine += u64::from(theirs);
                }
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
        for (bin, count) in other.bins.iter().copied().map(unpacked) {
            // The resolution may fall while this goes on, so each bucket is placed by its least value.
            self.put(bin_of(span_of(bin, other.parts).0, self.parts), count);
            self.shrink();
        }
        if let Some(theirs) = &other.coarse {
            for (mine, theirs) in self.coarse.get_or_insert_default().iter_mut().zip(theirs.iter()) {
                *mine += theirs;
            }
        }
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

    /// How far [`Histogram::percentile`] may be off.
    pub fn bound(&self) -> Bound {
        match self.coarse {
            Some(_) => Bound::FactorOfTwo,
            None => Bound::Relative(0.5 / f64::from(1_u32 << self.parts)),
        }
    }

    /// The value that `share` (0 to 1) of all values do not exceed, ns; `None` without values.
    pub fn percentile(&self, share: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let mut buckets: Vec<(u64, u64)> = self
            .bins
            .iter()
            .map(|&word| {
                let (bin, count) = unpacked(word);
                let (low, width) = span_of(bin, self.parts);
                (low + (width - 1) / 2, count)
            })
            .collect();
        if let Some(coarse) = &self.coarse {
            buckets.extend(coarse.iter().enumerate().map(|(i, &count)| (coarse_middle(i, self.max), count)));
            buckets.sort_unstable();
        }
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count);
        if rank == self.count {
            return Some(self.max);
        }
        let mut below = 0;
        for (value, count) in buckets {
            below += count;
            if below >= rank {
                return Some(value.min(self.max));
            }
        }
        Some(self.max)
    }

    fn put(&mut self, bin: u16, count: u64) {
        let least = packed(bin, 0);
        let at = self.bins.partition_point(|&word| word < least);
        match self.bins.get_mut(at) {
            // 2^48 values would take a host years: the count never reaches the bucket's number.
            Some(word) if *word >> COUNT_BITS == u64::from(bin) => *word += count,
            _ => {
                if self.bins.is_empty() {
                    // Most edges have few connections.
                    self.bins.reserve_exact(1);
                }
                self.bins.insert(at, packed(bin, count));
            }
        }
    }

    fn shrink(&mut self) {
        while self.bins.len() > MAX_BINS && self.parts > 0 {
            self.halve();
        }
    }

    /// Halves the resolution, and with it roughly the memory.
    fn halve(&mut self) {
        let bins = std::mem::take(&mut self.bins);
        let finer = self.parts;
        self.parts -= 1;
        for (bin, count) in bins.into_iter().map(unpacked) {
            self.put(bin_of(span_of(bin, finer).0, self.parts), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cheap generator of numbers, the same on every run (Knuth's MMIX constants).
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(seed), |x| {
            Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
        })
        .map(|x| x >> 20)
    }

    fn assert_within_bound(histogram: &Histogram, values: &mut [u64]) {
        values.sort_unstable();
        assert_eq!(histogram.count(), values.len() as u64);
        assert_eq!(histogram.sum(), values.iter().map(|&v| u128::from(v)).sum::<u128>());
        assert_eq!(Some(&histogram.max()), values.last());
        for share in [0.01, 0.5, 0.95, 0.99, 1.0] {
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let (truth, got) = (values[rank - 1] as f64, histogram.percentile(share).unwrap() as f64);
            match histogram.bound() {
                Bound::Relative(error) => {
                    assert!((got - truth).abs() <= truth * error + 1.0, "p{share}: {got} for {truth}, bound {error}");
                }
                Bound::FactorOfTwo => {
                    let (got, truth) = (got.max(1024.0), truth.max(1024.0));
                    assert!(got < truth * 2.0 && truth < got * 2.0, "p{share}: {got} for {truth}");
                }
            }
        }
    }

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
    fn percentiles_keep_their_bound_while_memory_is_bounded() {
        for (seed, spread) in [(1, 10), (2, 100), (3, 1_000_000), (4, 1 << 40)] {
            let mut histogram = Histogram::default();
            let mut values: Vec<u64> = numbers(seed).take(5_000).map(|x| 20_000 + x % spread).collect();
            values.iter().for_each(|&value| histogram.add(value));
            assert!(histogram.bins.len() <= MAX_BINS);
            assert_within_bound(&histogram, &mut values);
        }
    }

    #[test]
    fn a_spread_over_all_sizes_costs_resolution_and_says_so() {
        let mut histogram = Histogram::default();
        let mut values: Vec<u64> = numbers(9).take(5_000).enumerate().map(|(i, x)| x >> (i % 40)).collect();
        values.iter().for_each(|&value| histogram.add(value));
        let Bound::Relative(error) = histogram.bound() else { panic!("no coarse values were added") };
        assert!(error > 0.5 / 16.0 && error <= 0.5);
        assert!(histogram.bins.len() <= MAX_BINS);
        assert_within_bound(&histogram, &mut values);
    }

    #[test]
    fn log2_buckets_are_within_a_factor_of_two() {
        let mut histogram = Histogram::default();
        let mut values: Vec<u64> = numbers(5).take(3_000).map(|x| x % 50_000_000).collect();
        for chunk in values.chunks(30) {
            let mut dist = Dist::EMPTY;
            chunk.iter().for_each(|&value| dist.add(value));
            histogram.add_dist(&dist);
        }
        assert_eq!(histogram.bound(), Bound::FactorOfTwo);
        assert_within_bound(&histogram, &mut values);
    }

    #[test]
    fn one_or_two_values_of_a_connection_are_exact() {
        let mut histogram = Histogram::default();
        let mut dist = Dist::EMPTY;
        dist.add(1_000_000);
        dist.add(3_000_000);
        histogram.add_dist(&dist);
        assert!(matches!(histogram.bound(), Bound::Relative(_)));
        assert_within_bound(&histogram, &mut [1_000_000, 3_000_000]);
    }

    #[test]
    fn merging_equals_adding() {
        let (mut left, mut right, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
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
