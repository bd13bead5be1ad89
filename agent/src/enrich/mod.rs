//! Who and where: each record joined with the identity of its process and the name of its remote.

pub mod address;
pub mod cgroup;
pub mod container;
pub mod executable;
pub mod hosts;
pub mod names;
pub mod process;
pub mod procfs;
pub mod role;

use std::{net::IpAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use redial_common::{
    edge::{FoldKey, FoldTotals},
    facts::{self, Nobody},
    record::{conn::Conn, process::Process},
};

use cgroup::Cgroups;
use container::Container;
use hosts::Hosts;
use names::Names;
use process::{MAX_PROCESSES, Processes};
use procfs::Procfs;

/// What owns a connection, as precisely as it is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A program by the path of its executable.
    Executable(Arc<str>),
    /// A program by its name only: its executable could not be learnt.
    Named(Arc<str>),
    /// A socket of the kernel itself.
    Kernel,
    /// A connection that no process has accepted.
    NotAccepted,
    /// Not known.
    Unknown,
}

/// Who a connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What identifies the program.
    pub owner: Owner,
    /// The process; `None` when not known.
    pub pid: Option<u32>,
    /// The process's name.
    pub comm: Option<Arc<str>>,
    /// The container that the process is in; `None` on the host and when not known.
    pub container: Option<Arc<Container>>,
}

impl Identity {
    /// The path of the executable, if known: in its container's file system, where it is in one.
    pub fn exe(&self) -> Option<&Arc<str>> {
        match &self.owner {
            Owner::Executable(exe) => Some(exe),
            Owner::Named(_) | Owner::Kernel | Owner::NotAccepted | Owner::Unknown => None,
        }
    }
}

/// Joins records with identities.
#[derive(Debug)]
pub struct Enricher {
    processes: Processes,
    hosts: Hosts,
    names: Option<Names>,
}

impl Enricher {
    /// Reads the processes that run at `now_ns` (CLOCK_MONOTONIC) and the hosts file of this machine.
    pub fn of_this_host(now_ns: u64) -> Result<Self> {
        let procfs = Procfs::new(Path::new("/proc"));
        let mut processes = Processes::new(procfs, MAX_PROCESSES).with_cgroups(Cgroups::of_this_host());
        processes.scan(now_ns).context("cannot list the processes in /proc: is it mounted?")?;
        Ok(Self::new(processes, Hosts::read(Path::new("/etc/hosts"))))
    }

    /// Built from parts.
    pub fn new(processes: Processes, hosts: Hosts) -> Self {
        Self { processes, hosts, names: None }
    }

    /// The same with a resolver that is asked for names which the hosts file does not have.
    #[must_use]
    pub fn with_names(self, names: Names) -> Self {
        Self { names: Some(names), ..self }
    }

    /// How many times the resolver was not asked for a name because too many were waiting.
    pub fn names_dropped(&self) -> u64 {
        self.names.as_ref().map_or(0, Names::dropped)
    }

    /// Why containers are known of processes only that lived when /proc was asked; `None` where records tell too.
    pub fn groups_missing(&self) -> Option<&str> {
        self.processes.groups_missing()
    }

    /// Takes in one event of a process's life.
    pub fn observe(&mut self, process: &Process) {
        self.processes.observe(process);
    }

    /// The owner of `conn`. `now_ns` stands for the end of one that lives.
    pub fn identify(&mut self, conn: &Conn, now_ns: u64) -> Identity {
        let at_ns = if conn.end_ns == 0 { now_ns } else { conn.end_ns };
        self.identify_pid(conn.owner_tgid(), conn.start_ns, at_ns, &conn.comm, facts::nobody(conn))
    }

    /// The owner of connections that were folded before `now_ns`.
    pub fn identify_fold(&mut self, key: &FoldKey, totals: &FoldTotals, now_ns: u64) -> Identity {
        self.identify_pid(key.tgid, 0, now_ns, &totals.comm, Nobody::from_raw(key.nobody))
    }

    fn identify_pid(&mut self, pid: u32, from_ns: u64, at_ns: u64, comm: &[u8], nobody: Nobody) -> Identity {
        if pid == 0 {
            // A name without a process is that of whoever was interrupted.
            let owner = match nobody {
                Nobody::Unknown => Owner::Unknown,
                Nobody::Kernel => Owner::Kernel,
                Nobody::NotAccepted => Owner::NotAccepted,
            };
            return Identity { owner, pid: None, comm: None, container: None };
        }
        let program = self.processes.look_up(pid, from_ns, at_ns);
        let comm = program.comm.or_else(|| self.processes.share_bytes(comm));
        let owner = match (program.exe, &comm) {
            (Some(exe), _) => Owner::Executable(exe),
            (None, Some(name)) => Owner::Named(Arc::clone(name)),
            (None, None) => Owner::Unknown,
        };
        let container = program.group.and_then(|group| group.container.clone());
        Identity { owner, pid: Some(pid), comm, container }
    }

    /// The name of a remote address, if the hosts file has one.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.hosts.name_of(address).map(AsRef::as_ref)
    }

    /// Has the resolver, where there is one, find out a name that will be wanted.
    pub fn anticipate(&self, address: IpAddr) {
        if self.names.is_some() {
            self.resolve(address);
        }
    }

    /// The name of a remote address, by the hosts file, else by the resolver where there is one: what it knows now, and
    /// what it does not know it finds out for a later call.
    pub fn resolve(&self, address: IpAddr) -> Option<Arc<str>> {
        self.hosts.name_of(address).cloned().or_else(|| self.names.as_ref()?.name_of(address))
    }
}

#[cfg(test)]
mod tests {
    use redial_common::record::{conn::flag, process::event};

    use super::*;

    fn enricher() -> Enricher {
        Enricher::new(Processes::new(Procfs::new(Path::new("/nonexistent")), 10), Hosts::default())
    }

    fn conn(tgid: u32, flags: u32) -> Conn {
        let mut conn = Conn { tgid, flags, start_ns: 2_000, end_ns: 3_000, ..Conn::ZERO };
        conn.comm[..4].copy_from_slice(b"curl");
        conn
    }

    #[test]
    fn the_records_name_is_the_last_resort() {
        let mut enricher = enricher();
        let who = enricher.identify(&conn(7, 0), 0);
        assert_eq!((who.owner, who.pid, who.comm.as_deref()), (Owner::Named("curl".into()), Some(7), Some("curl")));
        let mut exec = Process {
            kind: 2,
            event: event::EXEC,
            at_ns: 1_000,
            tgid: 7,
            parent: 0,
            cgroup_id: 0,
            comm: [0; 16],
            path: [0; 128],
        };
        exec.comm[..1].copy_from_slice(b"c");
        exec.path[..12].copy_from_slice(b"/no/such/bin");
        enricher.observe(&exec);
        let who = enricher.identify(&conn(7, 0), 0);
        assert_eq!(who.exe().map(AsRef::as_ref), Some("/no/such/bin"));
        assert_eq!(who.comm.as_deref(), Some("c"));
    }

    #[test]
    fn without_a_process_there_is_a_reason_and_no_name() {
        let mut enricher = enricher();
        for (flags, owner) in
            [(0, Owner::Unknown), (flag::NEVER_ACCEPTED, Owner::NotAccepted), (flag::KERNEL_SOCKET, Owner::Kernel)]
        {
            let who = enricher.identify(&conn(0, flags), 0);
            assert_eq!((who.owner, who.pid, who.comm, who.container), (owner, None, None, None));
        }
    }

    #[test]
    fn the_hosts_file_comes_before_the_name_server() {
        struct Elsewhere;
        impl names::Resolve for Elsewhere {
            fn resolve(&self, _: IpAddr) -> Option<String> {
                Some("elsewhere".to_owned())
            }
        }
        let (listed, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let silent = Enricher { hosts: Hosts::parse("192.0.2.1 db1\n"), ..enricher() };
        assert_eq!((silent.resolve(listed).as_deref(), silent.resolve(other)), (Some("db1"), None));
        let asking = silent.with_names(Names::start(Elsewhere, names::Limits::default()).unwrap());
        let name = (0..1_000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            asking.resolve(other)
        });
        assert_eq!((asking.resolve(listed).as_deref(), name.as_deref()), (Some("db1"), Some("elsewhere")));
    }
}
