//! What makes an edge: program, container, network namespace, role and remote.

use std::{net::IpAddr, sync::Arc};

use redial_common::{edge::FoldKey, record::conn::Conn, tcp::role};

use crate::enrich::{Owner, address::address, role::Role};

/// The far end of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A client's remote address and port.
    Remote(IpAddr, u16),
    /// A server's own port; its peers are detail.
    LocalPort(u16),
    /// Several: an edge of what found no room.
    Any,
}

/// The identity of an edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeKey {
    /// The program; `None` for the edge of all that found no room.
    pub owner: Option<Owner>,
    /// The container, where there is one and it is known.
    pub container: Option<Arc<str>>,
    /// Inode number of the network namespace; 0 when not known.
    pub netns: u32,
    /// Client or server.
    pub role: Role,
    /// The far end.
    pub place: Place,
}

impl EdgeKey {
    /// The edge of `conn`, which belongs to `owner`.
    pub fn of_conn(conn: &Conn, owner: Owner) -> Self {
        let role = Role::from_raw(conn.role);
        let place = match role {
            Role::Server => Place::LocalPort(conn.local_port),
            Role::Client | Role::Unknown => Place::Remote(address(conn.family, &conn.remote), conn.remote_port),
        };
        Self { owner: Some(owner), container: None, netns: conn.netns, role, place }
    }

    /// The edge of folded connections, which belong to `owner`.
    pub fn of_fold(key: &FoldKey, owner: Owner) -> Self {
        let role = Role::from_raw(key.role);
        if is_other(key) {
            return Self::other(role);
        }
        let place = if key.role == role::SERVER {
            Place::LocalPort(key.port)
        } else {
            Place::Remote(address(key.family, &key.remote), key.port)
        };
        Self { owner: Some(owner), container: None, netns: key.netns, role, place }
    }

    /// The edge that takes all of `role` that finds no room.
    pub fn other(role: Role) -> Self {
        Self { owner: None, container: None, netns: 0, role, place: Place::Any }
    }
}

/// Whether the kernel had no room to tell these connections' edges apart.
pub fn is_other(key: &FoldKey) -> bool {
    key.family == 0 && key.port == 0
}
