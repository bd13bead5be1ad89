//! The way into the kernel: what it can do, where its fields are, and the programs that watch it.

mod attach;
pub mod budget;
mod catalog;
mod existing;
mod meter;
mod offsets;
pub mod options;
mod shed;
pub mod status;
mod sys;

pub use attach::{AttachError, Attached, attach, doctor};
pub use catalog::{EXISTING, RECEIVE, RETRANSMIT};
pub use existing::Walk;
pub use meter::{Meter, can_measure};
pub use sys::for_each_entry;
