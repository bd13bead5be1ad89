//! Who a process is: a table by pid, fed by the kernel's process events and by /proc, that outlives the process.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};
use redial_common::record::process::{Process, event};

use super::{
    cgroup::Cgroups,
    container::Group,
    executable::{self, Called, Executables},
    procfs::{ProcInfo, Procfs},
};

/// How many processes are remembered, the dead included; about 120 bytes each.
pub const MAX_PROCESSES: usize = 32_768;

/// How many distinct strings are shared before the unused ones are let go.
const MAX_STRINGS: usize = 8_192;

/// How long an entry is believed before /proc is asked again, ns. It bounds the error when process events are missing.
const BELIEVED_NS: u64 = 1_000_000_000;

/// Two start times of one pid that are closer than this are those of one process: /proc tells it to 10 ms, and a pid is
/// not used again so soon.
const SAME_START_NS: u64 = 50_000_000;

/// How many ancestors are asked for the program of a process that never called exec.
const MAX_ANCESTORS: u8 = 4;

/// What is known of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its executable.
    pub exe: Option<Arc<str>>,
    /// Its name.
    pub comm: Option<Arc<str>>,
    /// What its control group tells: its container and its unit.
    pub group: Option<Arc<Group>>,
}

#[derive(Debug, Default)]
struct Entry {
    program: Program,
    /// The path of its last exec, when an event told.
    called: Option<Arc<str>>,
    /// ns of CLOCK_MONOTONIC; 0 when not known.
    start_ns: u64,
    /// When it ended, 0 while it lives.
    died_ns: u64,
    /// When /proc was last asked, 0 for never.
    asked_ns: u64,
    /// Whether /proc no longer had it then: it ended, though no event told when.
    gone: bool,
    /// The process it was forked from, 0 when not known.
    parent: u32,
    /// Its control group's id by its last event, 0 when not known or when /proc told its group since.
    cgroup_id: u64,
}

impl Entry {
    /// Notes that the process runs what it called by this path, as far as that tells.
    fn run(&mut self, called: Option<Arc<str>>) {
        match called.as_deref().map_or(Called::Path, executable::called) {
            // What it ran before, or was forked from.
            Called::Itself => {}
            Called::Path => (self.called, self.program.exe) = (called, None),
            Called::Descriptor => (self.called, self.program.exe, self.parent) = (None, None, 0),
        }
    }

    fn is_alive(&self) -> bool {
        self.died_ns == 0 && !self.gone
    }

    /// What its group tells, unless `seen` says that the process is in another one by now.
    fn group_if_unmoved(&self, seen: &Process) -> Option<Arc<Group>> {
        let is_moved = self.cgroup_id != 0 && seen.cgroup_id != 0 && self.cgroup_id != seen.cgroup_id;
        self.program.group.clone().filter(|_| !is_moved)
    }
}

/// The table of processes.
#[derive(Debug)]
pub struct Processes {
    entries: HashMap<u32, Entry>,
    strings: HashSet<Arc<str>>,
    executables: Executables,
    cgroups: Cgroups,
    procfs: Procfs,
    limit: usize,
}

impl Processes {
    /// An empty table over `procfs` that remembers at most `limit` processes. Control groups are known by /proc only.
    pub fn new(procfs: Procfs, limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            strings: HashSet::new(),
            executables: Executables::default(),
            cgroups: Cgroups::default(),
            procfs,
            limit,
        }
    }

    /// The same with control groups known by their ids too.
    #[must_use]
    pub fn with_cgroups(self, cgroups: Cgroups) -> Self {
        Self { cgroups, ..self }
    }

    /// Why containers are known of processes only that lived when /proc was asked; `None` where records tell too.
    pub fn groups_missing(&self) -> Option<&str> {
        self.cgroups.missing()
    }

    /// Reads every process that runs at `now_ns`, so that those which end soon are known.
    pub fn scan(&mut self, now_ns: u64) -> std::io::Result<()> {
        for pid in self.procfs.pids()? {
            if let Some(info) = self.procfs.read(pid) {
                self.store(pid, info, now_ns);
            }
        }
        Ok(())
    }

    /// Takes in one event of a process's life.
    pub fn observe(&mut self, seen: &Process) {
        let comm = self.share_bytes(&seen.comm);
        // Asked at once: a short container's group is gone with it.
        let group = self.cgroups.of_id(seen.cgroup_id, seen.at_ns);
        match seen.event {
            event::FORK => {
                let inherited = self.entries.get(&seen.parent).filter(|parent| parent.died_ns == 0);
                let exe = inherited.and_then(|parent| parent.program.exe.clone());
                let group = group.or_else(|| inherited.and_then(|parent| parent.group_if_unmoved(seen)));
                let entry = Entry {
                    program: Program { exe, comm, group },
                    start_ns: seen.at_ns,
                    parent: seen.parent,
                    cgroup_id: seen.cgroup_id,
                    ..Entry::default()
                };
                self.insert(seen.tgid, entry);
            }
            event::EXEC => {
                let called = self.share_bytes(&seen.path);
                // Runtimes move a process into its container before the exec, so what was inherited may be outdated.
                let group = group.or_else(|| {
                    let text = self.procfs.cgroup(seen.tgid)?;
                    Some(self.cgroups.of_text(&text))
                });
                if !self.entries.contains_key(&seen.tgid) {
                    self.insert(seen.tgid, Entry::default());
                }
                if let Some(entry) = self.entries.get_mut(&seen.tgid) {
                    entry.run(called);
                    entry.program.comm = comm;
                    entry.program.group = group.or_else(|| entry.group_if_unmoved(seen));
                    entry.cgroup_id = seen.cgroup_id;
                    entry.asked_ns = 0;
                    entry.gone = false;
                    entry.died_ns = 0;
                }
            }
            event::EXIT => {
                if let Some(entry) = self.entries.get_mut(&seen.tgid) {
                    entry.died_ns = seen.at_ns.max(1);
                    entry.program.group = group.or_else(|| entry.group_if_unmoved(seen));
                    entry.cgroup_id = seen.cgroup_id;
                }
            }
            _ => {}
        }
    }

    /// The process `pid` as it was between `from_ns` and `at_ns`.
    pub fn look_up(&mut self, pid: u32, from_ns: u64, at_ns: u64) -> Program {
        self.look_up_at_depth(pid, from_ns, at_ns, 0)
    }

    fn look_up_at_depth(&mut self, pid: u32, from_ns: u64, at_ns: u64, depth: u8) -> Program {
        let (recycled, stale) = self.entries.get(&pid).map_or((false, true), |entry| {
            let dead = entry.died_ns != 0;
            let old = entry.asked_ns == 0 || at_ns.saturating_sub(entry.asked_ns) >= BELIEVED_NS;
            (dead && from_ns > entry.died_ns, !dead && old)
        });
        if recycled || stale {
            match self.procfs.read(pid) {
                // One that started after the fact is another process with the same number.
                Some(info) if info.start_ns <= at_ns => self.store(pid, info, at_ns),
                _ if recycled => return Program::default(),
                _ => {
                    if let Some(entry) = self.entries.get_mut(&pid) {
                        entry.gone = true;
                        entry.asked_ns = at_ns.max(1);
                    }
                }
            }
        }
        let Some(entry) = self.entries.get_mut(&pid) else { return Program::default() };
        if entry.program.group.is_none() {
            // There may have been no walk since its last event.
            entry.program.group = self.cgroups.of_id(entry.cgroup_id, at_ns);
        }
        if entry.program.exe.is_some() {
            return entry.program.clone();
        }
        // Gone before /proc could be asked, or a zombie: the path it was called by, else the program it was forked from.
        let exe = match &entry.called {
            Some(called) => self.executables.resolve(called),
            None if entry.parent != 0 && depth < MAX_ANCESTORS => {
                let (parent, start_ns) = (entry.parent, entry.start_ns);
                self.look_up_at_depth(parent, start_ns, start_ns, depth + 1).exe
            }
            None => None,
        };
        let Some(entry) = self.entries.get_mut(&pid) else { return Program::default() };
        entry.program.exe = exe;
        entry.program.clone()
    }

    fn store(&mut self, pid: u32, info: ProcInfo, now_ns: u64) {
        let program = Program {
            exe: info.exe.map(|exe| self.share(&exe)),
            comm: Some(self.share(&info.comm)),
            group: info.cgroup.map(|text| self.cgroups.of_text(&text)),
        };
        if let Some(entry) = self.entries.get_mut(&pid)
            && entry.died_ns == 0
            && (entry.start_ns == 0 || entry.start_ns.abs_diff(info.start_ns) < SAME_START_NS)
        {
            if let (Some(called), Some(exe)) = (&entry.called, &program.exe) {
                self.executables.learn(called, exe);
            }
            // A zombie has no executable and no control group of cgroup v1 any more, but had them.
            let known = entry.program.group.take();
            let read = program.group.filter(|_| known.is_none() || program.exe.is_some());
            if read.is_some() {
                // It is not the group of the last event's id any more.
                entry.cgroup_id = 0;
            }
            let group = read.or(known);
            let exe = program.exe.or_else(|| entry.program.exe.take());
            entry.program = Program { exe, group, ..program };
            entry.start_ns = info.start_ns;
            entry.asked_ns = now_ns.max(1);
            entry.gone = false;
        } else {
            let entry = Entry { program, start_ns: info.start_ns, asked_ns: now_ns.max(1), ..Entry::default() };
            self.insert(pid, entry);
        }
    }

    fn insert(&mut self, pid: u32, entry: Entry) {
        if self.entries.len() >= self.limit && !self.entries.contains_key(&pid) {
            self.make_room();
        }
        self.entries.insert(pid, entry);
    }

    /// Forgets a quarter of the table at once, so that the cost is spread: the longest dead first, then those that
    /// were not asked about for longest, which /proc can tell again.
    fn make_room(&mut self) {
        let mut order: Vec<(bool, u64, u32)> = self
            .entries
            .iter()
            .map(|(&pid, entry)| {
                let alive = entry.is_alive();
                (alive, entry.asked_ns.max(entry.died_ns), pid)
            })
            .collect();
        let leave = (self.limit / 4).max(1).min(order.len());
        order.select_nth_unstable(leave - 1);
        for (_, _, pid) in &order[..leave] {
            self.entries.remove(pid);
        }
    }

    /// The text before the first zero in `bytes`, shared; `None` when there is none.
    pub fn share_bytes(&mut self, bytes: &[u8]) -> Option<Arc<str>> {
        let text = bytes.split(|&byte| byte == 0).next().filter(|text| !text.is_empty())?;
        Some(self.share(&String::from_utf8_lossy(text)))
    }

    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.strings.get(text) {
            return Arc::clone(known);
        }
        if self.strings.len() >= MAX_STRINGS {
            self.strings.retain(|shared| Arc::strong_count(shared) > 1);
        }
        let shared: Arc<str> = text.into();
        // When all of them are in use the new one is not shared: the table of processes bounds how many there are.
        if self.strings.len() < MAX_STRINGS {
            self.strings.insert(Arc::clone(&shared));
        }
        shared
    }
}

#[cfg(test)]
mod tests;
