//! One connection as it is shown: the names here are the names in JSON.

use std::net::IpAddr;

use jiff::Timestamp;
use redial_common::{
    errno,
    facts::{self, Phase},
    record::conn::{Conn, flag},
    tcp::{closed_by, failed_by, role},
};
use serde::{Serialize, Serializer};

use super::{
    distribution::{Distribution, seconds},
    edge::OwnerKind,
};
use crate::enrich::{Identity, address::address, role::Role};

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    /// Its address.
    pub addr: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its name in the hosts file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A connection that was established has ended.
    Closed,
    /// An attempt has failed.
    Failed,
    /// A connection became known.
    Opened,
}

/// A pair of readings that turns the records' clock into the time of day.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// ns of CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// The time of day then.
    pub wall: Timestamp,
}

impl WallClock {
    /// The time of day at `ns` of CLOCK_MONOTONIC; `None` for 0, which means "not seen".
    pub fn at(&self, ns: u64) -> Option<Timestamp> {
        let ahead = i128::from(ns) - i128::from(self.monotonic_ns);
        (ns != 0).then(|| Timestamp::from_nanosecond(self.wall.as_nanosecond() + ahead).ok()).flatten()
    }
}

/// One connection that opened or ended. Durations are in seconds; what was not seen is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Connection {
    /// What happened.
    pub event: What,
    /// Unique within one run.
    pub id: String,
    /// When it began: client SYN-SENT, server ESTABLISHED, an older one when it was first seen.
    #[serde(serialize_with = "rfc3339")]
    pub start: Option<Timestamp>,
    /// When it reached CLOSED.
    #[serde(serialize_with = "rfc3339")]
    pub end: Option<Timestamp>,
    /// Which end this host is.
    pub role: Role,
    /// "ipv4" or "ipv6".
    pub family: &'static str,
    /// This end.
    pub local: End,
    /// The far end.
    pub remote: End,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// The owner.
    pub pid: Option<u32>,
    /// The owner's name.
    pub comm: Option<String>,
    /// The owner's executable.
    pub exe: Option<String>,
    /// The id of the owner's container; absent on the host and when not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The uid of the owner's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The process that accepted, where that is another one.
    pub acceptor_pid: Option<u32>,
    /// The process that closed our end, where that is another one.
    pub closer_pid: Option<u32>,
    /// Who closed an established connection, and how.
    pub closed_by: Option<&'static str>,
    /// Why an attempt failed.
    pub failed_by: Option<&'static str>,
    /// The kernel's error.
    pub error: Option<String>,
    /// SYN-SENT to ESTABLISHED; clients.
    pub connect_s: Option<f64>,
    /// ESTABLISHED to CLOSED.
    pub lifetime_s: Option<f64>,
    /// The first send, since the start.
    pub first_send_s: Option<f64>,
    /// The first answer, since the start.
    pub first_answer_s: Option<f64>,
    /// The last send or receive, since the start.
    pub last_activity_s: Option<f64>,
    /// The first turn.
    pub first_turn_s: Option<f64>,
    /// Connecting and the first turn; clients.
    pub first_response_s: Option<f64>,
    /// Later turns; clients.
    pub reused_response_s: Option<Distribution>,
    /// All turns, receive to send; servers.
    pub service_s: Option<Distribution>,
    /// Idle time before later turns.
    pub idle_before_reuse_s: Option<Distribution>,
    /// Idle time when the end began.
    pub idle_at_close_s: Option<f64>,
    /// Time within turns.
    pub busy_s: Option<f64>,
    /// Answered turns.
    pub exchanges: Option<u32>,
    /// Whether it ended without an exchange.
    pub unused: Option<bool>,
    /// Payload bytes that the peer acknowledged.
    pub bytes_sent: Option<u64>,
    /// Payload bytes received.
    pub bytes_received: Option<u64>,
    /// Segments sent again.
    pub retransmits: Option<u32>,
    /// Segments sent again, of those, since the peer last acknowledged anything new.
    pub unanswered_retransmits: Option<u32>,
    /// Smoothed round-trip time.
    pub srtt_s: Option<f64>,
    /// Least round-trip time.
    pub min_rtt_s: Option<f64>,
    /// Whether SO_KEEPALIVE was set.
    pub keepalive: Option<bool>,
    /// Idle time before the first keepalive probe.
    pub keepalive_idle_s: Option<f64>,
    /// Whether the last transition implies a TIME-WAIT socket.
    pub time_wait: Option<bool>,
    /// How long it was in CLOSE-WAIT.
    pub close_wait_s: Option<f64>,
    /// What else is to be known of it.
    pub labels: Vec<&'static str>,
    /// Whose it is.
    pub kind: OwnerKind,
}

impl Connection {
    /// Reads a record. `tick_s` is the length of the kernel's tick in seconds, and `name` the remote's.
    pub fn of(conn: &Conn, who: &Identity, name: Option<&str>, clock: &WallClock, tick_s: f64) -> Self {
        let ended = conn.end_ns != 0;
        let established = facts::phase(conn) != Phase::Attempt;
        let since_start = |ns: u64| (ns != 0 && ns >= conn.start_ns).then(|| seconds(ns - conn.start_ns));
        let watched = conn.has(flag::TURNS_WATCHED);
        let measured = facts::is_measured(conn);
        let offsets = !conn.has(flag::NO_OFFSETS);
        let server = conn.role == role::SERVER;
        let first_turn = facts::first_turn_ns(conn);
        let turns = |one_more| if watched { Distribution::of_dist(&conn.reused, one_more) } else { None };
        let (local, remote) = (address(conn.family, &conn.local), address(conn.family, &conn.remote));
        let keepalive = measured.then(|| conn.has(flag::KEEPALIVE));
        Self {
            event: match (ended, established) {
                (false, _) => What::Opened,
                (true, true) => What::Closed,
                (true, false) => What::Failed,
            },
            id: conn.id.to_string(),
            start: clock.at(conn.start_ns),
            end: clock.at(conn.end_ns),
            role: Role::from_raw(conn.role),
            family: if remote.is_ipv4() { "ipv4" } else { "ipv6" },
            local: End { addr: local, port: conn.local_port, name: None },
            remote: End { addr: remote, port: conn.remote_port, name: name.map(str::to_owned) },
            netns: (conn.netns != 0).then_some(conn.netns),
            pid: who.pid,
            comm: who.comm.as_ref().map(ToString::to_string),
            exe: who.exe().map(ToString::to_string),
            container: who.container.as_ref().map(|container| container.id.to_string()),
            pod: who.container.as_ref().and_then(|container| container.pod_uid.as_ref()).map(ToString::to_string),
            acceptor_pid: (conn.acceptor_tgid != 0 && Some(conn.acceptor_tgid) != who.pid)
                .then_some(conn.acceptor_tgid),
            closer_pid: (conn.closer_tgid != 0 && Some(conn.closer_tgid) != who.pid).then_some(conn.closer_tgid),
            closed_by: (ended && established).then(|| closed_word(conn.closed_by)),
            failed_by: (ended && !established).then(|| failed_word(conn.failed_by)),
            error: (conn.error != 0).then(|| error_name(conn.error)),
            connect_s: facts::connect_ns(conn).map(seconds),
            lifetime_s: facts::lifetime_ns(conn).map(seconds),
            first_send_s: since_start(conn.first_send_ns),
            first_answer_s: since_start(conn.first_answer_ns),
            last_activity_s: facts::last_activity_ns(conn).and_then(since_start),
            first_turn_s: first_turn.map(seconds),
            first_response_s: facts::first_response_ns(conn).map(seconds),
            reused_response_s: if server { None } else { turns(None) },
            service_s: if server { turns(first_turn) } else { None },
            idle_before_reuse_s: if watched { Distribution::of_dist(&conn.idle, None) } else { None },
            idle_at_close_s: facts::idle_at_close_ns(conn).map(seconds),
            busy_s: (ended && established && facts::is_timed(conn)).then(|| seconds(conn.busy_ns)),
            exchanges: if ended && established { facts::exchanges(conn) } else { None },
            unused: if ended { facts::unused(conn) } else { None },
            bytes_sent: measured.then_some(conn.bytes_sent),
            bytes_received: measured.then_some(conn.bytes_received),
            retransmits: measured.then_some(conn.retransmits),
            unanswered_retransmits: (measured && conn.unanswered != u32::MAX).then_some(conn.unanswered),
            srtt_s: (measured && conn.srtt_us != 0).then(|| f64::from(conn.srtt_us) / 1e6),
            min_rtt_s: (measured && conn.min_rtt_us != 0 && conn.min_rtt_us != u32::MAX)
                .then(|| f64::from(conn.min_rtt_us) / 1e6),
            keepalive,
            keepalive_idle_s: (keepalive == Some(true) && conn.keepalive_ticks != 0)
                .then(|| f64::from(conn.keepalive_ticks) * tick_s),
            time_wait: (ended && established && offsets && !conn.has(flag::END_UNSEEN))
                .then(|| conn.has(flag::TIME_WAIT)),
            close_wait_s: close_wait_s(conn),
            labels: LABELS.iter().filter(|(bit, _)| conn.has(*bit)).map(|&(_, name)| name).collect(),
            kind: OwnerKind::from(&who.owner),
        }
    }
}

/// Flags that are shown, with their names.
const LABELS: &[(u32, &str)] = &[
    (flag::ADOPTED, "adopted"),
    (flag::KERNEL_SOCKET, "kernel_socket"),
    (flag::MPTCP, "mptcp"),
    (flag::FAST_OPEN, "fast_open"),
    (flag::ULP, "ulp"),
    (flag::USER_DATA, "user_data"),
    (flag::NEVER_ACCEPTED, "never_accepted"),
    (flag::START_UNSEEN, "start_unseen"),
    (flag::END_UNSEEN, "end_unseen"),
    (flag::NO_SYN, "no_syn"),
    (flag::RESET_AFTER_FIN, "reset_after_fin"),
    (flag::RESTORED, "restored"),
];

fn close_wait_s(conn: &Conn) -> Option<f64> {
    let end = if conn.close_wait_end_ns == 0 { conn.end_ns } else { conn.close_wait_end_ns };
    (conn.close_wait_ns != 0 && end >= conn.close_wait_ns).then(|| seconds(end - conn.close_wait_ns))
}

/// The word for one of [`closed_by`].
fn closed_word(code: u8) -> &'static str {
    match code {
        closed_by::LOCAL => "local",
        closed_by::REMOTE => "remote",
        closed_by::RESET_LOCAL => "reset_local",
        closed_by::RESET_REMOTE => "reset_remote",
        closed_by::TIMEOUT => "timeout",
        closed_by::ABORTED => "aborted",
        _ => "unknown",
    }
}

/// The word for one of [`failed_by`].
fn failed_word(code: u8) -> &'static str {
    match code {
        failed_by::REFUSED => "refused",
        failed_by::TIMED_OUT => "timed_out",
        failed_by::RESET => "reset",
        failed_by::UNREACHABLE => "unreachable",
        failed_by::NO_PORTS => "no_ports",
        failed_by::CANCELLED => "cancelled",
        failed_by::DENIED => "denied",
        _ => "other",
    }
}

/// The kernel's name of an error, or its number.
fn error_name(code: u32) -> String {
    let name = match i32::try_from(code).unwrap_or(0) {
        errno::EPERM => "EPERM",
        errno::EACCES => "EACCES",
        errno::EPIPE => "EPIPE",
        errno::ENOPROTOOPT => "ENOPROTOOPT",
        errno::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        errno::ENETUNREACH => "ENETUNREACH",
        errno::ECONNABORTED => "ECONNABORTED",
        errno::ECONNRESET => "ECONNRESET",
        errno::ETIMEDOUT => "ETIMEDOUT",
        errno::ECONNREFUSED => "ECONNREFUSED",
        errno::EHOSTDOWN => "EHOSTDOWN",
        errno::EHOSTUNREACH => "EHOSTUNREACH",
        errno::EINPROGRESS => "EINPROGRESS",
        _ => return code.to_string(),
    };
    name.to_owned()
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn rfc3339<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&format_args!("{time:.9}")),
        None => serializer.serialize_none(),
    }
}
