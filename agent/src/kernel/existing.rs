//! The walk over the sockets of every network namespace, by the kernel's iterators.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context, Result};
use aya::{
    maps::Array,
    programs::{Iter, Program},
};

use super::{
    attach::Attached,
    catalog::{EXISTING_HOLDERS, EXISTING_TCP},
};
use crate::host::{
    enter::{EnterError, enter},
    namespaces::{MAX_NAMESPACES, Namespaces},
};

/// Where a walk has been.
#[derive(Debug, Default)]
pub struct Walk {
    /// The network namespaces whose sockets were seen, by inode number.
    pub namespaces: BTreeSet<u32>,
    /// Why others were not: for one of them, and how many there are.
    pub unseen: Option<(String, u64)>,
}

impl Attached {
    /// Has the programs look at every TCP socket of every network namespace that is watched and can be found. `pass` is
    /// the number of the walk; with [`PASS_ADOPTS`], connections that nobody follows are followed from then on.
    ///
    /// [`PASS_ADOPTS`]: redial_common::record::conn::PASS_ADOPTS
    ///
    /// # Errors
    /// When the kernel refuses the iterator, or the namespaces cannot be listed.
    pub fn walk_sockets(&mut self, pass: u32) -> Result<Walk> {
        let map = self.ebpf_mut().map_mut("PASS").context("the object has no map PASS")?;
        Array::<_, u32>::try_from(map)?.set(0, pass, 0).context("cannot count the walks over sockets")?;
        let netns = self.netns();
        let iterator = self.iterator(EXISTING_TCP)?;
        let found = Namespaces::scan(Path::new("/proc"), MAX_NAMESPACES).context("cannot list network namespaces")?;
        let mut walk = Walk::default();
        let mut unseen = |why: String, count: u64| walk.unseen.get_or_insert((why, 0)).1 += count;
        if found.left_out > 0 {
            unseen(format!("more than {MAX_NAMESPACES} network namespaces"), found.left_out);
        }
        if found.hidden_processes > 0 {
            unseen(format!("the namespaces of {} processes may not be read", found.hidden_processes), 0);
        }
        for namespace in found.list.iter().filter(|one| netns.is_none_or(|netns| netns == one.inode)) {
            // The iterator shows the namespace of the thread that makes it.
            match enter(namespace, || run(iterator)) {
                Ok(result) => {
                    result?;
                    walk.namespaces.insert(namespace.inode);
                }
                Err(EnterError::Gone(_)) => {}
                Err(error) => unseen(error.to_string(), 1),
            }
        }
        Ok(walk)
    }

    /// Has the programs look at every descriptor of every process, for the sockets among them.
    ///
    /// # Errors
    /// When the kernel refuses the iterator.
    pub fn walk_holders(&mut self) -> Result<()> {
        // Where it could not be loaded, the probe's status says so.
        if self.runs(EXISTING_HOLDERS) { run(self.iterator(EXISTING_HOLDERS)?) } else { Ok(()) }
    }

    fn iterator(&mut self, name: &str) -> Result<&mut Iter> {
        match self.ebpf_mut().program_mut(name) {
            Some(Program::Iter(program)) => Ok(program),
            _ => anyhow::bail!("the object has no iterator {name}"),
        }
    }
}

/// Runs an iterator to its end. Its programs write nothing, so there is nothing to keep.
fn run(iterator: &mut Iter) -> Result<()> {
    let link = iterator.attach()?;
    let mut file: File = iterator.take_link(link)?.into_file()?;
    let mut nothing = [0; 64];
    loop {
        match file.read(&mut nothing) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // The kernel pauses after a million objects.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error).context("cannot walk over the kernel's objects"),
        }
    }
}
