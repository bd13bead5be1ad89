//! `redial trace`: a line per connection as it ends.

use std::{
    io::{self, BufWriter, Write as _},
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, builder::PossibleValuesParser};

use super::{failure::Failure, pace::Pace, session::Session, source, stop::Stop, watch::WatchArgs};
use crate::{
    enrich::Enricher,
    intake::RecordSource as _,
    output::{self, SummaryPlace, screen::Screen},
    snapshot::summary::Summary,
    state::key::By,
};

/// Print a line per connection as it ends
///
/// Each line has the process, the remote, who closed and how, how long it lived, and how many exchanges (a request and
/// its answer) it carried. A summary comes last: on the standard error stream for text, as the last line for jsonl.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    #[command(flatten)]
    watch: WatchArgs,

    /// Print a line as a connection opens, too
    #[arg(long, help_heading = "How")]
    opens: bool,

    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = "How",
          value_parser = PossibleValuesParser::new(output::names_where(|output| output.trace.is_some())))]
    format: String,
}

/// Watches until it is told to stop.
pub fn run(args: &TraceArgs) -> Result<(), Failure> {
    let new_output = output::find(&args.format, |output| output.trace).context("no such format")?;
    let options = args.watch.options(args.opens)?;
    let filter = args.watch.filter(&options)?;
    let limits = args.watch.limits();
    let off = Arc::clone(&limits.off);
    let source = source::open(&options, limits)?;
    let enricher = Enricher::of_this_host(source.now_ns())?;
    let stop = Stop::after(args.watch.duration, off)?;
    source::announce(&source, if args.watch.duration.is_some() { "until the time is over" } else { "until Ctrl-C" });
    source::announce_degraded(&source);
    let mut session = Session::new(source, enricher, filter, By::Edge, args.watch.max_edges());

    let screen = Screen::of_stdout(usize::MAX);
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut output = new_output(&screen);
    output.head(&screen, &mut out)?;
    out.flush()?;
    let mut pace = Pace::new(args.watch.ring_bytes);
    let mut events = 0;
    while !stop.wait(pace.after(events)) {
        events = session.drain(Some(&mut |connection| output.line(connection, &screen, &mut out)))?;
        out.flush()?;
        source::announce_notices(&mut session);
    }
    let snapshot = session.finish(Some(&mut |connection| output.line(connection, &screen, &mut out)), None)?;
    let summary = Summary::of(&snapshot);
    match output.summary_place() {
        SummaryPlace::Stdout => output.summary(&summary, &screen, &mut out)?,
        SummaryPlace::Stderr => {
            out.flush()?;
            output.summary(&summary, &screen, &mut io::stderr().lock())?;
        }
    }
    Ok(out.flush()?)
}
