//! The network namespaces of this host, found anew at each scan: nothing is kept open, which would keep them alive.
//!
//! Found are those of processes and those that are mounted. A namespace that only a single thread, an open descriptor
//! or a socket holds is not seen; neither is one in a container whose processes /proc does not show.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::mounts;

/// How many namespaces are listed at most; what is over is counted.
pub const MAX_NAMESPACES: usize = 1024;

/// How many ways to one namespace are remembered: processes end between the scan and the reading.
const MAX_PATHS: usize = 3;

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The inode number by which the kernel tells namespaces apart.
    pub inode: u32,
    /// Files by which it can be entered.
    pub(super) paths: Vec<PathBuf>,
}

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    /// The namespaces, the scanning thread's own first.
    pub list: Vec<Namespace>,
    /// How many more there were than may be listed.
    pub left_out: u64,
    /// Processes whose namespace may not be read (root may), so that it may be missing above.
    pub hidden_processes: u64,
}

impl Namespaces {
    /// Lists at most `max` of the namespaces that there are now, by the /proc mounted at `proc`.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn scan(proc: &Path, max: usize) -> io::Result<Self> {
        let mut scan = Scan { max, ..Scan::default() };
        let own = proc.join("thread-self/ns/net");
        let inode = mounts::inode(fs::read_link(&own)?.as_os_str().as_bytes()).ok_or(io::ErrorKind::InvalidData)?;
        scan.add(inode, own);
        // What process 1 sees mounted is the host's; in a container it is not what this process sees.
        for (process, root) in [("thread-self", PathBuf::from("/")), ("1", proc.join("1/root"))] {
            // Not to be allowed to read the mounts of process 1 is usual without privilege.
            let mountinfo = fs::read(proc.join(process).join("mountinfo")).unwrap_or_default();
            for (inode, path) in mounts::network_namespaces(&mountinfo, &root) {
                scan.add(inode, path);
            }
        }
        for entry in fs::read_dir(proc)? {
            let entry = entry?;
            if !entry.file_name().as_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            let path = entry.path().join("ns/net");
            match fs::read_link(&path) {
                Ok(link) => {
                    if let Some(inode) = mounts::inode(link.as_os_str().as_bytes()) {
                        scan.add(inode, path);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => scan.found.hidden_processes += 1,
                // It has just ended.
                Err(_) => {}
            }
        }
        scan.found.left_out = scan.over.len() as u64;
        Ok(scan.found)
    }
}

#[derive(Default)]
struct Scan {
    max: usize,
    found: Namespaces,
    index: HashMap<u32, usize>,
    /// Never more than there are processes and mounts.
    over: HashSet<u32>,
}

impl Scan {
    fn add(&mut self, inode: u32, path: PathBuf) {
        let list = &mut self.found.list;
        if let Some(known) = self.index.get(&inode).and_then(|at| list.get_mut(*at)) {
            if known.paths.len() < MAX_PATHS {
                known.paths.push(path);
            }
        } else if list.len() < self.max {
            self.index.insert(inode, list.len());
            list.push(Namespace { inode, paths: vec![path] });
        } else {
            self.over.insert(inode);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A /proc of `links`: process and what its link says.
    fn proc(name: &str, links: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("redial-namespaces-{name}-{}", std::process::id()));
        for (process, link) in links {
            let folder = root.join(process).join("ns");
            fs::create_dir_all(&folder).unwrap();
            symlink(link, folder.join("net")).unwrap();
        }
        root
    }

    #[test]
    fn each_namespace_is_listed_once_own_first_and_what_is_over_counted() {
        let links = [
            ("thread-self", "net:[7]"),
            ("1", "net:[5]"),
            ("2", "net:[7]"),
            ("3", "net:[5]"),
            ("4", "net:[6]"),
            ("5", "net:[6]"),
            ("sys", "net:[9]"),
        ];
        let root = proc("over", &links);
        fs::write(root.join("1/mountinfo"), "36 35 0:4 net:[8] /run/netns/a rw - nsfs nsfs rw\n").unwrap();
        let all = Namespaces::scan(&root, 10).unwrap();
        let two = Namespaces::scan(&root, 2).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let mut inodes: Vec<u32> = all.list.iter().map(|namespace| namespace.inode).collect();
        assert_eq!(inodes[..2], [7, 8], "own, then mounted");
        inodes.sort_unstable();
        assert_eq!((inodes, all.left_out), (vec![5, 6, 7, 8], 0));
        assert_eq!(all.list[1].paths, [root.join("1/root").join("run/netns/a")]);
        assert_eq!((two.list.len(), two.left_out), (2, 2));
    }

    #[test]
    fn ways_to_a_namespace_are_bounded() {
        let mut scan = Scan { max: 1, ..Scan::default() };
        for pid in 0..10 {
            scan.add(7, PathBuf::from(format!("/proc/{pid}/ns/net")));
        }
        assert_eq!(scan.found.list[0].paths.len(), MAX_PATHS);
    }

    #[test]
    fn this_process_is_in_a_namespace() {
        let found = Namespaces::scan(Path::new("/proc"), MAX_NAMESPACES).unwrap();
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        assert_eq!(Some(found.list[0].inode), mounts::inode(own.as_os_str().as_bytes()));
    }
}
