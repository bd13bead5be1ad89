//! Writes the archive that the kernel unpacks as its first file system (cpio "newc", the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::{collections::BTreeSet, path::Path};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive in memory.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    inodes: u32,
}

impl Archive {
    /// Adds a directory and those above it.
    pub fn directory(&mut self, path: &str) {
        for above in Path::new(path).ancestors().collect::<Vec<_>>().into_iter().rev() {
            let above = above.to_string_lossy();
            let above = above.trim_start_matches('/');
            if !above.is_empty() && self.directories.insert(above.to_owned()) {
                self.entry(above, DIRECTORY, &[]);
            }
        }
    }

    /// Adds a file that can be run, and the directories above it.
    pub fn program(&mut self, path: &str, content: &[u8]) {
        self.below(path);
        self.entry(path, PROGRAM, content);
    }

    /// Adds a symbolic link, and the directories above it.
    pub fn link(&mut self, path: &str, target: &str) {
        self.below(path);
        self.entry(path, LINK, target.as_bytes());
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.inodes = 0;
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn below(&mut self, path: &str) {
        if let Some((directory, _)) = path.rsplit_once('/') {
            self.directory(directory);
        }
    }

    /// A header of 13 hexadecimal numbers, the name with a NUL, the content; name and content each end at a multiple
    /// of 4 bytes.
    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        let name = path.trim_start_matches('/');
        self.inodes += 1;
        let (name_len, content_len) = (name.len() as u32 + 1, content.len() as u32);
        let links = 1;
        // inode, mode, uid, gid, links, mtime, size, device (two numbers), its own device (two), name's size, checksum
        let fields = [self.inodes, mode, 0, 0, links, 0, content_len, 0, 0, 0, 0, name_len, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_every_directory_once_and_ends_with_the_trailer() {
        let mut archive = Archive::default();
        archive.program("/bin/a", b"content");
        archive.link("/bin/b", "a");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("070701").count(), 4);
        assert_eq!(text.matches("bin\0").count(), 1);
        assert!(text.contains("00000007") && text.contains("bin/a\0") && text.contains("content\0"));
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
    }
}
