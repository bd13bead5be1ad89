//! What the host holds now, in all its network namespaces: the stage's way in.

use std::{io, path::Path};

use thiserror::Error;

use super::{
    enter::{EnterError, enter},
    namespace_reading::{NamespaceReading, TimeWait},
    namespaces::{MAX_NAMESPACES, Namespace, Namespaces},
    sockets::DumpError,
};

/// How much a reading may hold, over all namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Namespaces; some 300 B each, and 16 KB more while one is read.
    pub namespaces: usize,
    /// Tuples of ports; 80 B each.
    pub tuples: usize,
    /// Listening sockets; 80 B each.
    pub listeners: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { namespaces: MAX_NAMESPACES, tuples: 1 << 15, listeners: 1 << 13 }
    }
}

/// Why a namespace is missing from a reading.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It could not be entered.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// Its sockets could not be listed.
    #[error(transparent)]
    Dump(#[from] DumpError),
}

/// All network namespaces, read one after the other.
#[derive(Debug)]
pub struct Reading {
    /// Those that could be read, the caller's own first.
    pub namespaces: Vec<NamespaceReading>,
    /// Those that could not, by inode number, and why. One that ended meanwhile is in neither list.
    pub unread: Vec<(u32, ReadError)>,
    /// How many namespaces were over the limit.
    pub left_out: u64,
}

impl Reading {
    /// Reads everything, and passes every TIME_WAIT to `time_wait`, on other threads, but one at a time.
    ///
    /// Costs a socket dump for each namespace and family that has any. Each walks all of the kernel's hash tables,
    /// which hold the sockets of all namespaces: about 0.3 ms on a quiet host, and 6 ms more for every 100,000 sockets
    /// that the host has anywhere. A socket that is listed costs 0.3 µs. Other namespaces than the caller's need CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn read(limits: &Limits, time_wait: &mut (dyn FnMut(&TimeWait) + Send)) -> io::Result<Self> {
        let found = Namespaces::scan(Path::new("/proc"), limits.namespaces)?;
        let mut reading =
            Self { namespaces: Vec::with_capacity(found.list.len()), unread: Vec::new(), left_out: found.left_out };
        let mut room = *limits;
        for namespace in &found.list {
            match read_one(namespace, &room, time_wait) {
                Ok(one) => {
                    room.tuples -= one.ports.as_ref().map_or(0, |ports| ports.iter().count());
                    room.listeners -= one.listeners.list().len();
                    reading.namespaces.push(one);
                }
                Err(ReadError::Enter(EnterError::Gone(_))) => {}
                Err(error) => reading.unread.push((namespace.inode, error)),
            }
        }
        Ok(reading)
    }

    /// The namespace with this inode number.
    pub fn namespace(&self, netns: u32) -> Option<&NamespaceReading> {
        self.namespaces.iter().find(|namespace| namespace.netns == netns)
    }
}

fn read_one(
    namespace: &Namespace,
    room: &Limits,
    time_wait: &mut (dyn FnMut(&TimeWait) + Send),
) -> Result<NamespaceReading, ReadError> {
    let read = || NamespaceReading::read(namespace.inode, room.tuples, room.listeners, time_wait);
    Ok(enter(namespace, read)??)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;
    use crate::host::ports::Tuple;

    #[test]
    fn the_own_namespace_is_read_without_privilege() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let limits = Limits { namespaces: 1, ..Limits::default() };
        let reading = Reading::read(&limits, &mut |_| {}).unwrap();
        let own = &reading.namespaces[0];
        assert!(reading.namespaces.len() == 1 && reading.unread.is_empty(), "{:?}", reading.unread);
        let listening = own.listeners.list().iter().find(|one| one.address == address).unwrap();
        assert_eq!(listening.queued, 1);
        let ports = own.ports.as_ref().unwrap();
        let tuple = Tuple::new(client.local_addr().unwrap().ip(), address);
        assert_eq!(ports.of(&tuple).unwrap().used, 1);
        assert!(own.sockets >= 3);
        assert_eq!(reading.namespace(own.netns).unwrap().netns, own.netns);
    }

    #[test]
    fn limits_hold_over_all_namespaces() {
        let _listeners = [0; 3].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
        let limits = Limits { namespaces: MAX_NAMESPACES, tuples: 0, listeners: 1 };
        let reading = Reading::read(&limits, &mut |_| {}).unwrap();
        let listed: usize = reading.namespaces.iter().map(|one| one.listeners.list().len()).sum();
        assert_eq!(listed, 1);
        assert!(reading.namespaces[0].listeners.left_out() >= 2);
        assert_eq!(reading.namespaces[0].ports.as_ref().unwrap().iter().count(), 0);
    }
}
