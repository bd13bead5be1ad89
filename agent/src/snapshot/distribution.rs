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
        let percentile = |share| histogram.percentile(share).map(seconds);
        Some(Self {
            count: histogram.count(),
            mean: histogram.sum() as f64 / histogram.count() as f64 / 1e9,
            p50: percentile(0.5)?,
            p95: percentile(0.95)?,
            p99: percentile(0.99)?,
            max: seconds(histogram.max()),
            bound: histogram.bound(),
        })
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
