//! Live tests of redial: what the tests share.
//!
//! A test makes network namespaces ([`netns`]), starts the agent ([`agent`]) and helper processes that make traffic
//! ([`peer`], [`traffic`]), and compares the agent's records ([`record`]) with what the helpers say they did
//! ([`traffic::truth`]), joined by role and addresses ([`join`]). [`relay`] stands between two namespaces and delays,
//! drops or forges packets.
//!
//! What the agent says of edges ([`snapshot`], from an [`observer`]) is compared with what they had to become
//! ([`ledger`]), once the kernel is done with the sockets ([`settle`]). Copies of the generator ([`programs`]) are
//! executables of their own.
//!
//! Benchmarks without a kernel run the agent's own code in a process of theirs ([`measure`]).
//!
//! Everything that is started ends with the guard that started it, also when a test panics. Every wait has a limit.

pub mod agent;
pub mod cgroup;
pub mod check;
pub mod clock;
pub mod connections;
pub mod destroy;
pub mod gate;
pub mod host_tables;
pub mod iface;
pub mod join;
pub mod kernel;
pub mod ledger;
pub mod lines;
pub mod load;
pub mod maps;
pub mod measure;
pub mod netns;
pub mod observer;
pub mod peer;
pub mod programs;
pub mod proxy;
pub mod record;
pub mod relay;
pub mod settle;
pub mod snapshot;
pub mod stats;
pub mod terminal;
pub mod traffic;
