//! An edge's counters.

use redial_common::{
    edge::FoldTotals,
    record::conn::{Conn, flag},
    tcp::{closed_by, failed_by},
};

use super::facts::{self, Phase};

/// What was counted on one edge, or on several. At every moment `open_at_start + opened = closed + open`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that were there when the agent began.
    pub open_at_start: u64,
    /// Connections that reached ESTABLISHED since.
    pub opened: u64,
    /// Connections that are there now.
    pub open: u64,
    /// Attempts that are neither established nor failed.
    pub connecting: u64,
    /// Ends of established connections by [`closed_by`].
    pub closed_by: [u64; closed_by::COUNT],
    /// Failed attempts by [`failed_by`].
    pub failed_by: [u64; failed_by::COUNT],
    /// Connections that closed without an exchange.
    pub unused: u64,
    /// Established connections whose turns were watched; exchanges are unknown for the others.
    pub watched: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Exchanges that were the first of their connection.
    pub first_exchanges: u64,
    /// Connections among the watched whose turns were timed too.
    pub timed: u64,
    /// Time within turns, ns.
    pub busy_ns: u64,
    /// Ends whose last transition implies a TIME-WAIT socket.
    pub time_wait: u64,
    /// Connections and attempts whose bytes and retransmits were read.
    pub measured: u64,
    /// Payload bytes that peers acknowledged.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Segments sent again.
    pub retransmits: u64,
}

impl Tally {
    /// Established connections that ended.
    pub fn closed(&self) -> u64 {
        self.closed_by.iter().sum()
    }

    /// Attempts that failed.
    pub fn failed(&self) -> u64 {
        self.failed_by.iter().sum()
    }

    /// Attempts: opened, failed and still connecting.
    pub fn attempts(&self) -> u64 {
        self.opened + self.failed() + self.connecting
    }

    /// Counts a connection that ended.
    pub fn add_ended(&mut self, conn: &Conn) {
        match facts::phase(conn) {
            Phase::Attempt => self.failed_by[code(conn.failed_by, failed_by::OTHER, failed_by::COUNT)] += 1,
            established => {
                self.add_beginning(established);
                self.closed_by[code(conn.closed_by, closed_by::UNKNOWN, closed_by::COUNT)] += 1;
                self.unused += u64::from(facts::unused(conn) == Some(true));
            }
        }
        self.time_wait += u64::from(conn.has(flag::TIME_WAIT));
        self.add_use(conn);
    }

    /// Counts a connection that lives.
    pub fn add_live(&mut self, conn: &Conn) {
        match facts::phase(conn) {
            Phase::Attempt => self.connecting += 1,
            established => {
                self.add_beginning(established);
                self.open += 1;
            }
        }
        self.add_use(conn);
    }

    fn add_beginning(&mut self, phase: Phase) {
        match phase {
            Phase::Opened => self.opened += 1,
            Phase::OpenAtStart => self.open_at_start += 1,
            Phase::Attempt => {}
        }
    }

    fn add_use(&mut self, conn: &Conn) {
        let phase = facts::phase(conn);
        if let Some(exchanges) = facts::exchanges(conn)
            && phase != Phase::Attempt
        {
            self.watched += 1;
            self.exchanges += u64::from(exchanges);
            self.first_exchanges += u64::from(exchanges > 0 && phase == Phase::Opened);
        }
        if facts::is_timed(conn) && phase != Phase::Attempt {
            self.timed += 1;
            self.busy_ns += conn.busy_ns;
        }
        if facts::is_measured(conn) {
            self.measured += 1;
            self.bytes_sent += conn.bytes_sent;
            self.bytes_received += conn.bytes_received;
            self.retransmits += u64::from(conn.retransmits);
        }
    }

    /// Counts connections that the kernel folded. Totals do not say whether turns were watched and bytes were read, so
    /// the caller does.
    pub fn add_fold(&mut self, totals: &FoldTotals, watched: bool, measured: bool) {
        // Attempts end with a cause; all other records are connections, of which those not opened here are older.
        let failed: u64 = totals.failed_by[1..].iter().sum();
        let closed = totals.records.saturating_sub(failed);
        let told: u64 = totals.closed_by[1..].iter().sum();
        self.opened += totals.opened.min(closed);
        self.open_at_start += closed.saturating_sub(totals.opened);
        for (mine, theirs) in self.closed_by.iter_mut().zip(totals.closed_by).skip(1) {
            *mine += theirs;
        }
        self.closed_by[usize::from(closed_by::UNKNOWN)] += closed.saturating_sub(told);
        for (mine, theirs) in self.failed_by.iter_mut().zip(totals.failed_by).skip(1) {
            *mine += theirs;
        }
        self.time_wait += totals.time_wait;
        if watched {
            self.watched += closed;
            self.unused += totals.unused;
            self.exchanges += totals.exchanges;
            self.first_exchanges += totals.first_exchanges;
            if totals.exchanges == 0 || totals.busy_ns > 0 {
                self.timed += closed;
                self.busy_ns += totals.busy_ns;
            }
        }
        if measured {
            self.measured += totals.records;
            self.bytes_sent += totals.bytes_sent;
            self.bytes_received += totals.bytes_received;
            self.retransmits += totals.retransmits;
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.open_at_start += other.open_at_start;
        self.opened += other.opened;
        self.open += other.open;
        self.connecting += other.connecting;
        for (mine, theirs) in self.closed_by.iter_mut().zip(other.closed_by) {
            *mine += theirs;
        }
        for (mine, theirs) in self.failed_by.iter_mut().zip(other.failed_by) {
            *mine += theirs;
        }
        self.unused += other.unused;
        self.watched += other.watched;
        self.exchanges += other.exchanges;
        self.first_exchanges += other.first_exchanges;
        self.timed += other.timed;
        self.busy_ns += other.busy_ns;
        self.time_wait += other.time_wait;
        self.measured += other.measured;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.retransmits += other.retransmits;
    }
}

/// The place of a code in its array; `unknown` for none and for what this version does not know.
fn code(raw: u8, unknown: u8, count: usize) -> usize {
    let raw = usize::from(raw);
    if raw == 0 || raw >= count { usize::from(unknown) } else { raw }
}
