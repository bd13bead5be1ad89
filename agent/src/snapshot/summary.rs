//! What `trace` says at its end.

use serde::Serialize;

use super::{
    Snapshot,
    edge::Counts,
    losses::{LeftOut, Losses},
};

/// The last line of a trace.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Always "summary".
    pub event: &'static str,
    /// How long was observed, seconds.
    pub window_s: f64,
    /// Connections that ended and have a line of their own.
    pub records: u64,
    /// Connections that ended while the kernel's buffer was full: in the totals, without a line.
    pub folded: u64,
    /// What is missing.
    pub losses: Losses,
    /// What was left out.
    pub left_out: LeftOut,
    /// Connections whose end was missed and told later, by the end of their socket.
    pub repaired: u64,
    /// All edges together, connections that still live included.
    pub totals: Counts,
}

impl Summary {
    /// The summary of a trace that ends in `snapshot`.
    pub fn of(snapshot: &Snapshot<'_>) -> Self {
        Self {
            event: "summary",
            window_s: snapshot.window_s,
            records: snapshot.records,
            folded: snapshot.folded,
            losses: snapshot.losses,
            left_out: snapshot.left_out,
            repaired: snapshot.repaired,
            totals: snapshot.totals,
        }
    }
}
