//! The load generator: processes that make TCP connections and write down what they did.
//!
//! The binary `traffic` runs one [`spec`] and appends a [`truth::Conn`] per connection to a file. [`crate::peer`]
//! starts it. [`churn`] is an exception: as many connections a second as the machine gives, counted only.
//! [`hold`] is another: connections that stay open.

pub mod channel;
pub mod churn;
pub mod client;
pub mod control;
pub mod fdpass;
pub mod hold;
pub mod script;
pub mod server;
pub mod serving;
pub mod spec;
pub mod truth;
pub mod uring;
