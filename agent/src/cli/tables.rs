//! The host's tables at the end of a watch, joined with what was watched.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::filter::Filter;
use crate::{
    enrich::role::Role,
    host::{
        descriptors::Descriptors,
        namespace_reading::TimeWait,
        reading::{Limits, Reading},
    },
    snapshot::host::{HostTables, ProcessDescriptors},
    state::{
        State,
        key::{EdgeKey, Place},
        time_wait::EdgeHash,
    },
};

/// How many sockets in TIME-WAIT whose connections nobody saw end are told apart; 64 bytes each.
const MAX_UNOWNED: usize = 65_536;

/// How many processes are asked for their descriptors.
const MAX_PROCESSES: usize = 1_024;

/// The tables at one time, and whose sockets the TIME-WAIT table holds.
pub struct Tables {
    reading: Reading,
    owned: HashMap<EdgeHash, (Role, u64)>,
    unowned: Vec<TimeWait>,
    /// Those over [`MAX_UNOWNED`], by namespace.
    more: HashMap<u32, u64>,
}

/// Reads the tables, without asking whose sockets they hold.
pub fn read() -> Result<Reading> {
    Reading::read(&Limits::default(), &mut |_| {}).context("cannot list the processes in /proc: is it mounted?")
}

impl Tables {
    /// Reads the tables, and asks `state` for the owners of sockets in TIME-WAIT.
    pub fn read(state: &State) -> Result<Self> {
        let (mut owned, mut unowned, mut more) = (HashMap::new(), Vec::new(), HashMap::new());
        let mut time_wait = |socket: &TimeWait| match state.edge_of_time_wait(socket.netns, socket.local, socket.remote)
        {
            Some((edge, role)) => owned.entry(edge).or_insert((role, 0)).1 += 1,
            None if unowned.len() < MAX_UNOWNED => unowned.push(*socket),
            None => *more.entry(socket.netns).or_insert(0) += 1,
        };
        let reading = Reading::read(&Limits::default(), &mut time_wait)
            .context("cannot list the processes in /proc: is it mounted?")?;
        Ok(Self { reading, owned, unowned, more })
    }

    /// Joins them with the edges: sockets that nobody is known to own go to edges of `live`, as far as `filter` wants
    /// them.
    pub fn join<'a>(
        &'a self,
        first: Option<&'a Reading>,
        ended: &State,
        live: &mut State,
        filter: &Filter,
    ) -> HostTables<'a> {
        let listening: HashSet<(u32, SocketAddr)> = self
            .reading
            .namespaces
            .iter()
            .flat_map(|one| one.listeners.list().iter().map(|listener| (one.netns, listener.address)))
            .collect();
        let mut time_wait = self.owned.clone();
        let mut add = |netns: u32, role: Role, place: Place, count: u64| {
            if filter.allows_unowned(netns, role, place) {
                let edge = ended.hash(&live.unowned(netns, role, place));
                time_wait.entry(edge).or_insert((role, 0)).1 += count;
            }
        };
        for socket in &self.unowned {
            let is_listening = |address: SocketAddr| listening.contains(&(socket.netns, address));
            let (role, place) = role_of(socket.local, socket.remote, is_listening);
            add(socket.netns, role, place, 1);
        }
        self.more.iter().for_each(|(&netns, &count)| add(netns, Role::Unknown, Place::Any, count));
        HostTables {
            first,
            last: &self.reading,
            netns: filter.netns(),
            time_wait,
            descriptors: descriptors(ended, live),
        }
    }
}

/// The side that a socket without owner was on: a server's, if somebody listens at its address and port.
fn role_of(local: SocketAddr, remote: SocketAddr, is_listening: impl Fn(SocketAddr) -> bool) -> (Role, Place) {
    let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
    if is_listening(local) || any.into_iter().any(|any| is_listening(SocketAddr::new(any, local.port()))) {
        (Role::Server, Place::LocalPort(local.port()))
    } else {
        (Role::Client, Place::Remote(remote.ip(), remote.port()))
    }
}

fn descriptors(ended: &State, live: &State) -> Vec<ProcessDescriptors> {
    let mut names: BTreeSet<(u32, Option<String>)> = BTreeSet::new();
    let edges = live.edges().chain(ended.edges()).filter(|(key, _): &(&EdgeKey, _)| !key.is_other);
    for (_, edge) in edges {
        for pid in edge.pids.latest() {
            if names.len() >= MAX_PROCESSES {
                break;
            }
            names.insert((pid, edge.comm.as_deref().map(str::to_owned)));
        }
    }
    let mut seen = HashSet::new();
    let processes = names.into_iter().filter(|(pid, _)| seen.insert(*pid));
    processes
        .filter_map(|(pid, comm)| {
            let Descriptors { open, limit } = Descriptors::read(Path::new("/proc"), pid)?;
            Some(ProcessDescriptors { pid, comm, open, limit })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_listened_at_is_a_servers() {
        let (here, there) = (SocketAddr::from(([10, 0, 0, 1], 80)), SocketAddr::from(([10, 0, 0, 2], 40_000)));
        let any = SocketAddr::from(([0, 0, 0, 0], 80));
        let elsewhere = SocketAddr::from(([10, 0, 0, 3], 80));
        assert_eq!(role_of(here, there, |address| address == any), (Role::Server, Place::LocalPort(80)));
        assert_eq!(role_of(here, there, |address| address == here), (Role::Server, Place::LocalPort(80)));
        let client = (Role::Client, Place::Remote(there.ip(), 40_000));
        assert_eq!(role_of(here, there, |address| address == elsewhere), client);
    }
}
