//! Durations of one edge: a few as they are, more of them in buckets.

use redial_common::dist::Dist;

use super::binned::Binned;

/// How many durations are kept as they are: most edges have few connections.
const EXACT: usize = 3;

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
pub struct Histogram(Values);

#[derive(Clone, Debug, PartialEq)]
enum Values {
    /// So many, in order of size; zeros behind.
    Few(u8, [u64; EXACT]),
    /// Any number.
    Many(Box<Binned>),
}

impl Default for Histogram {
    fn default() -> Self {
        Self(Values::Few(0, [0; EXACT]))
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn add(&mut self, ns: u64) {
        match &mut self.0 {
            Values::Few(count, values) if usize::from(*count) < EXACT => {
                let known = usize::from(*count);
                let at = values[..known].partition_point(|&value| value <= ns);
                values.copy_within(at..known, at + 1);
                values[at] = ns;
                *count += 1;
            }
            _ => self.many().add(ns),
        }
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
            _ => self.many().add_dist(dist),
        }
    }

    /// Adds all durations of `other`.
    pub fn merge(&mut self, other: &Self) {
        match &other.0 {
            Values::Few(count, values) => values[..usize::from(*count)].iter().for_each(|&ns| self.add(ns)),
            Values::Many(binned) => self.many().merge(binned),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Values::Few(0, _))
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Values::Few(count, _) => u64::from(*count),
            Values::Many(binned) => binned.count(),
        }
    }

    /// Their sum, ns.
    pub fn sum(&self) -> u128 {
        match &self.0 {
            Values::Few(_, values) => values.iter().copied().map(u128::from).sum(),
            Values::Many(binned) => binned.sum(),
        }
    }

    /// The greatest, ns.
    pub fn max(&self) -> u64 {
        match &self.0 {
            Values::Few(count, values) => values[..usize::from(*count)].last().copied().unwrap_or(0),
            Values::Many(binned) => binned.max(),
        }
    }

    /// How far [`Histogram::percentiles`] may be off.
    pub fn bound(&self) -> Bound {
        match &self.0 {
            Values::Few(..) => Bound::Relative(0.0),
            Values::Many(binned) => binned.bound(),
        }
    }

    /// The values that each of `shares` (0 to 1, rising) of all values do not exceed, ns; `None` without values.
    pub fn percentiles<const N: usize>(&self, shares: [f64; N]) -> Option<[u64; N]> {
        match &self.0 {
            Values::Few(0, _) => None,
            Values::Few(count, values) => {
                let rank = |share: f64| ((share * f64::from(*count)).ceil() as usize).clamp(1, usize::from(*count));
                Some(shares.map(|share| values[rank(share) - 1]))
            }
            Values::Many(binned) => Some(binned.percentiles(shares)),
        }
    }

    /// The buckets, which take in what was kept as it was.
    fn many(&mut self) -> &mut Binned {
        if let Values::Few(count, values) = self.0 {
            let mut binned = Binned::default();
            values[..usize::from(count)].iter().for_each(|&ns| binned.add(ns));
            self.0 = Values::Many(Box::new(binned));
        }
        match &mut self.0 {
            Values::Many(binned) => binned,
            Values::Few(..) => unreachable!("they were turned into buckets above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::numbers, *};

    fn assert_within_bound(histogram: &Histogram, values: &mut [u64]) {
        values.sort_unstable();
        assert_eq!(histogram.count(), values.len() as u64);
        assert_eq!(histogram.sum(), values.iter().map(|&v| u128::from(v)).sum::<u128>());
        assert_eq!(Some(&histogram.max()), values.last());
        for share in [0.01, 0.5, 0.95, 0.99, 1.0] {
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let (truth, got) = (values[rank - 1] as f64, histogram.percentiles([share]).unwrap()[0] as f64);
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
    fn percentiles_keep_their_bound_while_memory_is_bounded() {
        for (seed, spread) in [(1, 10), (2, 100), (3, 1_000_000), (4, 1 << 40)] {
            let mut histogram = Histogram::default();
            let mut values: Vec<u64> = numbers(seed).take(5_000).map(|x| 20_000 + x % spread).collect();
            values.iter().for_each(|&value| histogram.add(value));
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
        assert_within_bound(&histogram, &mut values);
    }

    #[test]
    fn a_few_values_are_exact_in_any_order() {
        for values in [[5, 5, 9], [9, 5, 7], [0, 0, 0], [u64::MAX, 1, 2]] {
            let mut histogram = Histogram::default();
            assert!(histogram.is_empty() && histogram.percentiles([0.5]).is_none());
            values.iter().for_each(|&value| histogram.add(value));
            assert_eq!(histogram.bound(), Bound::Relative(0.0));
            assert_within_bound(&histogram, &mut values.clone());
            histogram.add(6);
            assert!(matches!(histogram.bound(), Bound::Relative(error) if error > 0.0));
            assert_within_bound(&histogram, &mut [values[0], values[1], values[2], 6]);
        }
    }
}
