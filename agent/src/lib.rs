//! redial watches TCP connections from the kernel and tells whether they are reused.
//!
//! The data's way, which is also the order of imports: a stage knows only those before it.
//!
//! | Module | Does | Yields |
//! |---|---|---|
//! | [`host`] | reads what the kernel's own tables hold, in every network namespace | |
//! | [`kernel`] | finds out what the kernel allows, loads and attaches the probes | `ProbeStatus`, attached programs |
//! | [`intake`] | reads the kernel's ring, live map and totals | `Event`, `Conn` |
//! | [`enrich`] | finds out whose a connection is and what its remote is called | `Identity` |
//! | [`state`] | folds records into totals per edge, in bounded memory | `State` |
//! | [`snapshot`] | one immutable view of it all | `Snapshot`, `Connection` |
//! | [`output`] | writes views as text and JSON | |
//! | [`cli`] | arguments, the loop, exit statuses | |
//!
//! An *edge* is a program in a container and network namespace, in one role, with one remote.
//!
//! What always holds:
//! - No payload, command line or environment is read.
//! - Only `kernel` and `intake::ring` touch eBPF. `state` does no I/O and reads no clock: time comes with the data.
//! - Every table has a limit, a rule for what goes over it, and a count of what that was.
//! - What was not measured is `None`, never zero.

pub mod cli;
pub mod enrich;
pub mod host;
pub mod intake;
pub mod kernel;
pub mod output;
pub mod snapshot;
pub mod state;
