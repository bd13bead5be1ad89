//! `audit` as Markdown, for a ticket or a chat.

use std::io::{self, Write};

use super::{
    pressure_text::parts,
    probes_text,
    screen::Screen,
    top_text::{self, COLUMNS},
    trace_text::losses,
};
use crate::snapshot::Snapshot;

/// Writes all of it.
pub fn write(snapshot: &Snapshot<'_>, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# TCP connections\n\n{}\n", escaped(&top_text::summary(snapshot)))?;
    if let Some(losses) = losses(&snapshot.losses) {
        writeln!(out, "**Lost:** {losses}\n")?;
    }
    for line in probes_text::degraded(&snapshot.probes) {
        writeln!(out, "- {}", escaped(&line))?;
    }
    if snapshot.edges.is_empty() {
        writeln!(out, "No connections were seen.")?;
    } else {
        writeln!(out)?;
        row(out, COLUMNS.iter().map(|column| column.title.to_owned()))?;
        row(out, COLUMNS.iter().map(|column| if column.is_number() { "--:" } else { "---" }.to_owned()))?;
    }
    for edge in snapshot.edges.iter() {
        row(out, COLUMNS.iter().map(|column| escaped(&(column.cell)(&edge, screen, usize::MAX).0)))?;
    }
    for part in parts(snapshot) {
        writeln!(out, "\n## {}\n", part.title)?;
        for line in part.lines {
            // Two spaces begin what belongs to the line before.
            let depth = if line.starts_with("  ") { "  " } else { "" };
            writeln!(out, "{depth}- {}", escaped(line.trim_start()))?;
        }
    }
    Ok(())
}

fn row(out: &mut dyn Write, cells: impl Iterator<Item = String>) -> io::Result<()> {
    for cell in cells {
        write!(out, "| {cell} ")?;
    }
    writeln!(out, "|")
}

/// `text` with what Markdown takes for its own made plain: names come from processes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\`*_{}[]<>()#|!~&".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_make_no_markup() {
        assert_eq!(escaped("a|b*c `x` <i>"), "a\\|b\\*c \\`x\\` \\<i\\>");
    }
}
