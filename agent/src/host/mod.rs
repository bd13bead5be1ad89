//! What the host's own kernel tables hold now, in every network namespace, read when asked.
//!
//! [`reading`] is the way in: it finds the [`namespaces`], enters each one in turn and reads it there
//! ([`namespace_reading`]), with one socket dump per family. [`descriptors`] is asked per process.
//!
//! Sockets in TIME_WAIT, the ephemeral ports that are left, accept queues and connection tracking are read here and not
//! followed by probes: they outlive their owners, some are older than the agent, and only the kernel knows when they end.

pub mod conntrack;
pub mod counters;
pub mod descriptors;
pub mod enter;
pub mod listeners;
pub mod mounts;
pub mod namespace_reading;
pub mod namespaces;
pub mod port_counter;
pub mod port_rules;
pub mod port_set;
pub mod ports;
pub mod reading;
pub mod socket;
pub mod sockets;
pub mod sockstat;
pub mod sysctl;
