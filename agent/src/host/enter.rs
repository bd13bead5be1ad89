//! Doing something in another network namespace, on a thread of its own: the caller's thread stays where it is.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    panic::resume_unwind,
    thread,
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use thiserror::Error;

use super::{mounts, namespaces::Namespace};

/// Why a namespace could not be entered.
#[derive(Debug, Error)]
pub enum EnterError {
    /// It ended, or everything by which it could be reached did.
    #[error("network namespace {0} is gone")]
    Gone(u32),
    /// Not allowed.
    #[error("may not enter network namespace {0}: run as root or with CAP_SYS_ADMIN and CAP_SYS_PTRACE")]
    Denied(u32),
    /// Anything else.
    #[error("cannot enter network namespace {0}: {1}")]
    Failed(u32, #[source] io::Error),
}

/// Runs `work` in `namespace`. Where the caller's thread is in that namespace already, no privilege is needed.
///
/// # Errors
/// When it cannot be entered; `work` has not run then.
pub fn enter<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> Result<T, EnterError> {
    let inode = namespace.inode;
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, || {
            join(namespace)?;
            Ok(work())
        });
        let thread = thread.map_err(|error| EnterError::Failed(inode, error))?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Moves the calling thread into `namespace`.
fn join(namespace: &Namespace) -> Result<(), EnterError> {
    let inode = namespace.inode;
    // A new thread is where its maker is.
    let own = fs::read_link("/proc/thread-self/ns/net").ok();
    if own.and_then(|link| mounts::inode(link.as_os_str().as_bytes())) == Some(inode) {
        return Ok(());
    }
    let mut last = EnterError::Gone(inode);
    for path in &namespace.paths {
        // What is there now may be another thing than at the scan, even one on which opening would wait.
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    last = EnterError::Denied(inode);
                }
                continue;
            }
        };
        if !is_namespace(&file, inode) {
            continue;
        }
        return match move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)) {
            Ok(()) => Ok(()),
            Err(Errno::PERM) => Err(EnterError::Denied(inode)),
            Err(error) => Err(EnterError::Failed(inode, error.into())),
        };
    }
    Err(last)
}

fn is_namespace(file: &File, inode: u32) -> bool {
    file.metadata().is_ok_and(|data| data.ino() == u64::from(inode))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::host::namespaces::Namespaces;

    #[test]
    fn the_own_namespace_needs_no_privilege() {
        let found = Namespaces::scan(Path::new("/proc"), 1).unwrap();
        let caller = thread::current().id();
        assert!(enter(&found.list[0], || thread::current().id() != caller).unwrap());
    }

    #[test]
    fn a_namespace_that_is_gone_is_said_to_be() {
        for path in ["/nonexistent", "/dev/null"] {
            let gone = Namespace { inode: 1, paths: vec![PathBuf::from(path)] };
            assert!(matches!(enter(&gone, || ()), Err(EnterError::Gone(1))), "{path}");
        }
    }
}
