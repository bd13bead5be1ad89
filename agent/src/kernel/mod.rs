//! The way into the kernel: what it can do, where its fields are, and the programs that watch it.

mod attach;
mod catalog;
mod existing;
mod offsets;
pub mod options;
pub mod status;
mod sys;

pub use attach::{AttachError, Attached, attach, doctor};
pub use catalog::{EXISTING, RECEIVE, RETRANSMIT};
pub use sys::for_each_entry;
