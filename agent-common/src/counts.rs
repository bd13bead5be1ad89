//! The counters of connections that ended, one meaning for the kernel's fold and for user space's totals.

use crate::{
    facts::{self, Phase},
    record::conn::{Conn, flag},
    tcp::{closed_by, failed_by},
};

/// What is counted of connections. All zero is a value: nothing was counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were there when the agent began.
    pub open_at_start: u64,
    /// Connections that reached ESTABLISHED since.
    pub opened: u64,
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

const _: () = assert!(size_of::<Counts>() == 30 * 8);

impl Counts {
    /// Established connections that ended.
    pub fn closed(&self) -> u64 {
        self.closed_by.iter().sum()
    }

    /// Attempts that failed.
    pub fn failed(&self) -> u64 {
        self.failed_by.iter().sum()
    }

    /// Counts a connection or an attempt that ended.
    #[inline(always)]
    pub fn add_ended(&mut self, conn: &Conn) {
        if facts::phase(conn) == Phase::Attempt {
            add_one(&mut self.failed_by, conn.failed_by, failed_by::OTHER);
        } else {
            add_one(&mut self.closed_by, conn.closed_by, closed_by::UNKNOWN);
            self.unused += u64::from(facts::unused(conn) == Some(true));
        }
        self.time_wait += u64::from(conn.has(flag::TIME_WAIT));
        self.add_use(conn);
    }

    /// Counts how a connection began, and how it was used until now or until it ended.
    #[inline(always)]
    pub fn add_use(&mut self, conn: &Conn) {
        if facts::is_measured(conn) {
            self.measured += 1;
            self.bytes_sent += conn.bytes_sent;
            self.bytes_received += conn.bytes_received;
            self.retransmits += u64::from(conn.retransmits);
        }
        let phase = facts::phase(conn);
        match phase {
            Phase::Attempt => return,
            Phase::Opened => self.opened += 1,
            Phase::OpenAtStart => self.open_at_start += 1,
        }
        if let Some(exchanges) = facts::exchanges(conn) {
            self.watched += 1;
            self.exchanges += u64::from(exchanges);
            self.first_exchanges += u64::from(exchanges > 0 && phase == Phase::Opened);
        }
        if facts::is_timed(conn) {
            self.timed += 1;
            self.busy_ns += conn.busy_ns;
        }
    }

    /// Takes out what the hooks for sends and receives would have told, where they could not be attached.
    pub fn drop_unwatched(&mut self) {
        *self = Self { unused: 0, watched: 0, exchanges: 0, first_exchanges: 0, timed: 0, busy_ns: 0, ..*self };
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.open_at_start += other.open_at_start;
        self.opened += other.opened;
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

/// Counts at `code`, or at `unknown` for none and for what this version does not know: the sum is always right.
#[inline(always)]
fn add_one(counts: &mut [u64], code: u8, unknown: u8) {
    let is_known = code != 0 && usize::from(code) < counts.len();
    if let Some(count) = counts.get_mut(usize::from(if is_known { code } else { unknown })) {
        *count += 1;
    }
}
