//! Which end of a connection this host's socket is.

use redial_common::tcp::role;
use serde::Serialize;

/// Which end of a connection this host's socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It connected.
    Client,
    /// It was accepted.
    Server,
    /// It is older than the agent and its counts do not tell.
    Unknown,
}

impl Role {
    /// The role with the wire's number `raw`, one of [`role`].
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            role::CLIENT => Self::Client,
            role::SERVER => Self::Server,
            _ => Self::Unknown,
        }
    }
}
