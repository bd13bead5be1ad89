//! `redial doctor`: what this kernel and these privileges allow.

use std::io::{self, BufWriter, Write as _};

use anyhow::Context as _;
use clap::{Args, builder::PossibleValuesParser};

use super::failure::Failure;
use crate::{
    kernel,
    output::{self, screen::Screen},
};

/// Say what this kernel and these privileges allow
///
/// Tries every probe, attaches it for a moment, and says how it works, what is not known without it, and what to do.
/// Ends with status 4 when redial cannot work here at all.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "text",
          value_parser = PossibleValuesParser::new(output::names_where(|output| output.doctor.is_some())))]
    format: String,
}

/// Tries all probes and prints how they stand.
pub fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let write = output::find(&args.format, |output| output.doctor).context("no such format")?;
    let probes = kernel::doctor()?;
    let mut out = BufWriter::new(io::stdout().lock());
    write(&probes, &Screen::of_stdout(usize::MAX), &mut out)?;
    Ok(out.flush()?)
}
