//! What edges had to become, by a plain count of what was done, compared with what the agent says of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Result, bail};

use crate::{
    record::Role,
    snapshot::{Edge, Snapshot},
};

/// How many differences a message shows.
const SHOWN: usize = 12;

/// The far end of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Far {
    /// A client's remote.
    Remote(SocketAddr),
    /// A server's own port.
    LocalPort(u16),
}

/// What makes an edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The executable's path; none where nobody has accepted.
    pub exe: Option<String>,
    /// Inode number of the network namespace.
    pub netns: u64,
    /// The far end.
    pub far: Far,
}

/// What one edge had to become.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Connections that were there when the agent began.
    pub older: u64,
    /// Connections that were established since.
    pub opened: u64,
    /// Connections that are there at the end.
    pub open: u64,
    /// Attempts that are under way at the end.
    pub connecting: u64,
    /// Ends by who closed.
    pub closed_by: BTreeMap<&'static str, u64>,
    /// Failures by cause.
    pub failed_by: BTreeMap<&'static str, u64>,
    /// Connections that closed without an exchange.
    pub unused: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Those that were the first of their connection, which the agent has seen from its beginning.
    pub first_exchanges: u64,
    /// Payload sent on connections that ended.
    pub bytes_sent: u64,
    /// Payload received on them.
    pub bytes_received: u64,
    /// The processes; none where that is left open.
    pub pids: Option<BTreeSet<u32>>,
    /// A server's connections by peer; none where that is left open.
    pub peers: Option<BTreeMap<IpAddr, u64>>,
    /// How this came about, for messages.
    pub story: Vec<String>,
}

impl Wanted {
    /// Adds `n` connections that were opened and carried so many exchanges each.
    pub fn add_opened(&mut self, n: u64, exchanges: u64) {
        self.opened += n;
        self.exchanges += n * exchanges;
        self.first_exchanges += if exchanges > 0 { n } else { 0 };
    }

    /// Says that `n` connections with so many exchanges each ended by `word`, with so many bytes each sent and received.
    pub fn add_closed(&mut self, n: u64, exchanges: u64, word: &'static str, [sent, received]: [u64; 2]) {
        *self.closed_by.entry(word).or_default() += n;
        self.unused += if exchanges > 0 { 0 } else { n };
        self.bytes_sent += n * sent;
        self.bytes_received += n * received;
    }

    fn closed(&self) -> u64 {
        self.closed_by.values().sum()
    }

    fn failed(&self) -> u64 {
        self.failed_by.values().sum()
    }

    /// Connections of which any exchange was seen.
    fn watched(&self) -> u64 {
        self.older + self.opened
    }
}

/// All edges that there had to be.
#[derive(Clone, Debug, Default)]
pub struct Ledger(BTreeMap<Name, Wanted>);

/// What of a ledger an agent had to see.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// One role only.
    pub role: Option<Role>,
    /// The kernel told totals only: peers are not known.
    pub is_folded: bool,
    /// Bytes that may be missing at an edge: of connections whose end the kernel did not tell, so that their bytes could
    /// not be read. Never may there be more than there were.
    pub unread: u64,
}

impl Ledger {
    /// The edge called `name`, to be added to.
    pub fn edge(&mut self, name: Name) -> &mut Wanted {
        self.0.entry(name).or_default()
    }

    /// The edges.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Wanted)> {
        self.0.iter()
    }

    /// Fails unless the agent says of each edge of these namespaces just what it had to become, and of no other.
    pub fn compare(&self, snapshot: &Snapshot, netns: &[u64], view: View) -> Result<()> {
        let mut differences = Vec::new();
        let is_seen = |role: Option<Role>| view.role.is_none() || view.role == role;
        let mut missing: BTreeMap<&Name, &Wanted> =
            self.0.iter().filter(|(name, _)| is_seen(Some(name.role()))).collect();
        let is_ours = |edge: &&Edge| edge.netns.is_some_and(|n| netns.contains(&n));
        // Whose TIME-WAIT is may be unknown where single records or ends were not told.
        let is_vague = |edge: &&Edge| edge.is_over() && (view.is_folded || snapshot.repaired > 0);
        for edge in snapshot.edges.iter().filter(is_ours).filter(|edge| !is_vague(edge)) {
            match Name::of(edge).and_then(|name| missing.remove_entry(&name)) {
                Some((name, wanted)) => {
                    let lines = wanted.differences(edge, view);
                    if !lines.is_empty() {
                        differences.push(format!("{name:?}: {}\n  story: {:#?}", lines.join("; "), wanted.story));
                    }
                }
                None => differences.push(format!("an edge that had not to be: {edge:?}")),
            }
        }
        differences.extend(missing.iter().map(|(name, wanted)| format!("no edge {name:?}, wanted {wanted:?}")));
        if differences.is_empty() {
            return Ok(());
        }
        let count = differences.len();
        differences.truncate(SHOWN);
        bail!("{count} edges differ as seen by {view:?}; losses {:?}\n{}", snapshot.losses, differences.join("\n"))
    }
}

impl Name {
    /// Which end an edge of this name is.
    pub fn role(&self) -> Role {
        match self.far {
            Far::Remote(_) => Role::Client,
            Far::LocalPort(_) => Role::Server,
        }
    }

    /// The name of an edge that the agent tells; none where it is no whole name.
    fn of(edge: &Edge) -> Option<Self> {
        let far = match edge.role()? {
            Role::Client => Far::Remote(edge.remote()?),
            Role::Server => Far::LocalPort(edge.local_port?),
        };
        let named = || (edge.process.kind == "program").then(|| format!("named {:?}", edge.process.comm));
        Some(Self { exe: edge.process.exe.clone().or_else(named), netns: edge.netns?, far })
    }
}

impl Wanted {
    fn differences(&self, edge: &Edge, view: View) -> Vec<String> {
        let said = &edge.counts;
        let mut differ = Differences::default();
        differ.note("open_at_start", self.older, said.open_at_start);
        differ.note("opened", self.opened, said.opened);
        differ.note("closed", self.closed(), said.closed);
        differ.note("open", self.open, said.open);
        differ.note("failed", self.failed(), said.failed);
        differ.note("attempts", self.opened + self.failed() + self.connecting, said.attempts);
        differ.note("closed_by", &counted(&self.closed_by), &counted(&said.closed_by));
        differ.note("failed_by", &counted(&self.failed_by), &counted(&said.failed_by));
        let watched = |count| (self.watched() > 0).then_some(count);
        differ.note("unused", watched(self.unused), said.unused);
        differ.note("exchanges", watched(self.exchanges), said.exchanges);
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let digits = |ratio: Option<f64>| ratio.map(|ratio| format!("{ratio:.9}"));
        let per_connection = ratio(self.exchanges, self.watched());
        differ.note("exchanges_per_connection", digits(per_connection), digits(said.exchanges_per_connection));
        let reused = self.exchanges.saturating_sub(self.first_exchanges);
        differ.note("reuse_ratio", digits(ratio(reused, self.exchanges)), digits(said.reuse_ratio));
        // Without an end there is nothing read, so nothing known.
        let measured = |said: Option<u64>| if self.closed() > 0 { said } else { said.or(Some(0)) };
        let bytes = [
            ("bytes_sent", self.bytes_sent, measured(said.bytes_sent)),
            ("bytes_received", self.bytes_received, measured(said.bytes_received)),
        ];
        for (what, wanted, said) in bytes {
            let is_near = said.is_some_and(|said| said <= wanted && wanted - said <= view.unread);
            if !is_near {
                differ.note(what, Some(wanted), said);
            }
        }
        if let Some(pids) = &self.pids {
            let count = Some(pids.len() as u64).filter(|&count| count > 0);
            differ.note("pids", count, edge.process.pids);
            differ.note("pid", pids.first().copied().filter(|_| pids.len() == 1), edge.process.pid);
        }
        if let (Some(peers), false) = (&self.peers, view.is_folded) {
            let told = edge.peers.iter().flatten().map(|peer| (peer.addr, peer.connections)).collect();
            differ.note("peers", peers, &told);
        }
        differ.0
    }
}

/// Words with a count that is not 0.
fn counted<K: AsRef<str>>(by: &BTreeMap<K, u64>) -> BTreeMap<&str, u64> {
    by.iter().filter(|(_, count)| **count > 0).map(|(word, count)| (word.as_ref(), *count)).collect()
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn note<T: PartialEq + Debug>(&mut self, what: &str, wanted: T, said: T) {
        if wanted != said {
            self.0.push(format!("{what} is {wanted:?}, not {said:?}"));
        }
    }
}
