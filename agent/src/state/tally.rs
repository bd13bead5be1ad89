//! An edge's counters: those of the connections that ended, and what is there now.

use redial_common::{
    counts::Counts,
    facts::{self, Phase},
    record::conn::Conn,
};

/// What was counted on one edge, or on several. At every moment `open_at_start + opened = closed + open`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Beginnings, ends and use, of what lives too.
    pub counts: Counts,
    /// Connections that are there now.
    pub open: u64,
    /// Attempts that are neither established nor failed.
    pub connecting: u64,
}

impl Tally {
    /// Attempts: opened, failed and still connecting.
    pub fn attempts(&self) -> u64 {
        self.counts.opened + self.counts.failed() + self.connecting
    }

    /// Counts a connection that lives.
    pub fn add_live(&mut self, conn: &Conn) {
        match facts::phase(conn) {
            Phase::Attempt => self.connecting += 1,
            Phase::Opened | Phase::OpenAtStart => self.open += 1,
        }
        self.counts.add_use(conn);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.open += other.open;
        self.connecting += other.connecting;
    }
}
