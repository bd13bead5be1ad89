//! `top` as text: a table of edges, the one with the most churn first.

use std::io::{self, Write};

use super::{
    columns::{Align, Column, Layout, cut},
    names::{arrow, endpoint, program, short_end},
    probes_text,
    screen::{Screen, Tone},
    trace_text::losses,
    units::{count, duration, known, median, percent, rate},
};
use crate::snapshot::{
    Snapshot,
    edge::{Edge, OwnerKind},
};

type Cell = (String, Tone);

/// The columns of a row.
pub static COLUMNS: &[Column<Edge>] = &[
    Column { title: "PROCESS", width: (14, 24), align: Align::Left, rank: 0, cell: process },
    Column { title: "REMOTE", width: (20, 32), align: Align::Left, rank: 0, cell: remote },
    Column { title: "NEW/S", width: (6, 6), align: Align::Right, rank: 0, cell: opened_per_s },
    Column { title: "OPEN", width: (5, 5), align: Align::Right, rank: 0, cell: open },
    Column { title: "FAIL", width: (5, 5), align: Align::Right, rank: 0, cell: failed },
    Column { title: "EXCH/C", width: (6, 6), align: Align::Right, rank: 0, cell: exchanges },
    Column { title: "REUSE", width: (5, 5), align: Align::Right, rank: 1, cell: reuse },
    Column { title: "CLOSED BY", width: (11, 13), align: Align::Left, rank: 0, cell: closed_by },
    Column { title: "LIFE", width: (6, 6), align: Align::Right, rank: 0, cell: lifetime },
    Column { title: "TWAIT", width: (5, 5), align: Align::Right, rank: 2, cell: time_wait },
    Column { title: "CONN", width: (6, 6), align: Align::Right, rank: 3, cell: connect },
    Column { title: "FIRST", width: (6, 6), align: Align::Right, rank: 4, cell: first },
    Column { title: "LATER", width: (6, 6), align: Align::Right, rank: 5, cell: later },
    Column { title: "IDLE", width: (6, 6), align: Align::Right, rank: 6, cell: idle },
    Column { title: "PORTS", width: (5, 5), align: Align::Right, rank: 7, cell: ports },
    Column { title: "PIDS", width: (5, 5), align: Align::Right, rank: 8, cell: pids },
    Column { title: "NETNS", width: (10, 10), align: Align::Right, rank: 9, cell: netns },
];

fn plain(text: String) -> Cell {
    (text, Tone::Plain)
}

fn process(edge: &Edge, _: &Screen, width: usize) -> Cell {
    plain(cut(&program(&edge.process), width))
}

fn remote(edge: &Edge, _: &Screen, width: usize) -> Cell {
    let place = match (&edge.remote, edge.local_port) {
        (Some(remote), _) => endpoint(remote.addr, remote.port, remote.name.as_deref()),
        (None, Some(port)) => format!(":{port}"),
        (None, None) if edge.process.kind == OwnerKind::Other => "~other".to_owned(),
        (None, None) => "*".to_owned(),
    };
    plain(cut(&format!("{} {place}", arrow(edge.role)), width))
}

fn opened_per_s(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(known(edge.counts.opened_per_s, rate))
}

fn open(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(count(edge.counts.open))
}

fn failed(edge: &Edge, _: &Screen, _: usize) -> Cell {
    (count(edge.counts.failed), if edge.counts.failed > 0 { Tone::Bad } else { Tone::Plain })
}

fn exchanges(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(known(edge.counts.exchanges_per_connection, rate))
}

fn reuse(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(known(edge.counts.reuse_ratio, percent))
}

fn closed_by(edge: &Edge, _: &Screen, _: usize) -> Cell {
    let Some((word, most)) = edge.counts.closed_by.each().into_iter().rev().max_by_key(|(_, n)| *n) else {
        return plain(String::new());
    };
    if most == 0 {
        return plain(known(None::<u64>, count));
    }
    let share = most as f64 / edge.counts.closed.max(1) as f64;
    let word = short_end(word);
    plain(if most == edge.counts.closed {
        word.to_owned()
    } else {
        format!("{word} {:.0}%", (share * 100.0).min(99.0))
    })
}

fn lifetime(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(median(edge.lifetime_s.as_ref()))
}

fn time_wait(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(known(edge.counts.time_wait, count))
}

fn ports(edge: &Edge, _: &Screen, _: usize) -> Cell {
    let tone = if edge.ports.is_some_and(|ports| ports.exhausted_in_s.is_some()) { Tone::Bad } else { Tone::Plain };
    (known(edge.ports, |ports| count(ports.available.into())), tone)
}

fn connect(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(median(edge.connect_s.as_ref()))
}

fn first(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(median(edge.first_response_s.as_ref()))
}

fn later(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(median(edge.reused_response_s.as_ref().or(edge.service_s.as_ref())))
}

fn idle(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(median(edge.idle_before_reuse_s.as_ref()))
}

fn pids(edge: &Edge, _: &Screen, _: usize) -> Cell {
    (known(edge.process.pids, count), Tone::Plain)
}

fn netns(edge: &Edge, _: &Screen, _: usize) -> Cell {
    plain(known(edge.netns, |inode| inode.to_string()))
}

/// All edges together, in a line.
pub fn summary(snapshot: &Snapshot<'_>) -> String {
    let totals = &snapshot.totals;
    let per_s = |n: u64| if snapshot.window_s > 0.0 { rate(n as f64 / snapshot.window_s) } else { known(None, rate) };
    format!(
        "{}, {}: opened {}/s, closed {}/s, failed {}/s, open {}, exchanges/conn {}",
        snapshot.host.as_deref().unwrap_or("host"),
        duration(snapshot.window_s),
        per_s(totals.opened),
        per_s(totals.closed),
        per_s(totals.failed),
        count(totals.open),
        known(totals.exchanges_per_connection, rate),
    )
}

/// Writes a line for the host, what is missing if anything is, and the table.
pub fn write(snapshot: &Snapshot<'_>, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", summary(snapshot))?;
    if let Some(losses) = losses(&snapshot.losses) {
        writeln!(out, "{}", screen.paint(&format!("lost: {losses}"), Tone::Bad))?;
    }
    for line in probes_text::degraded(&snapshot.probes) {
        writeln!(out, "{}", screen.paint(&line, Tone::Doubtful))?;
    }
    if snapshot.edges.is_empty() {
        return writeln!(out, "no connections were seen");
    }
    writeln!(out)?;
    let layout = Layout::new(COLUMNS, screen.width);
    layout.head(screen, out)?;
    for edge in snapshot.edges.iter().take(screen.rows) {
        layout.row(&edge, screen, out)?;
    }
    let hidden = snapshot.edges.len().saturating_sub(screen.rows);
    if hidden > 0 {
        writeln!(out, "and {hidden} more edges (--rows shows more)")?;
    }
    if snapshot.edges_folded > 0 {
        writeln!(out, "~other holds {} edges that found no room of their own", snapshot.edges_folded)?;
    }
    Ok(())
}
