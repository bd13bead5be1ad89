//! What was lost, by cause, and what was left out on purpose.

use redial_common::loss::Counter;
use serde::Serialize;

use crate::intake::Counters;

/// Connections and events that are missing, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Losses {
    /// Connections not tracked: the live map was full.
    pub map_full: u64,
    /// Connections not tracked: the kernel had no memory at hand.
    pub map_no_memory: u64,
    /// Connections not tracked: another error of the map.
    pub map_error: u64,
    /// Runs that the kernel skipped: the same program, or a reader of a map, was at work on that CPU. What it would have
    /// seen is missing; a missed end is told later and counted as repaired.
    pub recursion: u64,
    /// Events of processes' lives that found no room.
    pub process_events: u64,
    /// Openings, where they are told, that found no room; the connections are followed all the same.
    pub opens: u64,
    /// Records that could not be decoded.
    pub malformed: u64,
    /// Connections that are in no edge of their own: only totals were kept of them, which do not tell it.
    pub folded_other: u64,
}

impl Losses {
    /// Reads the source's counters.
    pub fn of(counters: &Counters) -> Self {
        Self {
            map_full: counters.get(Counter::MapFull),
            map_no_memory: counters.get(Counter::MapNoMemory),
            map_error: counters.get(Counter::MapError),
            recursion: counters.recursion_misses,
            process_events: counters.get(Counter::ProcessLost),
            opens: counters.get(Counter::OpensLost),
            malformed: counters.malformed,
            folded_other: counters.get(Counter::FoldedOther),
        }
    }

    /// Every cause with its name in JSON and its count.
    pub fn each(&self) -> [(&'static str, u64); 8] {
        [
            ("map_full", self.map_full),
            ("map_no_memory", self.map_no_memory),
            ("map_error", self.map_error),
            ("recursion", self.recursion),
            ("process_events", self.process_events),
            ("opens", self.opens),
            ("malformed", self.malformed),
            ("folded_other", self.folded_other),
        ]
    }
}

/// Connections left out on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The agent's own.
    pub own: u64,
    /// Those that a filter excludes.
    pub filtered: u64,
}
