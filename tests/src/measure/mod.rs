//! The agent's totals and snapshots measured in this process, over connections that are made up: no kernel, no probes.
//!
//! [`workload`] makes the connections. [`records`] measures taking them in and what they leave in memory, [`snapshot`]
//! measures what is made of them. Times are of [`clock`], sizes are the kernel's.

pub mod clock;
pub mod records;
pub mod snapshot;
pub mod workload;
