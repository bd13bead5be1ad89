//! The agent begins in the middle of load, in three namespaces: nothing is counted twice, and only what was seen.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    agent::Agent,
    clock::monotonic_ns,
    gate::{live, slowdown},
    ledger::Far,
    netns::Netns,
    observer::Observer,
    peer::Peer,
    record::{Role, Trace},
    settle::{EMPTY, settle},
    snapshot::{Edge, Snapshot},
    traffic::{
        spec::{Client, Repeat, Script, Server, Step},
        truth::Conn,
    },
};

use crate::{LOCALHOST, OLDER};

/// Threads that connect again and again, each connection for two exchanges.
const CHURNING: u32 = 3;

/// Connections that are busy all the time.
const BUSY: u32 = 2;

/// Connections that were there before the agent began to load, at least.
const WARM: usize = 100;

/// One namespace with its load.
struct Load {
    netns: Netns,
    server: Peer,
    churning: Peer,
    busy: Peer,
}

/// What an edge's counts may be, as the generator's own clock tells it.
#[derive(Debug, Default)]
struct Bounds {
    closed: [u64; 2],
    opened: [u64; 2],
    older: [u64; 2],
    exchanges: [u64; 2],
    bytes_sent: [u64; 2],
}

impl Load {
    // With pauses, lest the truth grow so long that reading it takes all the time.
    fn start() -> Result<Self> {
        let netns = Netns::new()?;
        let server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
        let to = server.listening();
        let script = Script::asks(2).tail(&[Step::Sleep(1)]);
        let spec = Client::new(to, 0, script).until_released().threads(CHURNING);
        let churning = Peer::client(Some(&netns), &spec)?;
        let script = Script::new(Repeat::UntilReleased, &[Step::Send(100), Step::Recv(200), Step::Sleep(1)]);
        let busy = Peer::client(Some(&netns), &Client::new(to, BUSY, script).threads(BUSY))?;
        Ok(Self { netns, server, churning, busy })
    }

    fn warm_up(&mut self) -> Result<()> {
        self.churning.go()?;
        self.busy.go()?;
        self.churning.wait_truth(WARM).map(drop)
    }

    /// Waits until so many more connections have come.
    fn go_on(&mut self) -> Result<()> {
        let more = self.churning.truth()?.len() + WARM;
        self.churning.wait_truth(more).map(drop)
    }

    /// Ends the load: what both ends did.
    fn end(&mut self) -> Result<[Vec<Conn>; 2]> {
        self.churning.release()?;
        self.busy.release()?;
        let mut clients = self.churning.finish()?;
        clients.extend(self.busy.finish()?);
        let servers = self.server.wait_truth(clients.len())?;
        settle(&self.netns, EMPTY)?;
        Ok([clients, servers])
    }
}

impl Bounds {
    /// What `truth` makes of an agent that began at some time between `from_ns` and `until_ns`.
    fn of(truth: &[Conn], from_ns: u64, until_ns: u64) -> Self {
        let mut bounds = Self::default();
        for conn in truth {
            let established_ns = conn.established_ns.unwrap_or(conn.close_end_ns);
            // A server's connection is there before it is accepted, and what was sent may come after the end.
            let is_server = conn.role == Role::Server;
            let sure = |seen: bool| u64::from(seen && conn.close_begin_ns >= until_ns);
            let may = conn.close_end_ns >= from_ns;
            add(&mut bounds.closed, sure(true), u64::from(may));
            add(
                &mut bounds.opened,
                sure(!is_server && conn.begin_ns >= until_ns),
                u64::from(established_ns >= from_ns),
            );
            add(&mut bounds.older, sure(established_ns < from_ns), u64::from(may && conn.begin_ns < until_ns));
            let turns = conn.turns();
            let after = turns.iter().filter(|turn| turn.asked.begin_ns >= until_ns).count() as u64;
            let maybe = turns.iter().filter(|turn| turn.last.end_ns >= from_ns).count() as u64;
            add(&mut bounds.exchanges, after, maybe);
            let bytes = if is_server { 200 } else { 100 };
            // What was sent before may be acknowledged after.
            let unacknowledged = u64::from(may);
            add(&mut bounds.bytes_sent, bytes * after, bytes * (maybe + unacknowledged));
        }
        bounds
    }

    fn check(&self, edge: &Edge) -> Result<()> {
        let said = &edge.counts;
        let numbers = [
            ("closed", self.closed, said.closed),
            ("opened", self.opened, said.opened),
            ("open_at_start", self.older, said.open_at_start),
            ("exchanges", self.exchanges, said.exchanges.unwrap_or(0)),
            ("bytes_sent", self.bytes_sent, said.bytes_sent.unwrap_or(0)),
            ("opened and open_at_start", self.closed, said.opened + said.open_at_start),
            ("open", [0, 0], said.open),
        ];
        for (name, [least, most], said) in numbers {
            ensure!((least..=most).contains(&said), "{name} is from {least} to {most}, not {said}: {edge:#?}");
        }
        Ok(())
    }
}

fn add(bounds: &mut [u64; 2], least: u64, most: u64) {
    bounds[0] += least;
    bounds[1] += most;
}

/// The only edge of this namespace at that far end.
fn only(snapshot: &Snapshot, netns: u64, far: Far) -> Result<&Edge> {
    let is_it = |edge: &&Edge| match far {
        Far::Remote(remote) => edge.role() == Some(Role::Client) && edge.remote() == Some(remote),
        Far::LocalPort(port) => edge.role() == Some(Role::Server) && edge.local_port == Some(port),
    };
    let of_netns = snapshot.edges.iter().filter(|edge| edge.netns == Some(netns) && !edge.is_over());
    let of_netns: Vec<&Edge> = of_netns.collect();
    ensure!(of_netns.len() == 2, "an edge for each end, not {}: {of_netns:?}", of_netns.len());
    let edge = of_netns.into_iter().find(is_it).with_context(|| format!("no edge {far:?} in {netns}"))?;
    Ok(edge)
}

/// Fails where there is a line that no connection made, or a connection that made two, or one that was opened and older.
fn no_line_twice(trace: &Trace, truth: &[Conn]) -> Result<()> {
    let mut left: HashMap<(Role, SocketAddr, SocketAddr), u64> = HashMap::new();
    truth.iter().for_each(|conn| *left.entry((conn.role, conn.local, conn.remote)).or_default() += 1);
    for line in &trace.records {
        let role = if line.is(Role::Client) { Role::Client } else { Role::Server };
        let conn = left.get_mut(&(role, line.local.into(), line.remote.into())).filter(|left| **left > 0);
        *conn.with_context(|| format!("a line too many: {line:?}"))? -= 1;
    }
    let opened: HashSet<_> = trace.opened.iter().map(|line| &line.id).collect();
    let odd = trace.records.iter().find(|line| opened.contains(&line.id) == line.labelled(OLDER));
    ensure!(odd.is_none(), "what is older was not opened, and all else was: {odd:?}");
    ensure!(trace.records.iter().any(|line| line.labelled(OLDER)), "none was older than the agent");
    Ok(())
}

#[test]
fn in_the_middle_of_load() -> Result<()> {
    // On an emulated processor the load leaves the agent no time to begin.
    if !live() || slowdown() > 1 {
        return Ok(());
    }
    let mut loads = (0..3).map(|_| Load::start()).collect::<Result<Vec<_>>>()?;
    loads.iter_mut().try_for_each(Load::warm_up)?;
    let from_ns = monotonic_ns();
    let observer = Observer::start(&[])?;
    let tracers = loads.iter().map(|load| Agent::in_netns_with(&load.netns, &["--opens"]));
    let tracers = tracers.collect::<Result<Vec<_>>>()?;
    let until_ns = monotonic_ns();
    loads.iter_mut().try_for_each(Load::go_on)?;
    let done = loads.iter_mut().map(Load::end).collect::<Result<Vec<_>>>()?;
    let snapshot = observer.stop()?;
    let traces = tracers.into_iter().map(Agent::stop).collect::<Result<Vec<_>>>()?;
    for ((load, truths), trace) in loads.iter().zip(done).zip(&traces) {
        no_line_twice(trace, &truths.concat())?;
        let netns = load.netns.inode()?;
        let port = load.server.port();
        for truth in truths {
            let far = match truth.first().context("no connections")?.role {
                Role::Client => Far::Remote(SocketAddr::new(LOCALHOST, port)),
                Role::Server => Far::LocalPort(port),
            };
            let bounds = Bounds::of(&truth, from_ns, until_ns);
            println!("{far:?} in {netns}: {bounds:?}");
            ensure!(bounds.older[0] >= u64::from(BUSY), "the busy ones were there before: {bounds:?}");
            bounds.check(only(&snapshot, netns, far)?)?;
        }
    }
    Ok(())
}
