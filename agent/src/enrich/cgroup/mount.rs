//! Where the unified hierarchy (cgroup v2) is mounted.

/// A mount of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory of the hierarchy that is seen there, relative to this process's cgroup namespace.
    pub root: String,
    /// Where.
    pub point: String,
}

/// The mount in the text of /proc/self/mountinfo that shows most of the hierarchy: in a container, the host's beside the
/// container's own part.
pub fn widest(mountinfo: &str) -> Option<Mount> {
    mountinfo.lines().filter_map(parse).min_by_key(|mount| {
        mount.root.split('/').map(|name| if name == ".." { -1 } else { i32::from(!name.is_empty()) }).sum::<i32>()
    })
}

/// A line of mountinfo (proc_pid_mountinfo(5)), if it is a mount of cgroup v2.
fn parse(line: &str) -> Option<Mount> {
    let (mount, source) = line.split_once(" - ")?;
    if source.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    Some(Mount { root: unescape(fields.next()?), point: unescape(fields.next()?) })
}

/// A field with its octal escapes undone. Only these four are ever escaped.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str, point: &str) -> Option<Mount> {
        Some(Mount { root: root.to_owned(), point: point.to_owned() })
    }

    #[test]
    fn the_mount_that_shows_most_is_found() {
        let hybrid = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(widest(hybrid), mount("/", "/sys/fs/cgroup/unified"));
        let daemon_set = "802 801 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n\
                          910 799 0:26 /../../.. /host/sys/fs/cgroup ro master:5 - cgroup2 cgroup2 rw\n";
        assert_eq!(widest(daemon_set), mount("/../../..", "/host/sys/fs/cgroup"));
        let part = "1 0 0:26 /a/b /here rw - cgroup2 x rw\n2 0 0:26 /a /with\\040space rw - cgroup2 x rw\n";
        assert_eq!(widest(part), mount("/a", "/with space"));
        assert_eq!(widest("23 1 0:20 / / rw - ext4 /dev/vda rw\n"), None);
        assert_eq!(widest("1 0 0:26 / - cgroup2"), None);
    }
}
