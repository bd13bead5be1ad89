//! Control groups named as container runtimes name them, so that a process in one is in a container.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount, umount};
use tempfile::TempDir;

use crate::clock::poll_until;

/// The id of the container that a [`Group`] stands for.
pub const ID: &str = "605439acbd4fb18c145069289094b17f17e0cfa938f78012d4960bc797305f22";

/// The uid of its pod.
pub const POD_UID: &str = "ac04f3f2-1f2c-11e9-b015-1ebee232acfa";

/// The unified hierarchy: where it is mounted, else a mount of the test's own.
pub struct Hierarchy {
    point: PathBuf,
    own: Option<TempDir>,
}

impl Hierarchy {
    /// Finds it, or mounts it.
    pub fn find() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
        let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        if let Some(found) = lines.find(|fields| fields.get(2) == Some(&"cgroup2")) {
            return Ok(Self { point: found[1].into(), own: None });
        }
        let own = TempDir::new()?;
        mount(Some("none"), own.path(), Some("cgroup2"), MsFlags::empty(), None::<&str>).context("mount cgroup v2")?;
        Ok(Self { point: own.path().to_owned(), own: Some(own) })
    }

    /// Its root.
    pub fn point(&self) -> &Path {
        &self.point
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        if self.own.is_some()
            && let Err(error) = umount(&self.point)
        {
            eprintln!("{} stays mounted: {error}", self.point.display());
        }
    }
}

/// A container's control group as the kubelet and containerd name it, with a parent of the test's own. Removed when
/// dropped.
pub struct Group {
    parent: PathBuf,
    pod: PathBuf,
    path: PathBuf,
}

impl Group {
    /// Makes one; `name` tells it from those of other tests.
    pub fn make(hierarchy: &Hierarchy, name: &str) -> Result<Self> {
        let parent = hierarchy.point.join(format!("redial-{name}-{}", std::process::id()));
        let pod = parent.join(format!("kubepods-burstable-pod{}.slice", POD_UID.replace('-', "_")));
        let path = pod.join(format!("cri-containerd-{ID}.scope"));
        fs::create_dir_all(&path).context("make a control group")?;
        Ok(Self { parent, pod, path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id, as the kernel tells it.
    pub fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.path)?.ino())
    }

    /// Moves a process into it.
    pub fn add(&self, pid: u32) -> Result<()> {
        let path = self.path.join("cgroup.procs");
        fs::write(&path, pid.to_string()).with_context(|| format!("write {pid} to {}", path.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in [&self.path, &self.pod, &self.parent] {
            // Busy until the last process in it is gone for good; absent where the test removed it.
            let is_gone = || match fs::remove_dir(path) {
                Ok(()) => true,
                Err(error) => error.kind() == ErrorKind::NotFound,
            };
            if !poll_until(Duration::from_secs(5), is_gone) {
                eprintln!("{} could not be removed", path.display());
            }
        }
    }
}
