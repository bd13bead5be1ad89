//! What makes an edge: program, container, network namespace, role and remote, or what edges are folded by.

use std::{net::IpAddr, sync::Arc};

use indexmap::Equivalent;
use redial_common::{edge::FoldKey, record::conn::Conn, tcp::role};

use crate::enrich::{Identity, Owner, address::address, container::Container, role::Role};

/// What connections are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Program, container, network namespace, role and remote: all that makes an edge.
    #[default]
    Edge,
    /// Process and role.
    Pid,
    /// Executable and role.
    Exe,
    /// Container and role.
    Container,
    /// Pod and role.
    Pod,
    /// Remote (a server's own port) and role.
    Remote,
    /// Name of the process and role.
    Name,
}

/// The far end of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A client's remote address and port.
    Remote(IpAddr, u16),
    /// A server's own port; its peers are detail.
    LocalPort(u16),
    /// Several.
    Any,
}

/// Defines the two forms of an edge's identity, which hash alike since their fields are the same in the same order.
macro_rules! identity {
    ($($(#[$doc:meta])* $field:ident: $owned:ty, $borrowed:ty;)*) => {
        /// The identity of an edge. What edges are folded over is `None`, 0 or [`Place::Any`].
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct EdgeKey {
            $($(#[$doc])* pub $field: $owned,)*
        }

        /// An edge's identity, borrowed from a connection's: what edges are looked up by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct EdgeRef<'a> {
            $($field: $borrowed,)*
        }
    };
}

identity! {
    /// The program.
    owner: Option<Owner>, Option<&'a Owner>;
    /// The name of the process.
    name: Option<Arc<str>>, Option<&'a Arc<str>>;
    /// The process.
    pid: Option<u32>, Option<u32>;
    /// The container, where there is one and it is known.
    container: Option<Arc<Container>>, Option<&'a Arc<Container>>;
    /// The pod's uid.
    pod: Option<Arc<str>>, Option<&'a Arc<str>>;
    /// Inode number of the network namespace; 0 when not known.
    netns: u32, u32;
    /// Client or server.
    role: Role, Role;
    /// The far end.
    place: Place, Place;
    /// Whether it is the edge of all that found no room.
    is_other: bool, bool;
}

impl EdgeKey {
    /// The edge that takes all of `role` that finds no room.
    pub fn other(role: Role) -> Self {
        Self::from(&EdgeRef::other(role))
    }

    /// The edge of sockets whose owner was never seen.
    pub fn unowned(netns: u32, role: Role, place: Place) -> Self {
        let owner = Some(Owner::Unknown);
        Self { owner, netns, place, is_other: false, ..Self::other(role) }
    }
}

impl<'a> EdgeRef<'a> {
    /// The edge of `conn`, which belongs to `who`.
    pub fn of_conn(conn: &Conn, who: &'a Identity, by: By) -> Self {
        let role = Role::from_raw(conn.role);
        let place = || match role {
            Role::Server => Place::LocalPort(conn.local_port),
            Role::Client | Role::Unknown => Place::Remote(address(conn.family, &conn.remote), conn.remote_port),
        };
        Self::new(who, conn.netns, role, place, by)
    }

    /// The edge of folded connections, which belong to `who`.
    pub fn of_fold(key: &FoldKey, who: &'a Identity, by: By) -> Self {
        let role = Role::from_raw(key.role);
        if is_other(key) {
            return Self::other(role);
        }
        let place = || {
            if key.role == role::SERVER {
                Place::LocalPort(key.port)
            } else {
                Place::Remote(address(key.family, &key.remote), key.port)
            }
        };
        Self::new(who, key.netns, role, place, by)
    }

    fn new(who: &'a Identity, netns: u32, role: Role, place: impl FnOnce() -> Place, by: By) -> Self {
        let none = Self { is_other: false, ..Self::other(role) };
        let (owner, container) = (Some(&who.owner), who.container.as_ref());
        match by {
            By::Edge => Self { owner, container, netns, place: place(), ..none },
            By::Pid => Self { owner, pid: who.pid, ..none },
            By::Exe => Self { owner, ..none },
            By::Container => Self { container, ..none },
            By::Pod => Self { pod: container.and_then(|container| container.pod_uid.as_ref()), ..none },
            By::Remote => Self { place: place(), ..none },
            By::Name => Self { name: who.comm.as_ref(), ..none },
        }
    }

    fn other(role: Role) -> Self {
        Self {
            owner: None,
            name: None,
            pid: None,
            container: None,
            pod: None,
            netns: 0,
            role,
            place: Place::Any,
            is_other: true,
        }
    }

    /// Client or server.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether it is the edge of all that found no room.
    pub fn is_other(&self) -> bool {
        self.is_other
    }
}

impl Equivalent<EdgeKey> for EdgeRef<'_> {
    fn equivalent(&self, key: &EdgeKey) -> bool {
        (self.netns, self.role, self.place) == (key.netns, key.role, key.place)
            && (self.is_other, self.pid) == (key.is_other, key.pid)
            && self.owner == key.owner.as_ref()
            && self.name == key.name.as_ref()
            && self.container == key.container.as_ref()
            && self.pod == key.pod.as_ref()
    }
}

impl From<&EdgeRef<'_>> for EdgeKey {
    fn from(edge: &EdgeRef<'_>) -> Self {
        Self {
            owner: edge.owner.cloned(),
            name: edge.name.cloned(),
            pid: edge.pid,
            container: edge.container.cloned(),
            pod: edge.pod.cloned(),
            netns: edge.netns,
            role: edge.role,
            place: edge.place,
            is_other: edge.is_other,
        }
    }
}

/// Whether the kernel had no room to tell these connections' edges apart.
pub fn is_other(key: &FoldKey) -> bool {
    key.family == 0 && key.port == 0
}
