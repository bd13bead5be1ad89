//! Runs many mixes at the same time under several agents, and compares what each agent says with the model.

use std::{
    iter,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use redial_tests::{
    ledger::{Far, Ledger, Name, View},
    netns::Netns,
    observer::Observer,
    peer::{Peer, Place},
    programs::{Programs, text},
    record::Role,
    settle::{EMPTY, settle},
    traffic::{
        spec::{Client, Connect, Script, Server},
        truth::Conn,
    },
};
use socket2::{Domain, Socket, Type};

use super::{
    draw::PROGRAMS,
    model::{self, Ids},
    plan::{ClientPlan, Ending, Fault, FaultPlan, Mix},
};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An address that no route of a test's namespace leads to.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// A way to look: the agent's arguments, and what it sees then.
pub type Look<'a> = (&'a [&'a str], View);

/// Every look that has room for single records.
pub const LOOKS: &[Look<'_>] = &[
    (&[], View { role: None, is_folded: false, unread: 0 }),
    (&["--role", "client"], View { role: Some(Role::Client), is_folded: false, unread: 0 }),
    (&["--role", "server"], View { role: Some(Role::Server), is_folded: false, unread: 0 }),
];

/// The look that has none.
pub const SMALL: &[Look<'_>] = &[(&["--ring-bytes", "4096"], View { role: None, is_folded: true, unread: 0 })];

/// A mix under way.
struct Running<'a> {
    mix: &'a Mix,
    server: Peer,
    clients: Vec<Option<Peer>>,
    fault: Option<Peer>,
    /// Bound and not listening.
    refusing: Option<Socket>,
}

/// Executables for clients and servers.
struct Executables {
    _folder: Programs,
    servers: Vec<PathBuf>,
    clients: Vec<PathBuf>,
}

impl Executables {
    fn new() -> Result<Self> {
        let folder = Programs::new()?;
        let all = |what: &str| (0..PROGRAMS).map(|i| folder.named(&format!("{what}-{i}"))).collect::<Result<_>>();
        Ok(Self { servers: all("server")?, clients: all("client")?, _folder: folder })
    }

    fn names(&self) -> model::Programs {
        let texts = |paths: &[PathBuf]| paths.iter().map(|path| text(path)).collect();
        model::Programs { servers: texts(&self.servers), clients: texts(&self.clients) }
    }
}

/// A listener whose queue is full: SYNs are dropped.
struct Full {
    address: SocketAddr,
    _listener: Socket,
    _filler: TcpStream,
}

impl Full {
    fn new(netns: &Netns) -> Result<Self> {
        netns.run(|| {
            let listener = bound()?;
            // The kernel takes one more than it is told.
            listener.listen(0).context("listen")?;
            let address = address(&listener)?;
            Ok(Self { address, _filler: TcpStream::connect(address).context("fill the queue")?, _listener: listener })
        })
    }

    /// The connection in the queue, which nobody has accepted.
    fn enter(&self, ledger: &mut Ledger, netns: u64) -> Result<()> {
        let own = text(&std::env::current_exe()?);
        for (exe, far) in [(Some(own), Far::Remote(self.address)), (None, Far::LocalPort(self.address.port()))] {
            let edge = ledger.edge(Name { exe, netns, far });
            edge.add_opened(1, 0);
            edge.open += 1;
        }
        Ok(())
    }
}

fn bound() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("make a socket")?;
    socket.bind(&SocketAddr::new(LOCALHOST, 0).into()).context("bind")?;
    Ok(socket)
}

fn address(socket: &Socket) -> Result<SocketAddr> {
    socket.local_addr()?.as_socket().context("an IP socket")
}

/// Runs `mixes` at the same time and compares what is seen by each of `looks`.
pub fn run(mixes: &[Mix], looks: &[Look<'_>], rng: &mut Rng) -> Result<()> {
    let netns = Netns::new()?;
    let executables = Executables::new()?;
    let start = |mix| Running::start(mix, &netns, &executables);
    let mut running = mixes.iter().map(start).collect::<Result<Vec<_>>>()?;
    let observers = looks.iter().map(|(arguments, _)| Observer::in_netns(&netns, arguments));
    let observers = observers.collect::<Result<Vec<_>>>()?;
    let full = Full::new(&netns)?;
    running.iter_mut().try_for_each(|mix| mix.start_late(&netns, &executables, &full))?;

    let mut waiting: Vec<&mut Peer> = running.iter_mut().flat_map(Running::peers).collect();
    rng.shuffle(&mut waiting);
    waiting.into_iter().try_for_each(Peer::go)?;
    let mut ledger = Ledger::default();
    let mut standing = EMPTY;
    standing.established = 2;
    let inode = netns.inode()?;
    full.enter(&mut ledger, inode)?;
    for running in &mut running {
        let ids = running.finish(inode, &full)?;
        model::enter(&mut ledger, running.mix, &ids, &executables.names());
        model::leave(&mut standing, running.mix);
    }
    settle(&netns, standing)?;

    // All of them before the first is judged: the rest must not see how this ends.
    let snapshots = observers.into_iter().map(Observer::stop).collect::<Result<Vec<_>>>()?;
    for (snapshot, (_, view)) in snapshots.iter().zip(looks) {
        ledger.compare(snapshot, &[inode], *view)?;
        if view.is_folded {
            ensure!(snapshot.folded > 0, "the ring never filled");
        } else {
            ensure!(snapshot.lost().is_empty(), "nothing may be lost here: {:?}", snapshot.losses);
        }
    }
    Ok(())
}

impl<'a> Running<'a> {
    fn start(mix: &'a Mix, netns: &Netns, executables: &Executables) -> Result<Self> {
        let plan = &mix.server;
        let spec = Server::new(&[plan.listen.address()], plan.script()).serving(plan.serving);
        let server = Peer::server_at(Place::new(netns, &executables.servers[plan.program]), &spec)?;
        let mut running = Self { mix, server, clients: Vec::new(), fault: None, refusing: None };
        for client in &mix.clients {
            let early = client.is_early.then(|| running.client(client, netns, executables));
            running.clients.push(early.transpose()?);
        }
        Ok(running)
    }

    fn start_late(&mut self, netns: &Netns, executables: &Executables, full: &Full) -> Result<()> {
        for i in 0..self.clients.len() {
            if self.clients[i].is_none() {
                self.clients[i] = Some(self.client(&self.mix.clients[i], netns, executables)?);
            }
        }
        if let Some(plan) = self.mix.fault {
            if plan.fault == Fault::Refused {
                self.refusing = Some(netns.run(bound)?);
            }
            let spec = fault_spec(plan, self.faulty(full)?);
            self.fault = Some(Peer::client_at(Place::new(netns, &executables.clients[plan.program]), &spec)?);
        }
        Ok(())
    }

    fn client(&self, plan: &ClientPlan, netns: &Netns, executables: &Executables) -> Result<Peer> {
        let port = self.server.port();
        let targets: Vec<SocketAddr> = plan.targets.iter().map(|&ip| SocketAddr::new(ip, port)).collect();
        let sources: Vec<IpAddr> = plan.sources.iter().map(|&ip| ip.into()).collect();
        let script = plan.script(&self.mix.server);
        let spec = Client::new(&targets, plan.connections, script).threads(plan.threads).from(&sources).linger();
        Peer::client_at(Place::new(netns, &executables.clients[plan.program]), &spec)
    }

    /// Where attempts fail.
    fn faulty(&self, full: &Full) -> Result<SocketAddr> {
        match (&self.refusing, self.mix.fault.map(|plan| plan.fault)) {
            (Some(refusing), _) => address(refusing),
            (None, Some(Fault::Unreachable)) => Ok(NOWHERE),
            (None, _) => Ok(full.address),
        }
    }

    fn peers(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.clients.iter_mut().chain(iter::once(&mut self.fault)).flatten()
    }

    /// Waits until the mix has come to its end or holds, and checks that the generator did what it should.
    fn finish(&mut self, netns: u64, full: &Full) -> Result<Ids> {
        let mix = self.mix;
        let about = || format!("the generator itself failed in {mix:?}");
        let ending = mix.server.ending;
        let mut connections = 0;
        let mut clients = Vec::new();
        for (plan, client) in mix.clients.iter().zip(&mut self.clients) {
            let client = client.as_mut().context("a client did not start")?;
            let n = plan.connections as usize;
            connections += n;
            clients.push(client.pid());
            let truth = match ending {
                Ending::Held | Ending::HeldHalfClosed => {
                    client.wait_held(n).with_context(about)?;
                    continue;
                }
                Ending::ClientExits => client.finish().with_context(about)?,
                _ => {
                    client.wait_done().with_context(about)?;
                    client.truth()?
                }
            };
            check(mix, plan, &truth).with_context(about)?;
        }
        let mut served = Vec::new();
        if ending.is_held() {
            self.server.wait_held(connections).with_context(about)?;
        } else {
            served = self.server.wait_truth(connections).with_context(about)?;
        }
        let mut fault = None;
        if let (Some(plan), Some(peer)) = (mix.fault, &self.fault) {
            if plan.fault != Fault::Connecting {
                peer.wait_done().with_context(about)?;
            }
            fault = Some((peer.pid(), self.faulty(full)?));
        }
        let served = served.iter().map(|conn| conn.pid).collect();
        Ok(Ids { netns, port: self.server.port(), server: self.server.pid(), served, clients, fault })
    }
}

/// Fails unless a client did what its plan says.
fn check(mix: &Mix, plan: &ClientPlan, truth: &[Conn]) -> Result<()> {
    ensure!(truth.len() == plan.connections as usize, "{} connections", truth.len());
    let error = (mix.server.ending == Ending::ServerResets).then_some("ECONNRESET");
    for conn in truth {
        ensure!(conn.error.as_deref() == error, "the error is not {error:?}: {conn:?}");
        let exchanges = model::exchanges(&mix.server, plan);
        ensure!(conn.exchanges() == exchanges, "{exchanges} exchanges: {conn:?}");
        ensure!(conn.bytes_sent() == model::asked(&mix.server, plan), "other bytes: {conn:?}");
    }
    Ok(())
}

fn fault_spec(plan: FaultPlan, target: SocketAddr) -> Client {
    let connect = match plan.fault {
        Fault::Refused | Fault::Unreachable => Connect::Blocking,
        Fault::Cancelled => Connect::CancelAfter(2),
        Fault::Connecting => Connect::Nonblocking,
    };
    let threads = if plan.fault == Fault::Connecting { plan.attempts } else { 1 };
    Client::new(&[target], plan.attempts, Script::asks(1)).connect(connect).threads(threads).linger()
}
