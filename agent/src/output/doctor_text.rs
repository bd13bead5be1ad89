//! `doctor` as text: each probe, and for those that do not work fully why, what is unknown, and what to do.

use std::io::{self, Write};

use super::{
    probes_text::word,
    safe::safe,
    screen::{Screen, Tone},
};
use crate::kernel::status::{ProbeStatus, Status};

/// Writes a block per probe and a verdict.
pub fn write(probes: &Vec<ProbeStatus>, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
    let widest = probes.iter().map(|probe| probe.name.len()).max().unwrap_or(0);
    for probe in probes {
        let tone = match probe.status {
            Status::Attached => Tone::Good,
            Status::Fallback if probe.unknown.is_empty() => Tone::Good,
            Status::Fallback => Tone::Doubtful,
            Status::Unavailable => Tone::Bad,
        };
        let state = screen.paint(&format!("{:<11}", word(probe.status)), tone);
        writeln!(out, "{state}  {:<widest$}  {}", probe.name, probe.sees)?;
        if let Some(hook) = &probe.hook {
            detail(out, "hook", hook)?;
        }
        if let Some(reason) = &probe.reason {
            detail(out, "why", reason)?;
        }
        if !probe.unknown.is_empty() {
            detail(out, "not known", &probe.unknown.join(", "))?;
        }
        if let Some(remedy) = &probe.remedy {
            detail(out, "remedy", remedy)?;
        }
    }
    let of = |status| probes.iter().filter(|probe| probe.status == status).count();
    writeln!(
        out,
        "\n{} probes: {} attached, {} by a fallback, {} unavailable",
        probes.len(),
        of(Status::Attached),
        of(Status::Fallback),
        of(Status::Unavailable)
    )
}

fn detail(out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "             {label}: {}", safe(text))
}
