//! The host's tables at the end of a watch, joined with what was watched.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::filter::Filter;
use crate::{
    enrich::role::Role,
    host::{
        descriptors::Descriptors,
        namespace_reading::{NamespaceReading, TimeWait},
        reading::{Limits, Reading},
    },
    snapshot::host::{HostTables, ProcessDescriptors},
    state::{
        State,
        key::{EdgeKey, Place},
        time_wait::EdgeHash,
    },
};

/// How many sockets in TIME-WAIT are told apart, at 88 bytes each: as many as the kernel holds at most on hosts of usual
/// size (`tcp_max_tw_buckets`). Those over it belong to nobody.
const MAX_SOCKETS: usize = 262_144;

const NO_PROC: &str = "cannot list the processes in /proc: is it mounted?";

/// How many processes are asked for their descriptors.
const MAX_PROCESSES: usize = 1_024;

/// The tables at one time, and what is in TIME-WAIT then.
pub struct Tables {
    reading: Reading,
    sockets: Vec<TimeWait>,
    /// Those over [`MAX_SOCKETS`], by namespace.
    more: HashMap<u32, u64>,
}

/// Reads the tables, without what is in TIME-WAIT; says why when that fails, and goes without.
pub fn read() -> Option<Reading> {
    said(Reading::read(&Limits::default(), &mut |_| {}).context(NO_PROC))
}

/// What was read; says why when it was not.
fn said<T>(result: Result<T>) -> Option<T> {
    result.inspect_err(|error| eprintln!("redial: the host's tables are missing: {error:#}")).ok()
}

impl Tables {
    /// Reads the tables; says why when that fails, and goes without.
    pub fn read() -> Option<Self> {
        let (mut sockets, mut more) = (Vec::new(), HashMap::new());
        let mut time_wait = |socket: &TimeWait| {
            if sockets.len() < MAX_SOCKETS {
                sockets.push(*socket);
            } else {
                *more.entry(socket.netns).or_insert(0) += 1;
            }
        };
        let reading = said(Reading::read(&Limits::default(), &mut time_wait).context(NO_PROC))?;
        Some(Self { reading, sockets, more })
    }

    /// Joins them with the edges. What is in TIME-WAIT belongs to the edges of `ended` that left it; what nobody is known
    /// to have left goes to edges of `live`, as far as `filter` wants it.
    pub fn join<'a>(
        &'a self,
        first: Option<&'a Reading>,
        ended: &State,
        live: &mut State,
        filter: &Filter,
    ) -> HostTables<'a> {
        let mut time_wait: HashMap<EdgeHash, (Role, u64)> = HashMap::new();
        let mut unowned = Vec::new();
        for socket in &self.sockets {
            match ended.edge_of_time_wait(socket.netns, socket.local, socket.remote) {
                Some((edge, role)) => time_wait.entry(edge).or_insert((role, 0)).1 += 1,
                None => unowned.push(socket),
            }
        }
        let sides = Sides::of(&self.reading, &unowned);
        for socket in unowned {
            let (role, place) = sides.of_socket(socket);
            if filter.allows_unowned(socket.netns, role, place, socket.remote.ip()) {
                let edge = ended.hash(&live.unowned(socket.netns, role, place));
                time_wait.entry(edge).or_insert((role, 0)).1 += 1;
            }
        }
        for (&netns, &count) in self.more.iter().filter(|_| filter.allows_all()) {
            let edge = ended.hash(&live.unowned(netns, Role::Unknown, Place::Any));
            time_wait.entry(edge).or_insert((Role::Unknown, 0)).1 += count;
        }
        HostTables {
            first,
            last: &self.reading,
            netns: filter.netns(),
            time_wait,
            descriptors: descriptors(ended, live),
        }
    }
}

/// What tells which side sockets without owner were on.
struct Sides {
    listening: HashSet<(u32, SocketAddr)>,
    /// How many of them share a local port.
    local: HashMap<(u32, u16), u32>,
    /// How many share a remote.
    remote: HashMap<(u32, SocketAddr), u32>,
}

impl Sides {
    fn of(reading: &Reading, sockets: &[&TimeWait]) -> Self {
        let listeners = |one: &NamespaceReading| {
            let netns = one.netns;
            one.listeners.list().iter().map(move |listener| (netns, listener.address)).collect::<Vec<_>>()
        };
        let (mut local, mut remote) = (HashMap::new(), HashMap::new());
        for socket in sockets {
            *local.entry((socket.netns, socket.local.port())).or_insert(0) += 1;
            *remote.entry((socket.netns, socket.remote)).or_insert(0) += 1;
        }
        Self { listening: reading.namespaces.iter().flat_map(listeners).collect(), local, remote }
    }

    /// A server's, if somebody listens at its address and port, or more sockets share that port than share the remote.
    fn of_socket(&self, socket: &TimeWait) -> (Role, Place) {
        let port = socket.local.port();
        let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        let mut addresses = any.into_iter().chain([socket.local.ip()]).map(|ip| SocketAddr::new(ip, port));
        let is_listening = addresses.any(|address| self.listening.contains(&(socket.netns, address)));
        if is_listening || self.local.get(&(socket.netns, port)) > self.remote.get(&(socket.netns, socket.remote)) {
            (Role::Server, Place::LocalPort(port))
        } else {
            (Role::Client, Place::Remote(socket.remote.ip(), socket.remote.port()))
        }
    }
}

fn descriptors(ended: &State, live: &State) -> Vec<ProcessDescriptors> {
    let edges = live.edges().chain(ended.edges()).filter(|(key, _): &(&EdgeKey, _)| !key.is_other);
    let mut pids = BTreeSet::new();
    for pid in edges.flat_map(|(_, edge)| edge.pids.latest()) {
        if pids.len() >= MAX_PROCESSES {
            break;
        }
        pids.insert(*pid);
    }
    let proc = Path::new("/proc");
    let of = |pid: u32| {
        let Descriptors { open, limit } = Descriptors::read(proc, pid)?;
        let comm = fs::read_to_string(proc.join(pid.to_string()).join("comm")).ok();
        Some(ProcessDescriptors { pid, comm: comm.map(|comm| comm.trim_end_matches('\n').to_owned()), open, limit })
    };
    pids.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_port_that_is_listened_at_or_shared_is_a_servers() {
        let socket = |local: u16, remote: u16| TimeWait {
            netns: 1,
            local: SocketAddr::from(([10, 0, 0, 1], local)),
            remote: SocketAddr::from(([10, 0, 0, 2], remote)),
            remaining: Duration::ZERO,
        };
        let sides = |listening: [u8; 4], sockets: &[TimeWait]| {
            let sockets: Vec<&TimeWait> = sockets.iter().collect();
            let empty = Reading { namespaces: Vec::new(), unread: Vec::new(), left_out: 0 };
            let listening = [(1, SocketAddr::from((listening, 80)))].into_iter().collect();
            Sides { listening, ..Sides::of(&empty, &sockets) }
        };
        let (server, client) =
            ((Role::Server, Place::LocalPort(80)), (Role::Client, Place::Remote([10, 0, 0, 2].into(), 40_000)));
        let one = socket(80, 40_000);
        assert_eq!(sides([0, 0, 0, 0], &[one]).of_socket(&one), server);
        assert_eq!(sides([10, 0, 0, 1], &[one]).of_socket(&one), server);
        assert_eq!(sides([10, 0, 0, 3], &[one]).of_socket(&one), client);
        assert_eq!(sides([10, 0, 0, 3], &[one, socket(80, 40_001)]).of_socket(&one), server);
        assert_eq!(sides([10, 0, 0, 3], &[one, socket(81, 40_000)]).of_socket(&one), client);
    }
}
