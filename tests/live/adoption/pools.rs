//! Pools that were there before: idle, busy, never accepted, half closed, handed on; in three namespaces at once.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    agent::Agent,
    check::ClosedBy,
    gate::live,
    ledger::{Far, Ledger, Name, View},
    netns::Netns,
    observer::Observer,
    peer::{Peer, Place},
    programs::{Programs, text},
    record::{Role, Trace},
    settle::{EMPTY, Standing, settle},
    traffic::spec::{Client, Repeat, Script, Server, Serving, Step},
};

use crate::{LOCALHOST, OLDER};

/// Exchanges before the agent begins.
const BEFORE: u32 = 3;

/// Exchanges after that.
const AFTER: u32 = 4;

/// Bytes of a request and an answer.
const BYTES: [usize; 2] = [100, 200];

/// What becomes of a pool's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// They stay idle, and stay.
    Idle,
    /// They are used again, and stay.
    Reused,
    /// They are used again, then the client closes.
    ClientCloses,
    /// They are used again, then the server closes.
    ServerCloses,
    /// The client closes without using them again.
    ClosedUnused,
    /// The client had sent FIN before; the server closes after.
    HalfClosed,
    /// The client had sent FIN before; they stay.
    StaysHalfClosed,
    /// They wait in the listener's queue, and stay.
    NotAccepted,
}

/// A pool of connections from one client process to one server process.
struct Pool {
    netns: usize,
    /// Which executables: the client's and the server's.
    programs: [usize; 2],
    connections: u32,
    fate: Fate,
    serving: Serving,
}

const fn pool(netns: usize, programs: [usize; 2], connections: u32, fate: Fate) -> Pool {
    let serving = if matches!(fate, Fate::NotAccepted) { Serving::Never } else { Serving::Threads };
    Pool { netns, programs, connections, fate, serving }
}

const POOLS: [Pool; 13] = [
    pool(0, [0, 1], 4, Fate::Idle),
    pool(0, [1, 0], 3, Fate::Reused),
    pool(0, [0, 1], 5, Fate::ClientCloses),
    pool(0, [1, 1], 2, Fate::NotAccepted),
    pool(1, [0, 1], 2, Fate::Idle),
    pool(1, [1, 0], 3, Fate::ServerCloses),
    pool(1, [0, 0], 2, Fate::ClosedUnused),
    pool(1, [0, 1], 4, Fate::HalfClosed),
    pool(2, [1, 0], 6, Fate::Reused),
    pool(2, [0, 1], 3, Fate::StaysHalfClosed),
    pool(2, [1, 1], 1, Fate::NotAccepted),
    // One process accepts, another has the connection.
    Pool { netns: 2, programs: [0, 1], connections: 1, fate: Fate::ClientCloses, serving: Serving::Pass },
    Pool { netns: 0, programs: [0, 1], connections: 3, fate: Fate::Reused, serving: Serving::Fork },
];

impl Fate {
    fn exchanges_after(self) -> u32 {
        match self {
            Self::Reused | Self::ClientCloses | Self::ServerCloses => AFTER,
            _ => 0,
        }
    }

    fn closed_by(self) -> Option<ClosedBy> {
        match self {
            Self::ClientCloses | Self::ClosedUnused | Self::HalfClosed => Some(ClosedBy::CLIENT),
            Self::ServerCloses => Some(ClosedBy::SERVER),
            Self::Idle | Self::Reused | Self::StaysHalfClosed | Self::NotAccepted => None,
        }
    }

    fn client(self) -> Script {
        let round = [Step::Send(BYTES[0]), Step::Recv(BYTES[1])];
        let script = Script::new(Repeat::Times(if self == Self::NotAccepted { 0 } else { BEFORE }), &round);
        let mut tail = Vec::new();
        if matches!(self, Self::HalfClosed | Self::StaysHalfClosed) {
            tail.push(Step::Shutdown);
        }
        tail.push(Step::Hold);
        (0..self.exchanges_after()).for_each(|_| tail.extend(round));
        match self {
            Self::ServerCloses | Self::HalfClosed => tail.push(Step::Eof),
            Self::ClientCloses | Self::ClosedUnused => {}
            Self::Idle | Self::Reused | Self::StaysHalfClosed | Self::NotAccepted => tail.push(Step::Hold),
        }
        script.tail(&tail)
    }

    fn server(self) -> Script {
        let round = [Step::Recv(BYTES[0]), Step::Send(BYTES[1])];
        match self {
            Self::ServerCloses => Script::new(Repeat::Times(BEFORE + AFTER), &round),
            Self::HalfClosed => Script::new(Repeat::Times(BEFORE), &round).tail(&[Step::Eof, Step::Hold]),
            Self::StaysHalfClosed => {
                Script::new(Repeat::Times(BEFORE), &round).tail(&[Step::Eof, Step::Hold, Step::Hold])
            }
            // The second answer is out when the server's process tells that it holds.
            Self::Reused => Script::new(Repeat::Times(BEFORE + AFTER), &round).tail(&[Step::Hold]),
            Self::Idle | Self::ClientCloses | Self::ClosedUnused | Self::NotAccepted => {
                Script::new(Repeat::UntilEof, &round)
            }
        }
    }
}

/// Both processes of a pool.
struct Running {
    pool: &'static Pool,
    client: Peer,
    server: Peer,
}

impl Running {
    /// Starts a pool and waits until its connections hold.
    fn start(pool: &'static Pool, netns: &[Netns], programs: &[PathBuf]) -> Result<Self> {
        let place = |end: usize| Place::new(&netns[pool.netns], &programs[pool.programs[end]]);
        let spec = Server::new(&[LOCALHOST], pool.fate.server()).serving(pool.serving);
        let server = Peer::server_at(place(1), &spec)?;
        let n = pool.connections;
        let spec = Client::new(server.listening(), n, pool.fate.client()).threads(n).linger();
        let mut client = Peer::client_at(place(0), &spec)?;
        client.go()?;
        client.wait_held(n as usize)?;
        let running = Self { pool, client, server };
        if matches!(pool.fate, Fate::HalfClosed | Fate::StaysHalfClosed) {
            running.server.wait_held(n as usize)?;
        }
        Ok(running)
    }

    /// Lets the connections go on to their fate, and waits for it.
    fn go_on(&mut self) -> Result<()> {
        let n = self.pool.connections as usize;
        match self.pool.fate {
            Fate::Idle | Fate::NotAccepted => Ok(()),
            Fate::StaysHalfClosed => {
                self.server.release()?;
                self.server.wait_held(2 * n)
            }
            Fate::Reused => {
                self.client.release()?;
                self.client.wait_held(2 * n)?;
                self.server.wait_held(n)
            }
            Fate::HalfClosed | Fate::ClientCloses | Fate::ServerCloses | Fate::ClosedUnused => {
                self.server.release()?;
                self.client.release()?;
                self.client.wait_done()?;
                self.server.wait_truth(n).map(drop)
            }
        }
    }

    /// Enters what the edges of the pool had to become.
    fn enter(&mut self, ledger: &mut Ledger, netns: u64, programs: &[PathBuf]) -> Result<()> {
        let Pool { connections, fate, serving, .. } = *self.pool;
        let n = u64::from(connections);
        let port = self.server.port();
        let exe = |end: usize| text(&programs[self.pool.programs[end]]);
        let server_exe = (fate != Fate::NotAccepted).then(|| exe(1));
        let server_pids = match serving {
            Serving::Threads => Some([self.server.pid()].into()),
            Serving::Pass => Some(self.server.truth()?.iter().map(|conn| conn.pid).collect()),
            Serving::Never => Some([].into()),
            _ => None,
        };
        let ends = [
            (
                Role::Client,
                Some(exe(0)),
                Far::Remote(SocketAddr::new(LOCALHOST, port)),
                Some([self.client.pid()].into()),
            ),
            (Role::Server, server_exe, Far::LocalPort(port), server_pids),
        ];
        let exchanges = u64::from(fate.exchanges_after());
        for (role, exe, far, pids) in ends {
            let edge = ledger.edge(Name { exe, netns, far });
            edge.older += n;
            edge.exchanges += n * exchanges;
            edge.pids = pids;
            edge.story.push(format!("{n} {fate:?} by {serving:?}"));
            let [out, into] = if role == Role::Client { BYTES } else { [BYTES[1], BYTES[0]] };
            match fate.closed_by() {
                None => edge.open += n,
                Some(by) => {
                    // One that was not used again is not unused: what it did before was not seen.
                    edge.add_closed(n, 1, by.of(role), [exchanges * out as u64, exchanges * into as u64]);
                }
            }
        }
        Ok(())
    }

    /// The sockets that are left in the end.
    fn leave(&self, standing: &mut Standing) {
        let n = self.pool.connections as usize;
        match self.pool.fate {
            Fate::Idle | Fate::Reused | Fate::NotAccepted => standing.established += 2 * n,
            Fate::StaysHalfClosed => {
                standing.fin_wait2 += n;
                standing.close_wait += n;
            }
            Fate::ClientCloses | Fate::ServerCloses | Fate::ClosedUnused | Fate::HalfClosed => {}
        }
    }
}

/// Each line of an older connection is there once, with its label, its end and its owner, and none tells of opening.
fn check_lines(running: &[Running], trace: &Trace, netns: usize) -> Result<()> {
    ensure!(trace.opened.is_empty(), "none was opened: {:#?}", trace.opened);
    let mut wanted: BTreeMap<(Role, u16), (u64, &'static str, u32)> = BTreeMap::new();
    for Running { pool, client, server } in running.iter().filter(|running| running.pool.netns == netns) {
        let Some(by) = pool.fate.closed_by() else { continue };
        let n = u64::from(pool.connections);
        wanted.insert((Role::Client, server.port()), (n, by.client, client.pid()));
        let pid = if pool.serving == Serving::Threads { server.pid() } else { 0 };
        wanted.insert((Role::Server, server.port()), (n, by.server, pid));
    }
    let about = || format!("wanted {wanted:?}\nlines {:#?}", trace.records);
    let mut lines = trace.records.iter();
    for (&(role, port), &(n, by, pid)) in &wanted {
        let port_of =
            |r: &redial_tests::record::Record| if role == Role::Client { r.remote.port } else { r.local.port };
        let mine: Vec<_> = trace.records.iter().filter(|r| r.is(role) && port_of(r) == port).collect();
        ensure!(mine.len() as u64 == n, "{n} lines of {role:?} {port}: {}", about());
        for line in mine {
            ensure!(line.labelled(OLDER), "the label {OLDER}: {line:?}");
            ensure!(line.event == "closed" && line.closed_by.as_deref() == Some(by), "closed_by is {by}: {line:?}");
            ensure!(pid == 0 || line.pid == Some(pid), "the owner is {pid}: {line:?}");
            ensure!(line.connect_s.is_none() && line.lifetime_s.is_none(), "its beginning was not seen: {line:?}");
        }
    }
    let all: u64 = wanted.values().map(|(n, ..)| n).sum();
    ensure!(trace.records.len() as u64 == all, "{all} lines: {}", about());
    ensure!(lines.all(|line| line.end.is_some()), "each has an end: {}", about());
    Ok(())
}

#[test]
fn pools_are_there() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let folder = Programs::new()?;
    let programs = folder.all(["pooled-a", "pooled-b"])?;
    let netns = (0..3).map(|_| Netns::new()).collect::<Result<Vec<_>>>()?;
    let inodes = netns.iter().map(Netns::inode).collect::<Result<Vec<_>>>()?;
    let start = |pool| Running::start(pool, &netns, &programs);
    let mut running = POOLS.iter().map(start).collect::<Result<Vec<_>>>()?;

    let observer = Observer::start(&[])?;
    let tracers = netns.iter().map(|netns| Agent::in_netns_with(netns, &["--opens"])).collect::<Result<Vec<_>>>()?;
    running.iter_mut().try_for_each(|pool| pool.go_on().with_context(|| format!("{:?}", pool.pool.fate)))?;
    for (i, netns) in netns.iter().enumerate() {
        let mut standing = EMPTY;
        running.iter().filter(|pool| pool.pool.netns == i).for_each(|pool| pool.leave(&mut standing));
        settle(netns, standing)?;
    }
    let snapshot = observer.stop()?;
    let traces = tracers.into_iter().map(Agent::stop).collect::<Result<Vec<_>>>()?;

    let mut ledger = Ledger::default();
    for pool in &mut running {
        pool.enter(&mut ledger, inodes[pool.pool.netns], &programs)?;
    }
    ledger.compare(&snapshot, &inodes, View { role: None, is_folded: true, unread: 0 })?;
    for (i, trace) in traces.iter().enumerate() {
        check_lines(&running, trace, i)?;
    }
    Ok(())
}
