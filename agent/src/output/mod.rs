//! From snapshots and connections to text and JSON. An output is a file and a row in [`OUTPUTS`].

pub mod audit_text;
pub mod columns;
pub mod doctor_text;
pub mod json;
pub mod markdown;
pub mod names;
pub mod pressure_text;
pub mod probes_text;
pub mod safe;
pub mod screen;
pub mod top_text;
pub mod trace_text;
pub mod units;

use std::io::{self, Write};

use crate::{
    kernel::status::ProbeStatus,
    snapshot::{Snapshot, connection::Connection, summary::Summary},
};
use screen::Screen;

/// Where the last word of a trace goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryPlace {
    /// With the lines.
    Stdout,
    /// Apart from the lines.
    Stderr,
}

/// A format that prints connections one by one.
pub trait TraceOutput {
    /// What comes before the first line.
    fn head(&mut self, screen: &Screen, out: &mut dyn Write) -> io::Result<()>;
    /// One connection.
    fn line(&mut self, connection: &Connection, screen: &Screen, out: &mut dyn Write) -> io::Result<()>;
    /// What comes last.
    fn summary(&mut self, summary: &Summary, screen: &Screen, out: &mut dyn Write) -> io::Result<()>;
    /// Where that goes.
    fn summary_place(&self) -> SummaryPlace;
}

/// Makes what prints a trace.
pub type NewTrace = fn(&Screen) -> Box<dyn TraceOutput>;

/// Prints one value of `T`.
pub type Writer<T> = fn(&T, &Screen, &mut dyn Write) -> io::Result<()>;

/// Prints a snapshot, borrowed or owned.
pub type SnapshotWriter = fn(&Snapshot<'_>, &Screen, &mut dyn Write) -> io::Result<()>;

/// A format and what it can print; `None` for what it cannot.
pub struct Output {
    /// Its name, as `--format` takes it.
    pub name: &'static str,
    /// Connections one by one.
    pub trace: Option<NewTrace>,
    /// A snapshot as a table of edges.
    pub top: Option<SnapshotWriter>,
    /// A snapshot as a whole.
    pub audit: Option<SnapshotWriter>,
    /// How the probes stand.
    pub doctor: Option<Writer<Vec<ProbeStatus>>>,
}

/// All formats. The first that can print something is its default.
pub const OUTPUTS: &[Output] = &[
    Output {
        name: "text",
        trace: Some(trace_text::new),
        top: Some(top_text::write),
        audit: Some(audit_text::write),
        doctor: Some(doctor_text::write),
    },
    Output {
        name: "json",
        trace: None,
        top: Some(json::write_snapshot),
        audit: Some(json::write_snapshot),
        doctor: Some(json::write_probes),
    },
    Output { name: "jsonl", trace: Some(json::new_trace), top: None, audit: None, doctor: None },
    Output { name: "markdown", trace: None, top: None, audit: Some(markdown::write), doctor: None },
];

/// The names of formats for which `can` holds.
pub fn names_where(can: fn(&Output) -> bool) -> Vec<&'static str> {
    OUTPUTS.iter().filter(|output| can(output)).map(|output| output.name).collect()
}

/// What `pick` finds in the format called `name`.
pub fn find<T>(name: &str, pick: fn(&Output) -> Option<T>) -> Option<T> {
    OUTPUTS.iter().find(|output| output.name == name).and_then(pick)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod registry {
    use super::*;

    #[test]
    fn the_registry_is_sound() {
        for (i, output) in OUTPUTS.iter().enumerate() {
            assert!(OUTPUTS[..i].iter().all(|earlier| earlier.name != output.name), "{} twice", output.name);
            let can = [output.trace.is_some(), output.top.is_some(), output.audit.is_some(), output.doctor.is_some()];
            assert!(can.contains(&true), "{}", output.name);
        }
        assert_eq!(names_where(|output| output.trace.is_some()), ["text", "jsonl"]);
        assert_eq!(names_where(|output| output.top.is_some()), ["text", "json"]);
        assert_eq!(names_where(|output| output.audit.is_some()), ["text", "json", "markdown"]);
        assert!(find("jsonl", |output| output.top).is_none());
    }
}
