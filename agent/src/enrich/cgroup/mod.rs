//! Control groups of processes: of the living by /proc, of the gone by the id that the kernel's records carry.

mod mount;
mod tree;

use std::{fs, os::unix::fs::MetadataExt as _, sync::Arc, time::Instant};

use foldhash::{HashMap, HashMapExt as _};

use super::container::Group;
use mount::{Mount, widest};
use tree::{MAX_DIRECTORIES, Tree};

/// How many texts of /proc are remembered, up to about 1 kB each; over that the memory starts anew.
const MAX_TEXTS: usize = 2_048;

/// The least time between two walks, ns.
const WALK_PAUSE_NS: u64 = 1_000_000_000;

/// A walk is followed by a pause of so many times its own length: at most a twentieth of one CPU.
const WALK_SHARE: u64 = 20;

/// Inode number of the initial cgroup namespace (`PROC_CGROUP_INIT_INO`): there, paths are whole.
const INITIAL_NAMESPACE: u64 = 0xEFFF_FFFB;

/// What is known of control groups.
///
/// An id is looked up while its directory exists, and what was found is kept when the directory is gone. Where ids may
/// not be opened (without CAP_DAC_READ_SEARCH) the hierarchy is walked for those not yet known, at most once a second;
/// a group that is gone before the walk stays unknown.
#[derive(Debug)]
pub struct Cgroups {
    /// The hierarchy, or why there is none.
    tree: Result<Tree, String>,
    /// Whether a group that names no container is on the host: paths are whole, and nothing is in cgroup v1.
    is_whole: bool,
    /// By id; `None` for what is gone.
    by_id: HashMap<u64, Option<Arc<Group>>>,
    /// By the text of /proc/PID/cgroup.
    by_text: HashMap<Box<str>, Arc<Group>>,
    /// When the next walk may be, ns of CLOCK_MONOTONIC.
    walk_from_ns: u64,
}

impl Default for Cgroups {
    /// No hierarchy: only /proc tells.
    fn default() -> Self {
        Self::new(Err("no hierarchy was looked for".to_owned()), false)
    }
}

impl Cgroups {
    /// The control groups of this host.
    pub fn of_this_host() -> Self {
        let is_initial = fs::metadata("/proc/self/ns/cgroup").is_ok_and(|space| space.ino() == INITIAL_NAMESPACE);
        let is_unified = fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| is_unified(&text));
        let tree = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| format!("cannot read /proc/self/mountinfo: {error}"))
            .and_then(|mountinfo| choose(&mountinfo, is_initial))
            .and_then(|mount| {
                let point = mount.point.clone();
                Tree::open(mount).map_err(|error| format!("cannot open {point}: {error}"))
            });
        Self::new(tree, is_unified && is_initial)
    }

    fn new(tree: Result<Tree, String>, is_whole: bool) -> Self {
        Self { tree, is_whole, by_id: HashMap::new(), by_text: HashMap::new(), walk_from_ns: 0 }
    }

    /// Groups that are all gone, by their ids and paths.
    #[cfg(test)]
    pub fn knowing(groups: &[(u64, &str)], is_whole: bool) -> Self {
        let by_id = groups.iter().map(|&(id, path)| (id, Some(Arc::new(Group::of_path(path).0)))).collect();
        Self { by_id, ..Self::new(Err("none is needed".to_owned()), is_whole) }
    }

    /// Why containers are known of processes only that lived when /proc was asked; `None` where ids tell too.
    pub fn missing(&self) -> Option<&str> {
        self.tree.as_ref().err().map(String::as_str)
    }

    /// The group with the id `id` (the inode number of its directory in cgroup v2), asked at `at_ns`; `None` when not
    /// known. With hierarchies of cgroup v1 beside it, or seen from a cgroup namespace, a group that names no container
    /// tells nothing.
    pub fn of_id(&mut self, id: u64, at_ns: u64) -> Option<Arc<Group>> {
        if id == 0 {
            return None;
        }
        if !self.by_id.contains_key(&id) {
            self.learn(id, at_ns);
        }
        let group = self.by_id.get(&id)?.as_ref()?;
        (self.is_whole || group.container.is_some()).then(|| Arc::clone(group))
    }

    /// The group in `text`, the contents of /proc/PID/cgroup.
    pub fn of_text(&mut self, text: &str) -> Arc<Group> {
        if let Some(known) = self.by_text.get(text) {
            return Arc::clone(known);
        }
        if self.by_text.len() >= MAX_TEXTS {
            self.by_text.clear();
        }
        let group = Arc::new(parse(text));
        self.by_text.insert(text.into(), Arc::clone(&group));
        group
    }

    fn learn(&mut self, id: u64, at_ns: u64) {
        let Ok(tree) = &self.tree else { return };
        let found = tree.find(id);
        if self.by_id.len() >= MAX_DIRECTORIES {
            self.by_id.clear();
        }
        match found {
            Ok(group) => {
                self.by_id.insert(id, group.map(Arc::new));
            }
            Err(_) if at_ns >= self.walk_from_ns => {
                let start = Instant::now();
                tree.walk(&mut |id, group| {
                    if self.by_id.len() < MAX_DIRECTORIES {
                        self.by_id.entry(id).or_insert_with(|| Some(Arc::new(group)));
                    }
                });
                // Ids are not used again: what is not there now never will be.
                self.by_id.entry(id).or_insert(None);
                let took_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let pause_ns = took_ns.saturating_mul(WALK_SHARE).max(WALK_PAUSE_NS);
                self.walk_from_ns = at_ns.saturating_add(pause_ns);
            }
            Err(_) => {}
        }
    }
}

/// The mount of cgroup v2 in the text of /proc/self/mountinfo that shows the host's groups, or why there is none.
fn choose(mountinfo: &str, is_initial: bool) -> Result<Mount, String> {
    match widest(mountinfo) {
        // In a namespace, what is around its own part begins with `/..`.
        Some(mount) if is_initial || mount.root.starts_with("/..") => Ok(mount),
        Some(mount) => Err(format!(
            "{} shows only this container's part of cgroup v2: mount the host's /sys/fs/cgroup into the container",
            mount.point
        )),
        None => Err("cgroup v2 is not mounted".to_owned()),
    }
}

/// Whether the text of /proc/PID/cgroup shows no hierarchy but the unified one.
fn is_unified(text: &str) -> bool {
    text.lines().all(|line| line.starts_with("0::")) && !text.is_empty()
}

/// The group in the text of /proc/PID/cgroup: of the lines, one a hierarchy, the one that is in most containers. With
/// cgroup v1, a runtime need not use every hierarchy.
fn parse(text: &str) -> Group {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (is_unified, path) = (fields.next()? == "0", fields.nth(1)?);
        let (group, depth) = Group::of_path(path);
        Some(((depth, group.unit.is_some(), is_unified), group))
    });
    lines.max_by_key(|(rank, _)| *rank).map(|(_, group)| group).unwrap_or_default()
}

#[cfg(test)]
mod tests;
