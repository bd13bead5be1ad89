//! An immutable view of everything at one moment: the one object that rules, metrics and outputs see.

pub mod build;
pub mod chain;
pub mod connection;
pub mod distribution;
pub mod edge;
pub mod edges;
pub mod host;
pub mod losses;
pub mod order;
pub mod row;
pub mod summary;

use serde::Serialize;

use crate::{intake::limit::SelfLimit, kernel::status::ProbeStatus};
use chain::Chain;
use edge::Counts;
use edges::Edges;
use host::Pressure;
use losses::{LeftOut, Losses};

/// The version of the JSON format.
pub const SCHEMA: u32 = 1;

/// Totals of all connections that ended and of those that live, each counted once.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot<'a> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How long was observed, seconds.
    pub window_s: f64,
    /// This host's name.
    pub host: Option<String>,
    /// How the probes stand.
    pub probes: Vec<ProbeStatus>,
    /// Connections and attempts that ended and were told one by one.
    pub records: u64,
    /// Those that ended while the kernel's buffer was full: in the totals all the same.
    pub folded: u64,
    /// What is missing.
    pub losses: Losses,
    /// What was left out.
    pub left_out: LeftOut,
    /// Connections whose end was missed and told later, by the end of their socket.
    pub repaired: u64,
    /// How redial kept within its limits; `None` where there were none.
    pub self_limit: Option<SelfLimit>,
    /// Edges that found no room of their own and went into `~other`.
    pub edges_folded: u64,
    /// All edges together.
    pub totals: Counts,
    /// The edges, most opened first.
    pub edges: Edges<'a>,
    /// Programs that are server and client; `None` where edges are folded otherwise than by program.
    pub chains: Option<Vec<Chain>>,
    /// The host's tables; `None` where they were not read.
    pub pressure: Option<Pressure>,
    /// What is wrong; not judged by this version.
    pub findings: Option<Vec<Finding>>,
}

/// Something that costs and can be mended. This version makes none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Finding {}
