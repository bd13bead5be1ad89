//! `audit` as text: the table of edges, then what there is beside it.

use std::io::{self, Write};

use super::{
    pressure_text::parts,
    screen::{Screen, Tone},
    top_text,
};
use crate::snapshot::Snapshot;

/// Writes all of it.
pub fn write(snapshot: &Snapshot<'_>, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
    top_text::write(snapshot, screen, out)?;
    for part in parts(snapshot) {
        writeln!(out, "\n{}", screen.paint(part.title, Tone::Heading))?;
        for line in part.lines {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
