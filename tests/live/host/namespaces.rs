//! Namespaces: found by a mount where no process is in them, and let go of.

use std::{fs, path::Path, thread};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use redial::host::{
    enter::{EnterError, enter},
    namespaces::{MAX_NAMESPACES, Namespace, Namespaces},
};
use redial_tests::{gate::live, netns::Netns};

use super::holder::Holder;

fn find(inode: u32) -> Result<Option<Namespace>> {
    let found = Namespaces::scan(Path::new("/proc"), MAX_NAMESPACES)?;
    ensure!(found.left_out == 0, "{} left out", found.left_out);
    Ok(found.list.into_iter().find(|namespace| namespace.inode == inode))
}

/// The inode number of the namespace that the calling thread is in.
fn here() -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/thread-self/ns/net").ok().map(|data| data.ino())
}

#[test]
fn a_process_makes_a_namespace_known_until_it_ends() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let inode = u32::try_from(netns.inode()?)?;
    let mut holder = Holder::new(&netns)?;
    let known = find(inode)?.context("not found")?;
    let before = here();
    ensure!(enter(&known, here)? == Some(u64::from(inode)), "work is done in the namespace");
    ensure!(here() == before, "this thread is where it was");
    holder.end()?;
    ensure!(matches!(enter(&known, here), Err(EnterError::Gone(_))), "it cannot be entered any more");
    ensure!(find(inode)?.is_none(), "it is not found any more");
    Ok(())
}

/// As `ip netns` does it, in a mount namespace of this test's own.
fn mounted() -> Result<()> {
    let none = None::<&Path>;
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make mounts private")?;
    let folder = tempfile::Builder::new().prefix("redial netns ").tempdir().context("make a folder")?;
    let point = folder.path().join("mounted");
    fs::write(&point, "").context("make a mount point")?;
    let netns = Netns::new()?;
    let inode = u32::try_from(netns.inode()?)?;
    ensure!(find(inode)?.is_none(), "nothing leads to it yet");
    // A thread of another mount namespace must not follow the path of another thread.
    mount(Some(&netns.path()), &point, none, MsFlags::MS_BIND, none).context("mount the namespace")?;
    drop(netns);
    let known = find(inode)?.context("a mounted namespace is not found")?;
    ensure!(enter(&known, here)? == Some(u64::from(inode)), "work is done in the namespace");
    umount2(&point, MntFlags::MNT_DETACH).context("unmount the namespace")?;
    ensure!(find(inode)?.is_none(), "it is not found any more");
    ensure!(matches!(enter(&known, here), Err(EnterError::Gone(_))), "what is there now is another file");
    Ok(())
}

#[test]
fn a_mounted_namespace_without_processes_is_known() -> Result<()> {
    if !live() {
        return Ok(());
    }
    thread::spawn(mounted).join().map_err(|_| anyhow!("the thread with mounts of its own panicked"))?
}
