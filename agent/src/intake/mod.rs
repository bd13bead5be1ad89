//! Where records come from: one trait, and a file per source.

pub mod decode;
pub mod limit;
pub mod ring;

use anyhow::Result;
use redial_common::{
    edge::{FoldKey, FoldTotals},
    loss::Counter,
    record::{conn::Conn, process::Process},
};

use crate::kernel::status::ProbeStatus;
use limit::SelfLimit;

/// One thing that a source tells.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "passed by reference, never stored")]
pub enum Event {
    /// A connection that ended.
    Ended(Conn),
    /// A connection that was established. Only where asked for.
    Opened(Conn),
    /// A step in a process's life.
    Process(Process),
    /// Connections that ended while the ring was full, as totals.
    Folded(FoldKey, FoldTotals),
}

/// Counters that the kernel programs keep of themselves, since the source was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By [`Counter`], summed over CPUs.
    pub values: [u64; Counter::ALL.len()],
    /// Runs that the kernel skipped because the same program, or a reader of a map, was at work on that CPU, over all
    /// programs.
    pub recursion_misses: u64,
    /// Records that user space could not decode.
    pub malformed: u64,
}

impl Counters {
    /// The value of one counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }
}

/// A source of records: the kernel's ring, or a recording.
pub trait RecordSource {
    /// Passes every event that is there now to `sink`, oldest first, and returns how many there were.
    fn drain(&mut self, sink: &mut dyn FnMut(&Event)) -> Result<usize>;

    /// Ends the stream: nothing new comes in, and all that came before is passed to `sink`, totals included.
    fn finish(&mut self, sink: &mut dyn FnMut(&Event)) -> Result<()>;

    /// Passes every connection that is alive now to `sink`.
    fn live(&mut self, sink: &mut dyn FnMut(&Conn)) -> Result<()>;

    /// The counters as they stand.
    fn counters(&mut self) -> Result<Counters>;

    /// How the probes stand.
    fn probes(&self) -> Vec<ProbeStatus>;

    /// How the limits worked; `None` where there were none.
    fn self_limit(&self) -> Option<SelfLimit> {
        None
    }

    /// What a person should know of now, each once.
    fn notices(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// When the source began to watch, on the same clock as [`RecordSource::now_ns`].
    fn since_ns(&self) -> u64;

    /// The source's clock now, ns of CLOCK_MONOTONIC: what the records' times are measured in. It stands still when the
    /// source has finished.
    fn now_ns(&self) -> u64;
}
