//! Tests of the totals: what always holds, whatever the records.

use redial_common::{
    edge::FoldTotals,
    record::conn::flag,
    tcp::{closed_by, failed_by, family, role, state},
};

use super::{tally::Tally, *};
use crate::enrich::{Owner, role::Role};

/// A cheap generator of numbers, the same on every run (Knuth's MMIX constants).
pub fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |x| {
        Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .map(|x| x >> 20)
}

fn identity(name: &str, pid: u32) -> Identity {
    Identity { owner: Owner::Executable(name.into()), pid: Some(pid), comm: Some(name.into()), container: None }
}

/// A connection of a client to 10.0.0.1:80 that connected in 1 ms and had `exchanges`.
fn client(exchanges: u32) -> Conn {
    Conn {
        id: 1,
        flags: flag::TURNS_WATCHED | flag::FINAL_READ,
        start_ns: 1_000_000,
        established_ns: 2_000_000,
        closing_ns: 12_000_000,
        end_ns: 12_000_000,
        exchanges,
        busy_ns: 600_000 * u64::from(exchanges),
        first_turn_ns: if exchanges > 0 { 500_000 } else { 0 },
        last_send_ns: if exchanges > 0 { 10_000_000 } else { 0 },
        last_recv_ns: if exchanges > 0 { 11_000_000 } else { 0 },
        bytes_sent: 100,
        remote: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        remote_port: 80,
        local_port: 40_000,
        family: family::INET,
        role: role::CLIENT,
        state: state::FIN_WAIT2,
        closed_by: closed_by::LOCAL,
        ..Conn::ZERO
    }
}

fn failed(by: u8) -> Conn {
    Conn { established_ns: 0, closed_by: 0, failed_by: by, state: state::SYN_SENT, ..client(0) }
}

fn alive(conn: Conn) -> Conn {
    Conn { end_ns: 0, closed_by: 0, state: state::ESTABLISHED, ..conn }
}

fn adopted(conn: Conn) -> Conn {
    Conn { flags: conn.flags | flag::ADOPTED, established_ns: 0, ..conn }
}

fn total<'a>(states: impl IntoIterator<Item = &'a State>) -> Tally {
    let mut total = Tally::default();
    states.into_iter().flat_map(State::edges).for_each(|(_, edge)| total.merge(&edge.tally));
    total
}

/// FoldTotals of `conns`, by the code that the kernel folds with.
fn fold(conns: &[Conn]) -> FoldTotals {
    let mut totals = FoldTotals::default();
    conns.iter().for_each(|conn| totals.add(conn));
    totals
}

fn fold_key() -> FoldKey {
    FoldKey::of(&Conn { tgid: 1, ..client(0) }, 0, 0)
}

fn mixture() -> Vec<Conn> {
    (0..240_u32)
        .map(|i| {
            let conn = match i % 8 {
                0 => failed(1 + (i / 8 % 8) as u8),
                1 => client(0),
                2 => adopted(client(3)),
                3 => adopted(client(0)),
                4 if i > 100 => Conn { flags: flag::FINAL_READ | flag::MPTCP, ..client(0) },
                4 if i > 50 => Conn { flags: client(1).flags | flag::RESTORED, ..client(1) },
                4 => Conn { closed_by: closed_by::NONE, ..client(1) },
                5 => Conn { closed_by: 99, ..client(1) },
                _ => Conn { closed_by: 1 + (i / 8 % 7) as u8, ..client(i % 5) },
            };
            Conn { id: u64::from(i), remote_port: 80 + (i % 3) as u16, ..conn }
        })
        .collect()
}

#[test]
fn open_at_start_and_opened_are_closed_and_open() {
    let (mut state, mut live) = (State::new(100, By::Edge), State::new(100, By::Edge));
    for conn in mixture() {
        state.ended(&conn, &identity("app", 1));
        if conn.failed_by == 0 {
            live.live(&alive(conn), &identity("app", 1));
        }
        let sum = total([&state, &live]);
        assert_eq!(sum.counts.open_at_start + sum.counts.opened, sum.counts.closed() + sum.open);
        assert_eq!(sum.attempts(), sum.counts.opened + sum.counts.failed() + sum.connecting);
        assert_eq!(sum.counts.closed() + sum.counts.failed(), state.records);
    }
    let sum = total([&state]);
    assert_eq!((sum.counts.failed(), sum.counts.open_at_start), (30, 60));
    assert_eq!(sum.counts.failed_by.iter().skip(1).copied().collect::<Vec<_>>()[..7], [4, 4, 4, 4, 4, 4, 3]);
    assert_eq!(sum.counts.closed_by[0], 0, "every end has a cause, if only unknown");
}

#[test]
fn folded_and_single_records_give_the_same_counters() {
    let (mut single, mut folded) = (State::new(100, By::Edge), State::new(100, By::Edge));
    let conns: Vec<Conn> = mixture().into_iter().map(|conn| Conn { remote_port: 80, ..conn }).collect();
    conns.iter().for_each(|conn| single.ended(conn, &identity("app", 1)));
    let (first, rest) = conns.split_at(10);
    first.iter().for_each(|conn| folded.ended(conn, &identity("app", 1)));
    folded.folded(&fold_key(), &fold(rest), &identity("app", 1), 50);
    assert_eq!(folded.folded, 230);
    let (one, other) = (total([&single]), total([&folded]));
    assert_eq!(one, other);
    let who = identity("app", 1);
    let key = EdgeKey::from(&EdgeRef::of_conn(&client(0), &who, By::Edge));
    let (a, b) = (single.edges.get(&key).unwrap(), folded.edges.get(&key).unwrap());
    for (a, b) in [
        (&a.lifetime, &b.lifetime),
        (&a.connect, &b.connect),
        (&a.first_response, &b.first_response),
        (&a.idle_at_close, &b.idle_at_close),
    ] {
        assert_eq!((a.count(), a.sum(), a.max()), (b.count(), b.sum(), b.max()));
        assert!(a.count() > 0);
    }
}

#[test]
fn a_connection_older_than_the_agent_has_no_first_exchange_and_is_never_unused() {
    let mut state = State::new(10, By::Edge);
    state.ended(&adopted(client(4)), &identity("app", 1));
    state.ended(&adopted(client(0)), &identity("app", 1));
    let sum = total([&state]);
    assert_eq!(
        (
            sum.counts.opened,
            sum.counts.open_at_start,
            sum.counts.exchanges,
            sum.counts.first_exchanges,
            sum.counts.unused
        ),
        (0, 2, 4, 0, 0)
    );
    let (_, edge) = state.edges().next().unwrap();
    assert_eq!((edge.first_response.count(), edge.connect.count(), edge.lifetime.count()), (0, 0, 0));
}

#[test]
fn what_was_not_watched_is_not_counted_as_zero() {
    let mut state = State::new(10, By::Edge);
    let conn = Conn { flags: flag::NO_OFFSETS, ..client(0) };
    state.ended(&conn, &identity("app", 1));
    let sum = total([&state]);
    assert_eq!(
        (sum.counts.opened, sum.counts.watched, sum.counts.measured, sum.counts.unused, sum.counts.bytes_sent),
        (1, 0, 0, 0, 0)
    );
}

#[test]
fn a_server_folds_by_its_port_and_lists_peers() {
    let mut state = State::new(10, By::Edge);
    for peer in 1..=40 {
        let mut conn = Conn { role: role::SERVER, local_port: 443, remote_port: 1_000 + u16::from(peer), ..client(2) };
        conn.remote[3] = peer;
        state.ended(&conn, &identity("nginx", 7));
    }
    assert_eq!(state.edges().count(), 1);
    let (key, edge) = state.edges().next().unwrap();
    assert_eq!((key.role, key.place), (Role::Server, key::Place::LocalPort(443)));
    assert_eq!(edge.connect.count(), 0);
    assert_eq!(edge.turns.count(), 40, "the first turns are service time too");
    assert!(edge.peers.top().len() <= peers::MAX_PEERS);
}

#[test]
fn a_live_row_that_has_ended_waits_for_its_record() {
    let mut live = State::new(10, By::Edge);
    live.live(&client(1), &identity("app", 1));
    assert_eq!(live.edges().count(), 0);
}

#[test]
fn over_the_limit_the_silent_leave_and_totals_stay_exact() {
    let mut state = State::new(64, By::Edge);
    for i in 0..1_000_u32 {
        let mut conn = client(1);
        conn.end_ns = 12_000_000 + u64::from(i);
        conn.remote[1..4].copy_from_slice(&i.to_be_bytes()[1..]);
        state.ended(&conn, &identity("app", i));
        let busy = Conn { remote_port: 9_999, end_ns: conn.end_ns, ..client(2) };
        state.ended(&busy, &identity("app", 1));
        assert!(state.edges().count() <= 64 + 3);
    }
    let sum = total([&state]);
    assert_eq!((sum.counts.opened, sum.counts.exchanges), (2_000, 3_000));
    let who = identity("app", 1);
    let busy = EdgeKey::from(&EdgeRef::of_conn(&Conn { remote_port: 9_999, ..client(2) }, &who, By::Edge));
    assert_eq!(state.edges.get(&busy).unwrap().tally.counts.opened, 1_000, "the busy one was never pushed out");
    let other = state.edges.get(&EdgeKey::other(Role::Client)).unwrap();
    assert!(state.edges_folded >= 900 && other.tally.counts.opened == state.edges_folded);
    assert!(state.edges().any(|(key, _)| !key.is_other));
}

#[test]
fn failures_keep_their_cause() {
    let mut state = State::new(10, By::Edge);
    state.ended(&failed(failed_by::REFUSED), &identity("app", 1));
    state.ended(&failed(failed_by::NONE), &identity("app", 1));
    state.ended(&failed(200), &identity("app", 1));
    let sum = total([&state]);
    assert_eq!(sum.counts.failed_by[usize::from(failed_by::REFUSED)], 1);
    assert_eq!(sum.counts.failed_by[usize::from(failed_by::OTHER)], 2);
}
