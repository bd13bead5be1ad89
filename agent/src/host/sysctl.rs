//! Kernel parameters below /proc/sys/net, as they are in the calling thread's network namespace.

use std::{fs::File, os::unix::fs::FileExt as _, str::FromStr};

/// Longer than any list of ports can be.
const MAX_BYTES: usize = 1 << 20;

/// The value of the parameter `name`, e.g. `ipv4/tcp_tw_reuse`; `None` where the kernel has none or hides it.
pub fn text(name: &str) -> Option<String> {
    let file = File::open(format!("/proc/sys/net/{name}")).ok()?;
    let mut buffer = vec![0; 4096];
    // A bitmap's list comes whole in the first read and ends there: reading on, as usual, would cut it.
    loop {
        let length = file.read_at(&mut buffer, 0).ok()?;
        if length < buffer.len() || buffer.len() >= MAX_BYTES {
            buffer.truncate(length);
            return Some(String::from_utf8(buffer).ok()?.trim_end().to_owned());
        }
        buffer.resize(buffer.len() * 4, 0);
    }
}

/// The value of the parameter `name` where it is one number.
pub fn number<T: FromStr>(name: &str) -> Option<T> {
    text(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        assert!(text("ipv4/ip_local_port_range").unwrap().contains('\t'));
        assert!(number::<u64>("ipv4/tcp_max_tw_buckets").is_some());
        assert_eq!(text("ipv4/no_such_parameter"), None);
        assert_eq!(number::<u32>("ipv4/ip_local_port_range"), None);
    }
}
