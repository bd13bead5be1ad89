//! Doing without probes for a while, and taking them back.

use anyhow::{Context as _, Result};
use aya::{Btf, maps::Array};

use super::{
    attach::{Attached, detach_program, try_choice, why},
    catalog::{EXISTING, PROBES, RECEIVE, SEND, STATE},
    status::Status,
};

impl Attached {
    /// Detaches the programs of `probes`, and says at each that it is for `reason`.
    ///
    /// # Errors
    /// When the map that says so cannot be written.
    pub fn shed(&mut self, probes: &[&str], reason: &str) -> Result<()> {
        if probes.contains(&RECEIVE) || probes.contains(&SEND) {
            // Before: what is counted from now on is not all there is.
            self.set_unwatched_until(u64::MAX)?;
        }
        for (index, spec) in PROBES.iter().enumerate().rev() {
            let Some(choice) = self.choices[index].filter(|_| probes.contains(&spec.name)) else { continue };
            for part in spec.choices[choice] {
                detach_program(self, part.program);
            }
            let status = &mut self.probes[index];
            if status.status != Status::Unavailable {
                status.status = Status::Unavailable;
                status.reason = Some(reason.to_owned());
                status.unknown = spec.unknown.to_vec();
                status.hook = None;
            }
        }
        Ok(())
    }

    /// Detaches everything but the walk over sockets, which costs nothing until it is asked for.
    ///
    /// # Errors
    /// As [`Attached::shed`].
    pub fn shed_all(&mut self, reason: &str) -> Result<()> {
        let all: Vec<&str> = PROBES.iter().map(|spec| spec.name).filter(|&name| name != EXISTING).collect();
        self.shed(&all, reason)
    }

    /// Attaches again the programs of those `probes` that were shed; all for which `wanted` holds.
    ///
    /// # Errors
    /// When the kernel refuses the program that all else needs.
    pub fn take_back(&mut self, wanted: impl Fn(&str) -> bool, now_ns: impl Fn() -> u64) -> Result<()> {
        let btf = Btf::from_sys_fs().ok();
        for (index, spec) in PROBES.iter().enumerate() {
            let Some(choice) = self.choices[index].filter(|_| wanted(spec.name)) else { continue };
            let parts = spec.choices[choice];
            if !parts.is_empty() && parts.iter().all(|part| self.runs(part.program)) {
                continue;
            }
            match try_choice(self.ebpf_mut(), parts, btf.as_ref()) {
                Ok(()) => self.attached_again(index, parts),
                Err((part, error)) if spec.name == STATE => {
                    let why = why(part.hook, &error);
                    return Err(error.context(format!("cannot attach {} again: {why}", part.hook)));
                }
                // The others do without it, and its status says so.
                Err((part, error)) => {
                    let why = why(part.hook, &error);
                    self.probes[index].reason = Some(format!("not attached again: {}: {why}", part.hook));
                }
            }
        }
        if [RECEIVE, SEND].iter().all(|probe| wanted(probe)) {
            self.set_unwatched_until(now_ns())?;
        }
        Ok(())
    }

    /// Until when sends and receives were not watched, ns of CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// When the map that says so cannot be read.
    pub fn unwatched_until(&self) -> Result<u64> {
        let map = self.ebpf().map("UNWATCHED_UNTIL").context("the object has no map UNWATCHED_UNTIL")?;
        Ok(Array::<_, u64>::try_from(map)?.get(&0, 0)?)
    }

    fn set_unwatched_until(&mut self, until_ns: u64) -> Result<()> {
        let map = self.ebpf_mut().map_mut("UNWATCHED_UNTIL").context("the object has no map UNWATCHED_UNTIL")?;
        Array::<_, u64>::try_from(map)?.set(0, until_ns, 0).context("cannot say since when turns are watched")
    }
}
