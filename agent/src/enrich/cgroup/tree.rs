//! The mounted hierarchy: from a control group's id to its directory, while that exists.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::fs::DirEntryExt,
    },
    path::{Path, PathBuf},
};

use super::mount::Mount;
use crate::enrich::container::Group;

/// How many directories a walk looks at.
pub const MAX_DIRECTORIES: usize = 65_536;

/// The kind of file handle that cgroup v2 has (`FILEID_KERNFS`): a directory's 64-bit id.
const FILEID_KERNFS: i32 = 0xfe;

/// A `struct file_handle` (open_by_handle_at(2)) of that kind.
#[repr(C)]
struct KernfsHandle {
    bytes: u32,
    kind: i32,
    id: u64,
}

/// A mounted hierarchy.
#[derive(Debug)]
pub struct Tree {
    mount: Mount,
    directory: File,
}

impl Tree {
    /// Opens the hierarchy mounted at `mount`.
    pub fn open(mount: Mount) -> io::Result<Self> {
        let directory = File::open(&mount.point)?;
        Ok(Self { mount, directory })
    }

    /// A hierarchy at `point` whose groups cannot be opened by their ids, as without the capability.
    #[cfg(test)]
    pub fn to_walk(point: &Path) -> Self {
        use std::os::unix::fs::OpenOptionsExt as _;
        let directory = File::options().read(true).custom_flags(libc::O_PATH).open(point).unwrap();
        Self { mount: Mount { root: "/".to_owned(), point: point.to_string_lossy().into_owned() }, directory }
    }

    /// The group with the id `id`; `None` when there is none any more.
    ///
    /// # Errors
    /// What open_by_handle_at(2) says: without CAP_DAC_READ_SEARCH in the host's user namespace it is EPERM.
    pub fn find(&self, id: u64) -> io::Result<Option<Group>> {
        match open_by_id(self.directory.as_fd(), id) {
            Ok(found) => {
                let path = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
                Ok(Some(self.group(&path)))
            }
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Passes the id of every group, up to [`MAX_DIRECTORIES`], to `sink`, those near the root first.
    pub fn walk(&self, sink: &mut dyn FnMut(u64, Group)) {
        let mut level = vec![PathBuf::from(&self.mount.point)];
        let mut left = MAX_DIRECTORIES;
        while !level.is_empty() {
            let mut below = Vec::new();
            // A directory that went away meanwhile has nothing beneath it.
            for entry in level.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                if left == 0 {
                    return;
                }
                left -= 1;
                let path = entry.path();
                sink(entry.ino(), self.group(&path));
                below.push(path);
            }
            level = below;
        }
    }

    fn group(&self, path: &Path) -> Group {
        // Of a directory outside of what is mounted the kernel gives the path from the hierarchy's own root.
        let inside = path.strip_prefix(&self.mount.point).unwrap_or(path);
        Group::of_path(&format!("{}/{}", self.mount.root, inside.to_string_lossy())).0
    }
}

fn open_by_id(mount: BorrowedFd<'_>, id: u64) -> io::Result<OwnedFd> {
    let mut handle = KernfsHandle { bytes: 8, kind: FILEID_KERNFS, id };
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: `handle` begins as a `file_handle` does and holds the eight bytes that it announces; the call only reads it.
    let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), (&raw mut handle).cast(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
