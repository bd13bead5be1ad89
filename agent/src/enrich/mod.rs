//! Who and where: each record joined with the identity of its process and the name of its remote.

pub mod address;
pub mod executable;
pub mod hosts;
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

use hosts::Hosts;
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
}

impl Identity {
    /// The path of the executable, if known.
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
}

impl Enricher {
    /// Reads the processes that run at `now_ns` (CLOCK_MONOTONIC) and the hosts file of this machine.
    pub fn of_this_host(now_ns: u64) -> Result<Self> {
        let mut processes = Processes::new(Procfs::new(Path::new("/proc")), MAX_PROCESSES);
        processes.scan(now_ns).context("cannot list the processes in /proc: is it mounted?")?;
        Ok(Self { processes, hosts: Hosts::read(Path::new("/etc/hosts")) })
    }

    /// Built from parts.
    pub fn new(processes: Processes, hosts: Hosts) -> Self {
        Self { processes, hosts }
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
            return Identity { owner, pid: None, comm: None };
        }
        let program = self.processes.look_up(pid, from_ns, at_ns);
        let comm = program.comm.or_else(|| self.processes.share_bytes(comm));
        let owner = match (program.exe, &comm) {
            (Some(exe), _) => Owner::Executable(exe),
            (None, Some(name)) => Owner::Named(Arc::clone(name)),
            (None, None) => Owner::Unknown,
        };
        Identity { owner, pid: Some(pid), comm }
    }

    /// The name of a remote address, if the hosts file has one.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.hosts.name_of(address)
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
        let mut exec =
            Process { kind: 2, event: event::EXEC, at_ns: 1_000, tgid: 7, parent: 0, comm: [0; 16], path: [0; 128] };
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
            assert_eq!((who.owner, who.pid, who.comm), (owner, None, None));
        }
    }
}
