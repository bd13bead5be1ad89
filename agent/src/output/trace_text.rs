//! `trace` as text: a line per connection.

use std::io::{self, Write};

use super::{
    SummaryPlace, TraceOutput,
    columns::{Align, Column, Layout, cut},
    names::{UNKNOWN, arrow, base_name, endpoint, short_end},
    safe::safe,
    screen::{Screen, Tone},
    units::{bytes, count, duration, known, rate},
};
use crate::snapshot::{
    connection::{Connection, What},
    losses::Losses,
    summary::Summary,
};

type Cell = (String, Tone);

static COLUMNS: &[Column<Connection>] = &[
    Column { title: "TIME", width: (8, 8), align: Align::Left, rank: 0, cell: time },
    Column { title: "PROCESS[PID]", width: (13, 24), align: Align::Left, rank: 0, cell: process },
    Column { title: "", width: (1, 1), align: Align::Left, rank: 0, cell: direction },
    Column { title: "REMOTE", width: (18, 28), align: Align::Left, rank: 0, cell: remote },
    Column { title: "ENDED", width: (9, 9), align: Align::Left, rank: 0, cell: ended },
    Column { title: "LIFE", width: (5, 5), align: Align::Right, rank: 0, cell: lifetime },
    Column { title: "CONN", width: (5, 5), align: Align::Right, rank: 0, cell: connect },
    Column { title: "EXCH", width: (4, 5), align: Align::Right, rank: 0, cell: exchanges },
    Column { title: "SENT/RECV", width: (9, 11), align: Align::Right, rank: 0, cell: transferred },
    Column { title: "FIRST", width: (6, 6), align: Align::Right, rank: 1, cell: first_response },
    Column { title: "RTX", width: (4, 4), align: Align::Right, rank: 2, cell: retransmits },
];

fn time(connection: &Connection, screen: &Screen, _: usize) -> Cell {
    let time = connection.end.or(connection.start).map(|time| time.to_zoned(screen.zone.clone()));
    (known(time, |time| time.strftime("%H:%M:%S").to_string()), Tone::Plain)
}

fn process(connection: &Connection, _: &Screen, width: usize) -> Cell {
    let name = match (&connection.comm, &connection.exe) {
        (Some(comm), _) => comm,
        (None, Some(exe)) => base_name(exe),
        (None, None) => connection.kind.placeholder().unwrap_or(UNKNOWN),
    };
    let pid = connection.pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
    (format!("{}{pid}", cut(&safe(name), width.saturating_sub(pid.len()))), Tone::Plain)
}

fn direction(connection: &Connection, _: &Screen, _: usize) -> Cell {
    (arrow(connection.role).to_owned(), Tone::Plain)
}

fn remote(connection: &Connection, _: &Screen, _: usize) -> Cell {
    let remote = &connection.remote;
    (endpoint(remote.addr, remote.port, remote.name.as_deref()), Tone::Plain)
}

fn ended(connection: &Connection, _: &Screen, _: usize) -> Cell {
    match (connection.event, connection.closed_by, connection.failed_by) {
        (What::Failed, _, Some(why)) => (short_end(why).to_owned(), Tone::Bad),
        (What::Closed, Some(how @ ("local" | "remote")), _) => (how.to_owned(), Tone::Plain),
        (What::Closed, Some(how), _) => (short_end(how).to_owned(), Tone::Doubtful),
        (What::Opened, ..) => ("(opened)".to_owned(), Tone::Plain),
        (What::Failed, ..) | (What::Closed, ..) => ("unknown".to_owned(), Tone::Doubtful),
    }
}

fn lifetime(connection: &Connection, _: &Screen, _: usize) -> Cell {
    (known(connection.lifetime_s, duration), Tone::Plain)
}

fn connect(connection: &Connection, _: &Screen, _: usize) -> Cell {
    (known(connection.connect_s, duration), Tone::Plain)
}

fn exchanges(connection: &Connection, _: &Screen, _: usize) -> Cell {
    (known(connection.exchanges, |n| count(n.into())), Tone::Plain)
}

fn transferred(connection: &Connection, _: &Screen, _: usize) -> Cell {
    let text = match (connection.bytes_sent, connection.bytes_received) {
        (Some(sent), Some(received)) => format!("{}/{}", bytes(sent), bytes(received)),
        _ => known(None::<u64>, bytes),
    };
    (text, Tone::Plain)
}

fn first_response(connection: &Connection, _: &Screen, _: usize) -> Cell {
    (known(connection.first_response_s, duration), Tone::Plain)
}

fn retransmits(connection: &Connection, _: &Screen, _: usize) -> Cell {
    let tone = if connection.retransmits.unwrap_or(0) > 0 { Tone::Doubtful } else { Tone::Plain };
    (known(connection.retransmits, |n| count(n.into())), tone)
}

struct TraceText {
    layout: Layout<Connection>,
}

/// Aligned lines, with the summary apart from them.
pub fn new(screen: &Screen) -> Box<dyn TraceOutput> {
    Box::new(TraceText { layout: Layout::new(COLUMNS, screen.width) })
}

impl TraceOutput for TraceText {
    fn head(&mut self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        self.layout.head(screen, out)
    }

    fn line(&mut self, connection: &Connection, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        self.layout.row(connection, screen, out)
    }

    fn summary(&mut self, summary: &Summary, _: &Screen, out: &mut dyn Write) -> io::Result<()> {
        let totals = &summary.totals;
        write!(
            out,
            "redial: {}: {} connections opened, {} closed, {} failed, {} open",
            duration(summary.window_s),
            totals.opened,
            totals.closed,
            totals.failed,
            totals.open
        )?;
        if let Some(mean) = totals.exchanges_per_connection {
            write!(out, ", {} exchanges per connection", rate(mean))?;
        }
        writeln!(out)?;
        if summary.folded > 0 {
            writeln!(out, "redial: {} ended too fast for a line of their own; the totals have them", summary.folded)?;
        }
        if let Some(losses) = losses(&summary.losses) {
            writeln!(out, "redial: lost: {losses}")?;
        }
        Ok(())
    }

    fn summary_place(&self) -> SummaryPlace {
        SummaryPlace::Stderr
    }
}

/// The losses that there are, by cause; `None` when there are none.
pub fn losses(losses: &Losses) -> Option<String> {
    let some: Vec<String> =
        losses.each().iter().filter(|(_, n)| *n > 0).map(|(cause, n)| format!("{cause} {n}")).collect();
    (!some.is_empty()).then(|| some.join(", "))
}
