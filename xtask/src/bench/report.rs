//! The figures of a run, as a table for people or as JSON for programs.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::{
    figure::{Figure, Outcome, Target, Unit, Verdict},
    machine::Machine,
    median::Interval,
};

/// The version of the JSON.
pub const SCHEMA: u32 = 1;

/// How to print.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// A table
    Text,
    /// One JSON object
    Json,
}

/// All of a run.
#[derive(Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where it was measured.
    pub machine: Machine,
    /// How many rounds or loads.
    pub pairs: usize,
    /// How long a load ran, s.
    pub seconds: u32,
    /// By benchmark.
    pub results: Vec<Results>,
}

/// What a benchmark gave.
#[derive(Serialize)]
pub struct Results {
    /// Its name.
    pub benchmark: &'static str,
    /// Its figures.
    pub figures: Vec<Figure>,
}

impl Report {
    /// How many figures could not be measured.
    pub fn unmeasured(&self) -> usize {
        self.figures().filter(|(_, figure)| figure.why_unmeasured().is_some()).count()
    }

    /// Writes it to standard output.
    pub fn print(&self, format: Format) -> Result<()> {
        let text = match format {
            Format::Text => self.text(),
            Format::Json => serde_json::to_string_pretty(self)? + "\n",
        };
        io::stdout().write_all(text.as_bytes()).context("cannot write the figures")
    }

    fn figures(&self) -> impl Iterator<Item = (&'static str, &Figure)> {
        self.results.iter().flat_map(|results| results.figures.iter().map(|figure| (results.benchmark, figure)))
    }

    fn text(&self) -> String {
        let head = ["BENCHMARK", "FIGURE", "MEDIAN", "INTERVAL", "UNIT", "TARGET", ""].map(str::to_owned);
        let rows: Vec<[String; 7]> = self.figures().map(|(name, figure)| row(name, figure)).collect();
        let widths: [usize; 7] =
            std::array::from_fn(|column| rows.iter().chain([&head]).map(|row| row[column].len()).max().unwrap_or(0));
        let mut text = format!("{}\nrounds: {}, a load runs {} s\n\n", self.machine, self.pairs, self.seconds);
        let line = |row: &[String; 7]| {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        };
        text += &line(&head);
        for ((_, figure), row) in self.figures().zip(&rows) {
            text += &line(row);
            let why = figure.why_unmeasured().map(|why| format!("NOT MEASURED: {why}"));
            for remark in why.iter().chain(&figure.note) {
                text += &format!("{:width$}  {remark}\n", "", width = widths[0]);
            }
        }
        text + "\n" + &self.legend()
    }

    /// What the intervals are.
    fn legend(&self) -> String {
        let mut intervals: BTreeMap<usize, &Interval> = BTreeMap::new();
        for (_, figure) in self.figures() {
            if let Outcome::Measured { median, samples, .. } = &figure.outcome {
                intervals.extend(median.interval.as_ref().map(|interval| (samples.len(), interval)));
            }
        }
        let line = |(n, interval): (&usize, &&Interval)| {
            format!(
                "interval of {n} samples: from number {} to number {} in order of size, which hold the true median \
                 with {:.1}%\n",
                interval.rank,
                n + 1 - interval.rank,
                100.0 * interval.coverage
            )
        };
        let lines: String = intervals.iter().map(line).collect();
        lines + "a target is met when the worse end of the interval meets it; (in brackets: the better target)\n"
    }
}

fn row(benchmark: &str, figure: &Figure) -> [String; 7] {
    let unit = figure.unit;
    let (median, interval, verdict) = match &figure.outcome {
        Outcome::Measured { median, verdict, .. } => {
            let interval = median.interval.as_ref();
            let interval = interval.map(|i| format!("[{}, {}]", unit.show(i.low), unit.show(i.high)));
            (unit.show(median.median), interval.unwrap_or_else(|| "measured once".to_owned()), *verdict)
        }
        Outcome::Unmeasured { .. } => ("-".to_owned(), "-".to_owned(), None),
    };
    let verdict = match verdict {
        Some(Verdict::Stretch) => "ok, better target too",
        Some(Verdict::Ok) => "ok",
        Some(Verdict::Missed) => "MISSED",
        None => "",
    };
    let target = figure.target.map(|target| wanted(target, unit)).unwrap_or_default();
    [benchmark.to_owned(), figure.name.clone(), median, interval, unit.sign().to_owned(), target, verdict.to_owned()]
}

fn wanted(target: Target, unit: Unit) -> String {
    let (sign, wanted, stretch) = match target {
        Target::AtLeast { at_least: wanted, stretch } => (">=", wanted, stretch),
        Target::AtMost { at_most: wanted, stretch } => ("<=", wanted, stretch),
    };
    let stretch = stretch.map(|stretch| format!(" ({})", unit.show(stretch))).unwrap_or_default();
    format!("{sign} {}{stretch}", unit.show(wanted))
}

#[cfg(test)]
mod tests {
    use super::{super::figure::Spec, *};

    fn report() -> Report {
        let kept = Spec { name: "rate kept", unit: Unit::Ratio, target: Some(Target::at_least(0.9).or_better(0.95)) };
        let time = Spec { name: "time", unit: Unit::Nanoseconds, target: Some(Target::at_most(2000.0)) };
        let figures = vec![
            Figure::of(&kept, vec![0.93, 0.91, 0.97]).note("on loopback"),
            Figure::of(&time, vec![2100.0]),
            Figure::unmeasured(&time, "no such program"),
        ];
        let machine = Machine { kernel: "6.1".to_owned(), cpus: 2, model: None, load: 0.5 };
        Report { schema: SCHEMA, machine, pairs: 3, seconds: 1, results: vec![Results { benchmark: "x", figures }] }
    }

    #[test]
    fn the_table_tells_what_is_met_what_is_missed_and_what_is_not_known() {
        let text = report().text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Linux 6.1, 2 CPUs (unnamed), load 0.5 before");
        assert_eq!(lines[4], "x          rate kept  0.930   [0.910, 0.970]        >= 0.900 (0.950)  ok");
        assert_eq!(lines[5], "           on loopback");
        assert_eq!(lines[6], "x          time       2100    measured once   ns    <= 2000           MISSED");
        assert_eq!(lines[7], "x          time       -       -               ns    <= 2000");
        assert_eq!(lines[8], "           NOT MEASURED: no such program");
        assert!(text.contains("of 3 samples: from number 1 to number 3") && text.contains("75.0%"), "{text}");
    }

    #[test]
    fn json_has_the_same_figures() {
        let json = serde_json::to_value(report()).unwrap();
        let figures = &json["results"][0]["figures"];
        assert_eq!(figures[0]["median"], 0.93);
        assert_eq!(figures[0]["interval"]["low"], 0.91);
        assert_eq!(figures[0]["target"]["at_least"], 0.9);
        assert_eq!(figures[1]["verdict"], "missed");
        assert_eq!(figures[2]["unmeasured"], "no such program");
        assert_eq!(figures[2].get("median"), None);
        assert_eq!(report().unmeasured(), 1);
    }
}
