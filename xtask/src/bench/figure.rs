//! A figure: what is measured, what is wanted, what came out, and whether that is enough.

use serde::Serialize;

use super::median::Median;

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Measured with ÷ measured without.
    #[serde(rename = "ratio")]
    Ratio,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// 1,000,000 bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// Hundredths of one CPU.
    #[serde(rename = "% of a CPU")]
    CpuPercent,
}

impl Unit {
    /// A number of this unit as a person reads it.
    pub fn show(self, number: f64) -> String {
        match self {
            Self::Ratio | Self::CpuPercent | Self::Seconds => format!("{number:.3}"),
            Self::Nanoseconds if number >= 1000.0 => format!("{number:.0}"),
            Self::Bytes => format!("{number:.0}"),
            Self::Nanoseconds | Self::Milliseconds | Self::Megabytes => format!("{number:.1}"),
        }
    }

    /// The unit's sign, empty for a ratio.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Ratio => "",
            Self::Nanoseconds => "ns",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Bytes => "B",
            Self::Megabytes => "MB",
            Self::CpuPercent => "%",
        }
    }
}

/// What is wanted, and what would be better. The worse end of the interval is what counts, so that noise never makes a figure pass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Target {
    /// So much or more.
    AtLeast {
        /// Wanted.
        at_least: f64,
        /// Better.
        stretch: Option<f64>,
    },
    /// So much or less.
    AtMost {
        /// Wanted.
        at_most: f64,
        /// Better.
        stretch: Option<f64>,
    },
}

/// How a figure stands to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Even the better target is met.
    Stretch,
    /// The target is met.
    Ok,
    /// The target is missed.
    Missed,
}

impl Target {
    /// So much or more is wanted.
    pub const fn at_least(at_least: f64) -> Self {
        Self::AtLeast { at_least, stretch: None }
    }

    /// So much or less is wanted.
    pub const fn at_most(at_most: f64) -> Self {
        Self::AtMost { at_most, stretch: None }
    }

    /// The same, and `better` would be better.
    pub const fn or_better(self, better: f64) -> Self {
        let stretch = Some(better);
        match self {
            Self::AtLeast { at_least, .. } => Self::AtLeast { at_least, stretch },
            Self::AtMost { at_most, .. } => Self::AtMost { at_most, stretch },
        }
    }

    fn verdict(self, low: f64, high: f64) -> Verdict {
        let (met, better) = match self {
            Self::AtLeast { at_least, stretch } => (low >= at_least, stretch.is_some_and(|stretch| low >= stretch)),
            Self::AtMost { at_most, stretch } => (high <= at_most, stretch.is_some_and(|stretch| high <= stretch)),
        };
        match (met, better) {
            (true, true) => Verdict::Stretch,
            (true, false) => Verdict::Ok,
            (false, _) => Verdict::Missed,
        }
    }
}

/// A figure that a bench promises.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// What is measured.
    pub name: &'static str,
    /// In what.
    pub unit: Unit,
    /// What is wanted, if anything is.
    pub target: Option<Target>,
}

/// A figure as it came out.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What is measured.
    #[serde(rename = "figure")]
    pub name: String,
    /// In what.
    pub unit: Unit,
    /// What is wanted, if anything is.
    pub target: Option<Target>,
    /// What came out.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What a reader has to know about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Numbers.
    Measured {
        /// Their median.
        #[serde(flatten)]
        median: Median,
        /// The numbers, in the order of measurement.
        samples: Vec<f64>,
        /// How the figure stands to its target, if it has one.
        verdict: Option<Verdict>,
    },
    /// None, and why.
    Unmeasured {
        /// Why.
        unmeasured: String,
    },
}

impl Figure {
    /// A promised figure of `samples`.
    pub fn of(spec: &Spec, samples: Vec<f64>) -> Self {
        let Some(median) = Median::of(&samples) else {
            return Self::unmeasured(spec, format!("the samples are no numbers: {samples:?}"));
        };
        let (low, high) =
            median.interval.as_ref().map_or((median.median, median.median), |interval| (interval.low, interval.high));
        let verdict = spec.target.map(|target| target.verdict(low, high));
        Self::new(spec, Outcome::Measured { median, samples, verdict })
    }

    /// A promised figure that there is no number for.
    pub fn unmeasured(spec: &Spec, why: impl Into<String>) -> Self {
        Self::new(spec, Outcome::Unmeasured { unmeasured: why.into() })
    }

    /// A figure beside the promised ones, without a target.
    pub fn detail(name: String, unit: Unit, samples: Vec<f64>) -> Self {
        Self { name, ..Self::of(&Spec { name: "", unit, target: None }, samples) }
    }

    /// The same with a note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Why there is no number, if there is none.
    pub fn why_unmeasured(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Measured { .. } => None,
            Outcome::Unmeasured { unmeasured } => Some(unmeasured),
        }
    }

    fn new(spec: &Spec, outcome: Outcome) -> Self {
        Self { name: spec.name.to_owned(), unit: spec.unit, target: spec.target, outcome, note: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(target: Target, samples: &[f64]) -> Option<Verdict> {
        let spec = Spec { name: "x", unit: Unit::Ratio, target: Some(target) };
        match Figure::of(&spec, samples.to_vec()).outcome {
            Outcome::Measured { verdict, .. } => verdict,
            Outcome::Unmeasured { .. } => None,
        }
    }

    #[test]
    fn the_worse_end_of_the_interval_counts() {
        let rate = Target::at_least(0.90).or_better(0.95);
        assert_eq!(verdict(rate, &[0.89, 0.97, 0.97]), Some(Verdict::Missed));
        assert_eq!(verdict(rate, &[0.91, 0.97, 0.97]), Some(Verdict::Ok));
        assert_eq!(verdict(rate, &[0.96, 0.97, 0.97]), Some(Verdict::Stretch));
        assert_eq!(verdict(Target::at_most(2000.0).or_better(1200.0), &[900.0, 900.0, 2100.0]), Some(Verdict::Missed));
        assert_eq!(verdict(Target::at_most(0.2), &[0.2]), Some(Verdict::Ok));
    }

    #[test]
    fn no_number_is_never_a_zero() {
        let spec = Spec { name: "x", unit: Unit::Ratio, target: None };
        for figure in [Figure::of(&spec, vec![]), Figure::of(&spec, vec![f64::NAN])] {
            let json = serde_json::to_value(&figure).unwrap();
            assert!(json["unmeasured"].is_string() && json.get("median").is_none(), "{json}");
        }
    }
}
