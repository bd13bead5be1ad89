//! Connections of which one end is left in TIME_WAIT, and whose those sockets are by what the generator wrote down.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    kernel::{self, Ends},
    ledger::Far,
    netns::Netns,
    peer::{Peer, Place},
    programs::text,
    record::Role,
    snapshot::{Edge, Snapshot},
    traffic::{
        spec::{Client, Repeat, Script, Server, Step},
        truth::Conn,
    },
};

/// Which end closes first, and is left in TIME_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Server,
}

/// What sockets in TIME_WAIT are told apart by: whose they are, namespace, far end.
pub type Key = (String, u64, Far);

/// Sockets in TIME_WAIT.
pub type Held = BTreeMap<Key, u64>;

/// The kind of an edge that nobody is known to own.
pub const UNKNOWN: &str = "unknown";

/// A namespace where no port in TIME_WAIT is used again, so that each socket stays for its 60 s.
pub fn netns() -> Result<Netns> {
    let netns = Netns::new()?;
    netns.sysctl("ipv4/tcp_tw_reuse", "0")?;
    Ok(netns)
}

/// A server whose connections end as `first` says.
pub fn serve(netns: &Netns, program: &Path, address: IpAddr, first: First) -> Result<Peer> {
    let script = match first {
        First::Client => Script::answers(),
        First::Server => Script::new(Repeat::Times(1), &[Step::Recv(100), Step::Send(200)]),
    };
    Peer::server_at(Place::new(netns, program), &Server::new(&[address], script))
}

/// What a client of such a server does.
pub fn asks(first: First) -> Script {
    let script = Script::asks(1);
    if first == First::Server { script.tail(&[Step::Eof]) } else { script }
}

/// Who left which sockets.
#[derive(Debug, Default)]
pub struct Owners(HashMap<(u64, Ends), (String, Role)>);

impl Owners {
    /// Has a client make `n` connections one after the other, and notes who closed each first; to be told apart as `who`.
    pub fn load(
        &mut self,
        place: (&Netns, &Path),
        server: &mut Peer,
        n: u32,
        first: First,
        who: Option<&str>,
    ) -> Result<()> {
        let (netns, program) = place;
        let spec = Client::new(server.listening(), n, asks(first));
        let served = server.truth()?.len();
        let truth = Peer::client_at(Place::new(netns, program), &spec)?.run()?;
        ensure!(truth.iter().all(|conn| conn.error.is_none()), "the generator itself failed: {truth:?}");
        match first {
            First::Client => self.note(netns, who.unwrap_or(&text(program)), &truth),
            First::Server => {
                let truth = server.wait_truth(served + n as usize)?;
                let exe = std::fs::read_link(format!("/proc/{}/exe", server.pid())).context("find a server's file")?;
                self.note(netns, who.unwrap_or(&text(&exe)), &truth[served..])
            }
        }
    }

    /// Notes that `who` left these.
    pub fn note(&mut self, netns: &Netns, who: &str, truth: &[Conn]) -> Result<()> {
        let inode = netns.inode()?;
        let sockets = truth.iter().map(|conn| ((inode, (conn.local, conn.remote)), (who.to_owned(), conn.role)));
        self.0.extend(sockets);
        Ok(())
    }

    /// Whose `sockets` of `netns` are, of those that `is_wanted`. Fails where a socket is nobody's.
    pub fn held(&self, netns: &Netns, sockets: &[Ends], is_wanted: impl Fn(&str, Role, Ends) -> bool) -> Result<Held> {
        let inode = netns.inode()?;
        let mut held = Held::new();
        for &(local, remote) in sockets {
            let found = self.0.get(&(inode, (local, remote)));
            let (who, role) = found.with_context(|| format!("nobody left {local} {remote} in TIME_WAIT"))?;
            if is_wanted(who, *role, (local, remote)) {
                *held.entry((who.clone(), inode, far(*role, local, remote))).or_default() += 1;
            }
        }
        Ok(held)
    }
}

fn far(role: Role, local: SocketAddr, remote: SocketAddr) -> Far {
    match role {
        Role::Client => Far::Remote(remote),
        Role::Server => Far::LocalPort(local.port()),
    }
}

/// The sockets of `netns` in TIME_WAIT as ss shows them. Fails where /proc/net/tcp does not show the same.
pub fn sockets(netns: &Netns) -> Result<Vec<Ends>> {
    let mut sockets = kernel::time_wait(netns)?;
    sockets.sort_unstable();
    if let Some(mut by_ss) = kernel::time_wait_by_ss(netns)? {
        by_ss.sort_unstable();
        ensure!(sockets == by_ss, "/proc/net/tcp shows {} sockets in TIME_WAIT, ss {}", sockets.len(), by_ss.len());
    }
    Ok(sockets)
}

/// What the edges of these namespaces say that they hold.
pub fn said(snapshot: &Snapshot, netns: &[u64]) -> Result<Held> {
    let mut held = Held::new();
    for edge in &snapshot.edges {
        let Some(inode) = edge.netns.filter(|inode| netns.contains(inode)) else { continue };
        let count = edge.counts.time_wait.with_context(|| format!("not counted: {edge:?}"))?;
        if count > 0 {
            *held.entry((who(edge), inode, far_of(edge)?)).or_default() += count;
        }
    }
    Ok(held)
}

/// The executable, or the kind of an edge without one.
pub fn who(edge: &Edge) -> String {
    edge.process.exe.clone().unwrap_or_else(|| edge.process.kind.clone())
}

/// The far end of an edge.
pub fn far_of(edge: &Edge) -> Result<Far> {
    let remote = edge.remote().map(Far::Remote);
    remote.or(edge.local_port.map(Far::LocalPort)).with_context(|| format!("no far end: {edge:?}"))
}
