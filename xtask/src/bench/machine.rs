//! The machine that figures come from: they mean nothing without it.

use std::{fmt, fs, thread};

use anyhow::{Context, Result};
use serde::Serialize;

/// What figures depend on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// What the processor calls itself; absent where the kernel does not tell.
    pub model: Option<String>,
    /// Processes that wanted to run, a mean over the minute before: other work disturbs the figures.
    pub load: f64,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let model = read("/proc/cpuinfo")?
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
        let load = read("/proc/loadavg")?;
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpus: thread::available_parallelism().context("cannot count the CPUs")?.get(),
            model,
            load: load.split(' ').next().and_then(|one| one.parse().ok()).context("cannot read /proc/loadavg")?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.model.as_deref().unwrap_or("unnamed");
        write!(f, "Linux {}, {} CPUs ({model}), load {} before", self.kernel, self.cpus, self.load)
    }
}
