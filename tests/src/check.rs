//! Compares one record, or the totals, with the truth.

use anyhow::{Context, Result, ensure};

use crate::{
    record::{Record, Role, Trace},
    traffic::truth::Conn,
};

/// What both ends of a closed connection must say in `closed_by`.
#[derive(Clone, Copy, Debug)]
pub struct ClosedBy {
    /// The client's end.
    pub client: &'static str,
    /// The server's end.
    pub server: &'static str,
}

impl ClosedBy {
    /// The client sent FIN first.
    pub const CLIENT: Self = Self { client: "local", server: "remote" };
    /// The server sent FIN first.
    pub const SERVER: Self = Self { client: "remote", server: "local" };
    /// The client sent RST.
    pub const CLIENT_RESETS: Self = Self { client: "reset_local", server: "reset_remote" };

    /// What one end says.
    pub fn of(self, role: Role) -> &'static str {
        match role {
            Role::Client => self.client,
            Role::Server => self.server,
        }
    }
}

/// Fails unless `record` says of `conn` what it was: owner, family, exchanges, payload, and who closed.
pub fn closed(conn: &Conn, record: &Record, closed_by: &str) -> Result<()> {
    let about = || format!("\ndone: {conn:?}\nrecorded: {record:?}");
    let family = if conn.local.is_ipv4() { "ipv4" } else { "ipv6" };
    ensure!(record.event == "closed", "event {}, not closed{}", record.event, about());
    ensure!(record.family.as_deref() == Some(family), "family is {family}{}", about());
    ensure!(record.pid == Some(conn.pid), "pid is {}{}", conn.pid, about());
    ensure!(record.comm.as_deref() == Some(&*conn.comm), "comm is {}{}", conn.comm, about());
    ensure!(record.acceptor_pid == conn.acceptor_pid, "acceptor_pid is {:?}{}", conn.acceptor_pid, about());
    // The process that handed it on may be the last to let go of it.
    let is_theirs = record.closer_pid.is_none_or(|closer| conn.acceptor_pid == Some(closer));
    ensure!(is_theirs, "who uses it or handed it on closes it{}", about());
    ensure!(record.exchanges == Some(conn.exchanges()), "exchanges are {}{}", conn.exchanges(), about());
    ensure!(record.unused == Some(conn.exchanges() == 0), "unused is {}{}", conn.exchanges() == 0, about());
    ensure!(record.bytes_sent == Some(conn.bytes_sent()), "bytes_sent is {}{}", conn.bytes_sent(), about());
    ensure!(
        record.bytes_received == Some(conn.bytes_received()),
        "bytes_received is {}{}",
        conn.bytes_received(),
        about()
    );
    ensure!(record.closed_by.as_deref() == Some(closed_by), "closed_by is {closed_by}{}", about());
    ensure!(record.failed_by.is_none(), "it did not fail{}", about());
    Ok(())
}

/// Fails unless the totals are the sums of the truth and of the lines, and nothing was lost.
pub fn totals(trace: &Trace, truth: &[&Conn], failed: u64) -> Result<()> {
    let summary = &trace.summary;
    let totals = &summary.totals;
    let n = truth.len() as u64;
    let about = || format!("\nsummary: {summary:?}");
    // A skipped run loses nothing by itself, and happens where any process that reads a BPF map loses its CPU: what it
    // did lose, the lines and sums below would show.
    let lost = summary.losses.iter().filter(|(cause, _)| *cause != "recursion").map(|(_, &lost)| lost).sum::<u64>();
    ensure!(lost == 0, "nothing may be lost here{}", about());
    ensure!(summary.records == trace.records.len() as u64, "records is not the number of lines{}", about());
    ensure!(summary.records + summary.folded == n + failed, "{} ends{}", n + failed, about());
    ensure!(totals.closed == n && totals.failed == failed, "closed {n}, failed {failed}{}", about());
    let sum = |part: fn(&Conn) -> u64| Some(truth.iter().map(|c| part(c)).sum::<u64>());
    ensure!(totals.exchanges == sum(Conn::exchanges), "exchanges {:?}{}", sum(Conn::exchanges), about());
    ensure!(totals.bytes_sent == sum(Conn::bytes_sent), "bytes_sent {:?}{}", sum(Conn::bytes_sent), about());
    ensure!(
        totals.bytes_received == sum(Conn::bytes_received),
        "bytes_received {:?}{}",
        sum(Conn::bytes_received),
        about()
    );
    let unused = sum(|c| u64::from(c.exchanges() == 0));
    ensure!(totals.unused == unused, "unused {unused:?}{}", about());
    balance(trace)
}

/// Fails unless the sums by cause equal the sums, and attempts = opened + failed where nothing is still connecting.
pub fn balance(trace: &Trace) -> Result<()> {
    let totals = &trace.summary.totals;
    totals.balance().with_context(|| format!("{:?}", trace.summary))?;
    let all_are_over = totals.attempts == totals.opened + totals.failed;
    ensure!(all_are_over, "attempts are not opened + failed\nsummary: {:?}", trace.summary);
    Ok(())
}

/// The only record that fits, as a message says what there is otherwise.
pub fn only<'a>(trace: &'a Trace, what: &str, wanted: impl Fn(&Record) -> bool) -> Result<&'a Record> {
    let mut found = trace.records.iter().filter(|r| wanted(r));
    let first = found.next().with_context(|| format!("{what}: no such record among {:#?}", trace.records))?;
    ensure!(found.next().is_none(), "{what}: more than one such record among {:#?}", trace.records);
    Ok(first)
}
