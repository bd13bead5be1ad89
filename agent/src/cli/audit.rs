//! `redial audit`: observes for a while, then tells all of it.

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
const DEFAULT_WINDOW: Duration = Duration::from_secs(30);

/// Observe for a while, then print every edge, chains and the pressure on the host's tables
///
/// Observes for 30 seconds, or as long as --for says. A chain is a program that serves connections and opens others:
/// its exchanges per connection in front and behind show where reuse is lost. Pressure is what the kernel's own tables
/// hold at the end, in every network namespace: sockets in TIME-WAIT, ephemeral ports, accept queues, connection tracking
/// and descriptors.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    #[command(flatten)]
    observe: ObserveArgs,

    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = "How",
          value_parser = PossibleValuesParser::new(output::names_where(|output| output.audit.is_some())))]
    format: String,
}

/// Observes, then prints.
pub fn run(args: &AuditArgs) -> Result<(), Failure> {
    let write = output::find(&args.format, |output| output.audit).context("no such format")?;
    let snapshot = observe(&args.observe, DEFAULT_WINDOW)?;
    let mut out = BufWriter::new(io::stdout().lock());
    write(&snapshot, &Screen::of_stdout(usize::MAX), &mut out)?;
    Ok(out.flush()?)
}
