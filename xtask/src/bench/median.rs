//! The median of samples, and an interval that holds the true median with a stated probability.
//!
//! The interval's ends are two of the ordered samples, so nothing is assumed about their distribution: of n samples,
//! the k-th smallest and the k-th largest enclose the median with probability 1 − 2·P(Binomial(n, ½) < k).

use serde::Serialize;

/// The probability that is wanted; too few samples give less, and say so.
const WANTED: f64 = 0.95;

/// A median and what is known about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Median {
    /// The middle sample, or the mean of the two in the middle.
    pub median: f64,
    /// Absent for a single sample.
    pub interval: Option<Interval>,
}

/// Two ordered samples that enclose the median.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The probability that the median lies within.
    pub coverage: f64,
    /// The lower end is so many-th smallest of the samples, the upper end so many-th largest.
    pub rank: usize,
}

impl Median {
    /// Of `samples` in any order; none when there are none, or when one is no finite number.
    pub fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() || !samples.iter().all(|sample| sample.is_finite()) {
            return None;
        }
        let mut ordered = samples.to_vec();
        ordered.sort_by(f64::total_cmp);
        let n = ordered.len();
        let interval = (n > 1).then(|| {
            let (rank, coverage) = rank(n);
            Interval { low: ordered[rank - 1], high: ordered[n - rank], coverage, rank }
        });
        Some(Self { median: f64::midpoint(ordered[(n - 1) / 2], ordered[n / 2]), interval })
    }
}

/// The largest rank whose interval covers what is wanted (the first, if none does), and what it covers.
fn rank(n: usize) -> (usize, f64) {
    let mut best = (1, 1.0);
    // P(Binomial(n, ½) = i), and the sum of those below the rank.
    let mut term = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut below = 0.0;
    for rank in 1..=n.div_ceil(2) {
        below += term;
        term *= (n - rank + 1) as f64 / rank as f64;
        let coverage = 1.0 - 2.0 * below;
        if rank == 1 || coverage >= WANTED {
            best = (rank, coverage);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sign_test_tables() {
        // n, rank, coverage in percent.
        for (n, wanted, percent) in [(6, 1, 96.9), (9, 2, 96.1), (12, 3, 96.1), (15, 4, 96.5), (20, 6, 95.9)] {
            let (rank, coverage) = rank(n);
            assert_eq!(rank, wanted, "n = {n}");
            assert!((coverage * 100.0 - percent).abs() < 0.05, "n = {n}: {coverage}");
        }
    }

    #[test]
    fn few_samples_cover_less_and_say_so() {
        let three = Median::of(&[3.0, 1.0, 2.0]).unwrap();
        let interval = three.interval.unwrap();
        assert_eq!((three.median, interval.low, interval.high, interval.coverage), (2.0, 1.0, 3.0, 0.75));
        assert_eq!(Median::of(&[7.0]).unwrap(), Median { median: 7.0, interval: None });
    }

    #[test]
    fn what_is_no_number_gives_no_median() {
        assert_eq!(Median::of(&[]), None);
        assert_eq!(Median::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn the_interval_encloses_the_median_as_often_as_it_says() {
        let samples: Vec<f64> = (0..15).map(f64::from).collect();
        let Median { median, interval: Some(interval) } = Median::of(&samples).unwrap() else { panic!("no interval") };
        assert_eq!((median, interval.low, interval.high), (7.0, 3.0, 11.0));
    }
}
