//! `redial top`: the edges with the most churn.

use std::{
    io::{self, BufWriter, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, builder::PossibleValuesParser};

use super::{
    failure::Failure,
    observe::{ObserveArgs, observe},
};
use crate::output::{self, screen::Screen};

/// How long is observed when nothing is said.
const DEFAULT_WINDOW: Duration = Duration::from_secs(5);

/// How many rows are shown when nothing is said.
const DEFAULT_ROWS: u32 = 20;

/// Show which process opens how many connections to where, and whether they are reused
///
/// Observes for a while (--for, 5 seconds when not said) and prints one table, the most connections opened per second
/// first. NEW/S is connections opened per second, EXCH/C exchanges (a request and its answer) per connection, REUSE the
/// share of exchanges on a connection that had carried one before; LIFE, CONN (connecting), FIRST (connecting and the
/// first answer), LATER (further answers; for servers the time until they answer) and IDLE (before reuse) are medians,
/// with ~ where they are only known within a factor of two. TWAIT is sockets in TIME-WAIT now, PORTS the ephemeral ports
/// that are left for a remote. An arrow to the right marks a client's remote, an arrow to the left a server's own port. A
/// wider terminal shows more columns.
#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    /// Print one table and end
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    observe: ObserveArgs,

    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = "How",
          value_parser = PossibleValuesParser::new(output::names_where(|output| output.top.is_some())))]
    format: String,

    /// How many rows the table shows at most [default: 20]
    #[arg(long, value_name = "N", help_heading = "How", value_parser = clap::value_parser!(u32).range(1..))]
    rows: Option<u32>,
}

/// Observes, then prints.
pub fn run(args: &TopArgs) -> Result<(), Failure> {
    if !args.once {
        let message = "this version's top has no live view; `redial top --once` observes for 5 seconds (or --for) and \
                       prints one table";
        return Err(Failure::Usage(message.to_owned()));
    }
    if args.rows.is_some() && args.format != "text" {
        return Err(Failure::Usage(format!("--rows is for --format text; {} has every edge", args.format)));
    }
    let write = output::find(&args.format, |output| output.top).context("no such format")?;
    let snapshot = observe(&args.observe, DEFAULT_WINDOW)?;
    let rows = usize::try_from(args.rows.unwrap_or(DEFAULT_ROWS)).unwrap_or(usize::MAX);
    let mut out = BufWriter::new(io::stdout().lock());
    write(&snapshot, &Screen::of_stdout(rows), &mut out)?;
    Ok(out.flush()?)
}
