//! What degraded probes leave unknown, in a line each.

use super::safe::safe;
use crate::kernel::status::{ProbeStatus, Status};

/// How a status is called.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Attached => "attached",
        Status::Fallback => "fallback",
        Status::Unavailable => "unavailable",
    }
}

/// What is unknown and why: a line for all probes that are unavailable for one reason, and one for all that work by a
/// fallback.
pub fn degraded(probes: &[ProbeStatus]) -> Vec<String> {
    let mut by_reason: Vec<(&ProbeStatus, Vec<&ProbeStatus>)> = Vec::new();
    for probe in probes.iter().filter(|probe| probe.status == Status::Unavailable) {
        match by_reason.iter_mut().find(|(first, _)| (&first.reason, &first.remedy) == (&probe.reason, &probe.remedy)) {
            Some((_, same)) => same.push(probe),
            None => by_reason.push((probe, vec![probe])),
        }
    }
    let mut lines: Vec<String> =
        by_reason.iter().map(|(first, same)| safe(&unavailable(first, same)).into_owned()).collect();
    let fallbacks = probes.iter().filter(|probe| probe.status == Status::Fallback);
    let unknown: Vec<&str> = fallbacks.flat_map(|probe| probe.unknown.iter().copied()).collect();
    if !unknown.is_empty() {
        lines.push(format!("by fallbacks here, so not known: {} (see redial doctor)", unknown.join(", ")));
    }
    lines
}

fn unavailable(first: &ProbeStatus, same: &[&ProbeStatus]) -> String {
    let names: Vec<&str> = same.iter().map(|probe| probe.name).collect();
    let mut unknown: Vec<&str> = Vec::new();
    for fact in same.iter().flat_map(|probe| &probe.unknown) {
        if !unknown.contains(fact) {
            unknown.push(fact);
        }
    }
    let mut line = format!("not available: {}; so not known: {}", names.join(", "), unknown.join(", "));
    if let Some(reason) = &first.reason {
        line.push_str(&format!(". Why: {reason}"));
    }
    if let Some(remedy) = &first.remedy {
        line.push_str(&format!(". Remedy: {remedy}"));
    }
    line
}
