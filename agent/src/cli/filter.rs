//! The filters that are applied here, and those that the kernel applies as far as the host's tables need them too.

use std::net::IpAddr;

use redial_common::{edge::FoldKey, record::conn::Conn};

use super::remote::RemoteFilter;
use crate::{
    enrich::{Identity, container::Container, role::Role},
    kernel::options::{self, Options},
    state::key::Place,
};

/// Which connections are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    remote: RemoteFilter,
    /// Beginnings of containers' ids, or pods' uids.
    containers: Vec<String>,
    netns: Option<u32>,
    role: Option<Role>,
    port: Option<u16>,
    is_by_process: bool,
}

impl Filter {
    /// All of `options`, which the kernel applies to connections, and what is applied here.
    pub fn new(options: &Options, remote: RemoteFilter, containers: &[String]) -> Self {
        Self {
            remote,
            containers: containers.to_vec(),
            netns: options.netns,
            role: options.role.map(|role| match role {
                options::Role::Client => Role::Client,
                options::Role::Server => Role::Server,
            }),
            port: options.port,
            is_by_process: !options.pids.is_empty() || options.comm.is_some() || !containers.is_empty(),
        }
    }

    /// The only network namespace that is wanted.
    pub fn netns(&self) -> Option<u32> {
        self.netns
    }

    /// Whether `conn` is wanted, whoever owns it.
    pub fn allows_conn(&self, conn: &Conn) -> bool {
        self.remote.allows_conn(conn)
    }

    /// Whether the connections of `who` are wanted.
    pub fn allows_owner(&self, who: &Identity) -> bool {
        self.containers.is_empty() || who.container.as_deref().is_some_and(|container| self.names(container))
    }

    fn names(&self, container: &Container) -> bool {
        self.containers.iter().any(|wanted| {
            container.id.starts_with(wanted.as_str()) || container.pod_uid.as_deref() == Some(wanted.as_str())
        })
    }

    /// Whether folded connections are wanted, whoever owns them; `None` when their totals do not tell.
    pub fn allows_fold(&self, key: &FoldKey) -> Option<bool> {
        self.remote.allows_fold(key)
    }

    /// Whether a socket that nobody is known to own is wanted.
    pub fn allows_unowned(&self, netns: u32, role: Role, place: Place, remote: IpAddr) -> bool {
        let port = match place {
            Place::Remote(_, port) | Place::LocalPort(port) => Some(port),
            Place::Any => None,
        };
        !self.is_by_process
            && self.netns.is_none_or(|wanted| wanted == netns)
            && self.role.is_none_or(|wanted| wanted == role)
            && (self.port.is_none() || self.port == port)
            && self.remote.allows(remote)
    }

    /// Whether nothing is filtered.
    pub fn allows_all(&self) -> bool {
        let unset = (self.netns, self.role, self.port) == (None, None, None);
        !self.is_by_process && unset && self.remote.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::enrich::{Owner, container::Runtime};

    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn who(container: Option<(&str, Option<&str>)>) -> Identity {
        let container = container.map(|(id, pod)| {
            Arc::new(Container { id: id.into(), runtime: Runtime::Docker, pod_uid: pod.map(Into::into) })
        });
        Identity { owner: Owner::Unknown, pid: None, comm: None, container }
    }

    #[test]
    fn containers_are_named_by_the_beginning_of_their_id_or_by_their_pod() {
        let filter = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            Filter::new(&Options::default(), RemoteFilter::default(), &wanted)
        };
        let inside = who(Some(("abcdef0123", Some("pod-1"))));
        assert!(filter(&["abcd"]).allows_owner(&inside) && filter(&["x", "pod-1"]).allows_owner(&inside));
        assert!(!filter(&["bcd"]).allows_owner(&inside) && !filter(&["abcd"]).allows_owner(&who(None)));
        assert!(filter(&[]).allows_owner(&who(None)));
        assert!(!filter(&["abcd"]).allows_unowned(1, Role::Client, Place::Any, THERE));
    }

    #[test]
    fn sockets_without_owner_obey_the_other_filters() {
        let options =
            Options { netns: Some(5), role: Some(options::Role::Server), port: Some(80), ..Options::default() };
        let filter = Filter::new(&options, RemoteFilter::default(), &[]);
        assert!(filter.allows_unowned(5, Role::Server, Place::LocalPort(80), THERE));
        assert!(!filter.allows_unowned(6, Role::Server, Place::LocalPort(80), THERE));
        assert!(!filter.allows_unowned(5, Role::Client, Place::LocalPort(80), THERE));
        assert!(!filter.allows_unowned(5, Role::Server, Place::LocalPort(81), THERE));
        let by_pid = Options { pids: vec![1], ..Options::default() };
        assert!(!Filter::new(&by_pid, RemoteFilter::default(), &[]).allows_unowned(5, Role::Server, Place::Any, THERE));
    }
}
