//! Network namespaces of a test's own. They have no name and no mount: they end with the last user.

use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::PathBuf,
    thread,
};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};

use crate::iface;

/// A network namespace with its loopback up; gone when this and all processes in it are gone.
#[derive(Debug)]
pub struct Netns {
    file: File,
}

impl Netns {
    /// Makes a namespace. Needs CAP_SYS_ADMIN.
    pub fn new() -> Result<Self> {
        thread::spawn(|| -> Result<Self> {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace (needs root)")?;
            let file = File::open("/proc/thread-self/ns/net").context("open the new namespace")?;
            iface::up("lo")?;
            Ok(Self { file })
        })
        .join()
        .map_err(|_| anyhow!("the thread that makes a namespace panicked"))?
    }

    /// The namespace as a file, for `setns`.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// A path by which another process can open the namespace while this process lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Its inode number, by which records name it.
    pub fn inode(&self) -> Result<u64> {
        Ok(self.file.metadata().context("stat the namespace")?.ino())
    }

    /// Runs `work` in the namespace, on a thread of its own.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET).context("enter the namespace")?;
                    work()
                })
                .join()
                .map_err(|_| anyhow!("work in a namespace panicked"))?
        })
    }

    /// Sets a `net.` kernel parameter of the namespace, e.g. `ipv4/tcp_syn_retries`.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.run(|| {
            std::fs::write(format!("/proc/sys/net/{name}"), value)
                .with_context(|| format!("set net/{name} to {value} in a namespace"))
        })
    }
}
