//! The wire between redial's kernel programs and its user space: records, fold totals, loss causes and limits, and what
//! a record says of its connection.
//!
//! Everything here is `repr(C)`, made of integers, free of implicit padding, and its size is asserted at compile
//! time. Both sides are built from this one source.
#![no_std]

pub mod config;
pub mod counts;
pub mod dist;
pub mod edge;
pub mod errno;
pub mod facts;
pub mod limits;
pub mod loss;
pub mod offsets;
pub mod record;
pub mod tcp;
