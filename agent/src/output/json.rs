//! JSON: one object, or one object a line.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::{SummaryPlace, TraceOutput, safe::SafeJson, screen::Screen};
use crate::{
    kernel::status::ProbeStatus,
    snapshot::{SCHEMA, Snapshot, connection::Connection, summary::Summary},
};

/// Writes `value` as one line.
fn write_line(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let mut line = Vec::with_capacity(1024);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut line, SafeJson)).map_err(io::Error::from)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// A snapshot as one object.
pub fn write_snapshot(snapshot: &Snapshot<'_>, _: &Screen, out: &mut dyn Write) -> io::Result<()> {
    // Written as it is made: of many edges it is longer than all that is known of them.
    let mut out = BufWriter::with_capacity(1 << 16, out);
    snapshot.serialize(&mut serde_json::Serializer::with_formatter(&mut out, SafeJson)).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The probes as one object.
pub fn write_probes(probes: &Vec<ProbeStatus>, _: &Screen, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Doctor<'a> {
        schema: u32,
        probes: &'a [ProbeStatus],
    }
    write_line(&Doctor { schema: SCHEMA, probes }, out)
}

struct JsonLines;

/// Connections, an object a line, and the summary as the last.
pub fn new_trace(_: &Screen) -> Box<dyn TraceOutput> {
    Box::new(JsonLines)
}

impl TraceOutput for JsonLines {
    fn head(&mut self, _: &Screen, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn line(&mut self, connection: &Connection, _: &Screen, out: &mut dyn Write) -> io::Result<()> {
        write_line(connection, out)
    }

    fn summary(&mut self, summary: &Summary, _: &Screen, out: &mut dyn Write) -> io::Result<()> {
        write_line(summary, out)
    }

    fn summary_place(&self) -> SummaryPlace {
        SummaryPlace::Stdout
    }
}
