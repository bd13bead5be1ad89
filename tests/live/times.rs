//! Times: what the agent measures against the generator's own clock.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    agent::Agent,
    gate::{live, slowdown},
    join::{join, other_end},
    netns::Netns,
    peer::Peer,
    record::{Dist, Record, Role},
    relay::{Relay, SERVER, SERVER6},
    stats::Errors,
    traffic::{
        spec::{Client, Repeat, Script, Server, Serving, Step},
        truth::{Conn, Direction},
    },
};

/// Half of the differences must be below this, s.
const MEDIAN: f64 = 100e-6;

/// 99 of 100 must be below this, s.
const P99: f64 = 5e-3;

/// Tests that measure run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn mean(values: impl Iterator<Item = u64>) -> Option<f64> {
    let values: Vec<u64> = values.collect();
    let n = values.len() as f64;
    (!values.is_empty()).then(|| seconds(values.iter().sum()) / n)
}

/// What is compared; the same for both roles.
#[derive(Default)]
struct Table {
    start: Errors,
    connect: Errors,
    first_turn: Errors,
    first_response: Errors,
    turns: Errors,
    idle: Errors,
    idle_at_close: Errors,
    lifetime: Errors,
    first_send: Errors,
    first_answer: Errors,
    last_activity: Errors,
}

impl Table {
    fn add(&mut self, conn: &Conn, record: &Record) -> Result<()> {
        let about = || format!("\ndone: {conn:?}\nrecorded: {record:?}");
        let turns = conn.turns();
        let first = turns.first().with_context(about)?;
        let first_turn = seconds(first.response_ns());
        self.first_turn.add(record.first_turn_s.with_context(about)?, first_turn);
        match conn.role {
            Role::Client => {
                let connect = seconds(conn.established_ns.with_context(about)? - conn.begin_ns);
                self.start.add(seconds(record.start_ns()?), seconds(conn.wall_ns));
                self.connect.add(record.connect_s.with_context(about)?, connect);
                self.first_response.add(record.first_response_s.with_context(about)?, connect + first_turn);
            }
            Role::Server => ensure!(
                record.connect_s.is_none() && record.first_response_s.is_none(),
                "a server does not connect{}",
                about()
            ),
        }
        // A server's distribution holds every turn, a client's only the later ones.
        let (said, skipped): (Option<Dist>, usize) = match conn.role {
            Role::Client => (record.reused_response_s, 1),
            Role::Server => (record.service_s, 0),
        };
        if let Some(is) = mean(turns.iter().skip(skipped).map(|t| t.response_ns())) {
            let said = said.with_context(about)?;
            ensure!(said.count == (turns.len() - skipped) as u64, "{} turns{}", turns.len() - skipped, about());
            self.turns.add(said.mean.with_context(about)?, is);
        }
        let idle = turns.windows(2).map(|pair| pair[1].asked.end_ns - pair[0].last.end_ns);
        if let Some(is) = mean(idle) {
            let said = record.idle_before_reuse_s.with_context(about)?;
            ensure!(said.count == turns.len() as u64 - 1, "{} idle times{}", turns.len() - 1, about());
            self.idle.add(said.mean.with_context(about)?, is);
        }
        Ok(())
    }

    /// Where packets take no time the ends of a connection reach CLOSED when the second `close` returns.
    fn add_end(&mut self, conn: &Conn, record: &Record, all: &[Conn]) -> Result<()> {
        let about = || format!("\ndone: {conn:?}\nrecorded: {record:?}");
        let other = other_end(conn, all).with_context(about)?;
        let client = if conn.role == Role::Client { conn } else { other };
        let closed = conn.close_end_ns.max(other.close_end_ns);
        let lifetime = closed - client.established_ns.with_context(about)?;
        self.lifetime.add(record.lifetime_s.with_context(about)?, seconds(lifetime));
        let last = conn.calls.last().with_context(about)?;
        // Idle until the first FIN, whoever sent it.
        let idle_until = other.close_begin_ns.min(conn.close_begin_ns);
        self.idle_at_close.add(record.idle_at_close_s.with_context(about)?, seconds(idle_until - last.end_ns));
        let start = if conn.role == Role::Client { Some(conn.begin_ns) } else { client.established_ns };
        let start = start.with_context(about)?;
        let first_send = conn.calls.iter().find(|c| c.direction == Direction::Out).with_context(about)?;
        let first_answer = conn.turns().first().with_context(about)?.answered;
        self.first_send.add(record.first_send_s.with_context(about)?, seconds(first_send.end_ns - start));
        self.first_answer.add(record.first_answer_s.with_context(about)?, seconds(first_answer.end_ns - start));
        self.last_activity.add(record.last_activity_s.with_context(about)?, seconds(last.end_ns - start));
        Ok(())
    }
}

#[test]
fn on_loopback() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let _alone = alone();
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let answers = Script::new(Repeat::UntilEof, &[Step::Recv(100), Step::Sleep(1), Step::Send(200)]);
    // One process that waits in `accept`: a server that starts a thread first takes the CPU from the client, whose own
    // clock then is late.
    let server = Server::new(&local, answers).serving(Serving::Prefork(1));
    let mut server = Peer::server(Some(&netns), &server)?;
    let asks = Script::new(Repeat::Times(4), &[Step::Send(100), Step::Recv(200), Step::Sleep(2)]);
    let clients = Peer::client(Some(&netns), &Client::new(server.listening(), 200, asks))?.run()?;
    let servers = server.wait_truth(200)?;
    let trace = agent.stop()?;
    let truth: Vec<Conn> = clients.into_iter().chain(servers).collect();
    for role in [Role::Client, Role::Server] {
        let mut table = Table::default();
        for (conn, record) in join(&truth, &trace.records)?.into_iter().filter(|(c, _)| c.role == role) {
            table.add(conn, record)?;
            table.add_end(conn, record, &truth)?;
        }
        let (first_turn, turns) = match role {
            Role::Client => ("client: first turn", "client: reused_response_s"),
            Role::Server => ("server: first turn", "server: service_s"),
        };
        table.first_turn.check(first_turn, 200, MEDIAN, P99)?;
        table.turns.check(turns, 200, MEDIAN, P99)?;
        table.idle.check("idle_before_reuse_s", 200, MEDIAN, P99)?;
        table.lifetime.check("lifetime_s", 200, MEDIAN, P99)?;
        table.idle_at_close.check("idle_at_close_s", 200, MEDIAN, P99)?;
        table.first_send.check("first_send_s", 200, MEDIAN, P99)?;
        table.first_answer.check("first_answer_s", 200, MEDIAN, P99)?;
        table.last_activity.check("last_activity_s", 200, MEDIAN, P99)?;
        if role == Role::Client {
            table.connect.check("connect_s", 200, MEDIAN, P99)?;
            table.first_response.check("first_response_s", 200, MEDIAN, P99)?;
            // The time of day is converted once for all records, so it may be off by what the clock was set by.
            table.start.check("start", 200, P99, 2.0 * P99)?;
        }
    }
    Ok(())
}

/// Connections through the relay with a delay each way; what the client's end says.
fn through_relay(relay: &Relay, n: u32) -> Result<Vec<(Conn, Record)>> {
    let agent = Agent::in_netns(&relay.client)?;
    let server = Peer::server(Some(&relay.server), &Server::new(&[SERVER.into(), SERVER6.into()], Script::answers()))?;
    let asks = Script::new(Repeat::Times(3), &[Step::Send(100), Step::Recv(200), Step::Sleep(5)]);
    let truth = Peer::client(Some(&relay.client), &Client::new(server.listening(), n, asks))?.run()?;
    // The last FIN takes a round trip.
    let end = truth.iter().max_by_key(|c| c.close_end_ns).context("no connection")?;
    let last = |r: &Record| std::net::SocketAddr::from(r.local) == end.local;
    agent.wait_for(Duration::from_secs(5), last)?;
    let trace = agent.stop()?;
    Ok(join(&truth, &trace.records)?.into_iter().map(|(c, r)| (c.clone(), r.clone())).collect())
}

fn with_delay(one_way: Duration, n: u32) -> Result<()> {
    let relay = Relay::new(one_way)?;
    let mut table = Table::default();
    let round_trip = 2.0 * one_way.as_secs_f64();
    for (conn, record) in through_relay(&relay, n)? {
        table.add(&conn, &record)?;
        let connect = record.connect_s.unwrap_or(0.0);
        ensure!((round_trip..round_trip + 0.15).contains(&connect), "a round trip is {round_trip}: {record:?}");
        let srtt = record.min_rtt_s.unwrap_or(0.0);
        ensure!((round_trip * 0.95..round_trip + 0.15).contains(&srtt), "min_rtt_s is {round_trip}: {record:?}");
        ensure!(record.retransmits == Some(0), "nothing was lost: {record:?}");
    }
    let n = n as usize;
    // The thread that connects sleeps meanwhile, and its clock counts how long it takes to wake up.
    table.connect.check("relay: connect_s", n, 3.0 * MEDIAN, P99)?;
    table.first_response.check("relay: first_response_s", n, 3.0 * MEDIAN, P99)?;
    table.first_turn.check("relay: first_turn_s", n, MEDIAN, P99)?;
    table.turns.check("relay: reused_response_s", n, MEDIAN, P99)?;
    table.idle.check("relay: idle_before_reuse_s", n, MEDIAN, P99)
}

#[test]
fn with_20_ms() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let _alone = alone();
    with_delay(Duration::from_millis(10), 40)
}

#[test]
fn with_200_ms() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let _alone = alone();
    with_delay(Duration::from_millis(100), 6)
}

#[test]
fn with_a_lost_syn() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let _alone = alone();
    let relay = Relay::new(Duration::from_millis(10))?;
    relay.rules().drop_syns = 1;
    let pairs = through_relay(&relay, 4)?;
    let lost: Vec<_> = pairs.iter().filter(|(_, r)| r.retransmits != Some(0)).collect();
    ensure!(lost.len() == 1, "one SYN was lost: {pairs:?}");
    let (conn, record) = lost[0];
    ensure!(record.retransmits == Some(1), "sent again once: {record:?}");
    let connect = record.connect_s.context("connected in the end")?;
    ensure!((1.0..1.5).contains(&connect), "the SYN went again after 1 s: {connect}");
    let is = seconds(conn.established_ns.context("connected")? - conn.begin_ns);
    ensure!((connect - is).abs() < P99 * f64::from(slowdown()), "connect_s {connect}, but it took {is}");
    Ok(())
}
