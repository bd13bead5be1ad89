//! A distribution of durations as people and programs read it.

use redial_common::dist::Dist;
use serde::Serialize;

use crate::state::histogram::{Bound, Histogram};

/// Durations in seconds. Count, mean and maximum are exact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// What half of them do not exceed.
    pub p50: f64,
    /// What 95% of them do not exceed.
    pub p95: f64,
    /// What 99% of them do not exceed.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
    /// How far the percentiles may be off.
    #[serde(skip)]
    pub bound: Bound,
}

impl Distribution {
    /// Reads a histogram; `None` when it is empty: nothing was measured.
    pub fn of(histogram: &Histogram) -> Option<Self> {
        let [p50, p95, p99] = histogram.percentiles([0.5, 0.95, 0.99])?.map(seconds);
        Some(Self {
            count: histogram.count(),
            mean: histogram.sum() as f64 / histogram.count() as f64 / 1e9,
            p50,
            p95,
            p99,
            max: seconds(histogram.max()),
            bound: histogram.bound(),
        })
    }

    /// Reads two histograms as one.
    pub fn of_both(one: &Histogram, other: Option<&Histogram>) -> Option<Self> {
        match other.filter(|other| !other.is_empty()) {
            None => Self::of(one),
            Some(other) if one.is_empty() => Self::of(other),
            Some(other) => {
                let mut both = one.clone();
                both.merge(other);
                Self::of(&both)
            }
        }
    }

    /// Reads the distribution within one connection, with one more duration where there is one.
    pub fn of_dist(dist: &Dist, one_more: Option<u64>) -> Option<Self> {
        let mut dist = *dist;
        one_more.into_iter().for_each(|ns| dist.add(ns));
        let mut histogram = Histogram::default();
        histogram.add_dist(&dist);
        Self::of(&histogram)
    }
}

/// Nanoseconds as seconds.
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
