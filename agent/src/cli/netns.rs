//! The filter by network namespace: from a path to the number that the kernel tells namespaces apart by.

use std::{fs::File, os::unix::fs::MetadataExt as _, path::Path};

use rustix::fs::{FsWord, fstatfs};

use super::failure::Failure;

/// What `f_type` says of a namespace's file (NSFS_MAGIC).
const NSFS_MAGIC: FsWord = 0x6e73_6673;

/// The inode number of the namespace that `--netns` names: "self", or a path as /proc/PID/ns/net or /run/netns/NAME.
pub fn inode(argument: &str) -> Result<u32, Failure> {
    let path = Path::new(if argument == "self" { "/proc/self/ns/net" } else { argument });
    let usage = |what: &str| {
        Failure::Usage(format!("--netns {argument}: {what}; give self, /proc/PID/ns/net or /run/netns/NAME"))
    };
    let file = File::open(path).map_err(|error| usage(&error.to_string()))?;
    let is_namespace = fstatfs(&file).is_ok_and(|stat| stat.f_type == NSFS_MAGIC);
    if !is_namespace {
        return Err(usage("not a namespace"));
    }
    let metadata = file.metadata().map_err(|error| usage(&error.to_string()))?;
    u32::try_from(metadata.ino()).map_err(|_| usage("not a namespace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_have_numbers_and_other_files_are_refused() {
        assert_eq!(inode("self").unwrap(), inode("/proc/self/ns/net").unwrap());
        for wrong in ["/proc/self/stat", "/nonexistent", "/dev/null"] {
            let error = inode(wrong).unwrap_err();
            assert!(matches!(&error, Failure::Usage(message) if message.contains(wrong)), "{error}");
        }
    }
}
