//! Network namespaces that something has mounted, as `ip netns` and container runtimes do: they may hold no process.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// The network namespaces among the mounts that `mountinfo` (proc_pid_mountinfo(5)) lists: inode number and mount
/// point, below `root`.
pub fn network_namespaces(mountinfo: &[u8], root: &Path) -> Vec<(u32, PathBuf)> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(|line| namespace(line, root)).collect()
}

fn namespace(line: &[u8], root: &Path) -> Option<(u32, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ');
    // Mount ID, parent, device, root of the mount, mount point, options, any number of tags, "-", type of file system.
    let inode = inode(fields.nth(3)?)?;
    let point = unescape(fields.next()?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    // Joining an absolute path would replace the root.
    let below: &[u8] = point.strip_prefix(b"/").unwrap_or(&point);
    (kind == b"nsfs").then(|| (inode, root.join(PathBuf::from(OsString::from_vec(below.to_vec())))))
}

/// The number in `net:[4026531840]`, which is what a link in /proc/PID/ns and the root of such a mount say.
pub fn inode(name: &[u8]) -> Option<u32> {
    let number = name.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The kernel writes blanks, newlines and backslashes in octal.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match octal {
            Some(digits) => {
                plain.push(digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &after[3..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounted_network_namespaces_are_listed() {
        let text = b"36 35 0:4 net:[4026532001] /run/netns/a rw shared:9 - nsfs nsfs rw\n\
            37 35 0:4 mnt:[4026532002] /run/snapd/ns/x.mnt rw - nsfs nsfs rw\n\
            38 35 0:24 / /run rw,nosuid shared:5 master:1 - tmpfs tmpfs rw\n\
            39 35 0:4 net:[4026532003] /run/docker/netns/with\\040blank\\134 rw - nsfs nsfs rw\n\
            40 35 0:4 net:[4026532004] /not/nsfs rw - ext4 /dev/sda rw\n\
            broken\n";
        let found = network_namespaces(text, Path::new("/"));
        let expected = [(4026532001, "/run/netns/a"), (4026532003, "/run/docker/netns/with blank\\")];
        assert_eq!(found, expected.map(|(inode, path)| (inode, PathBuf::from(path))));
        let below = network_namespaces(text, Path::new("/proc/1/root"));
        assert_eq!(below[0].1, Path::new("/proc/1/root").join("run/netns/a"));
    }

    #[test]
    fn names_of_namespaces_hold_their_number() {
        assert_eq!(inode(b"net:[4026531840]"), Some(4026531840));
        for wrong in [&b"mnt:[1]"[..], b"net:[x]", b"net:[1", b"/"] {
            assert_eq!(inode(wrong), None);
        }
    }
}
