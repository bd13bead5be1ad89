//! Stages that do no I/O and read no clock, so that a replay gives the same answer as the live run.

use std::sync::LazyLock;

use regex::Regex;

use super::{code, tree::Tree, uses};

const PURE: &[&str] = &["agent/src/state", "agent/src/metrics", "agent/src/diagnose"];

/// Modules of the standard library, and crates, that reach outside.
const OUTSIDE: &[&str] = &["std::fs", "std::env", "std::process", "std::thread", "std::os", "std::io", "libc::"];

static CLOCKS_AND_SOCKETS: LazyLock<Regex> = LazyLock::new(|| {
    uses::pattern(r"\b(Instant|SystemTime|UNIX_EPOCH|TcpStream|TcpListener|UdpSocket|UnixStream|ToSocketAddrs)\b")
});

/// Complains of clocks, files, sockets, environment and processes in the pure stages.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust().filter(|file| PURE.iter().any(|pure| file.path.starts_with(pure))) {
        let bare = code::bare(&file.text);
        let named = ["std", "libc"].into_iter().flat_map(|root| uses::paths(&bare, root));
        let outside = named
            .filter(|used| OUTSIDE.iter().any(|outside| used.path.starts_with(outside)))
            .map(|used| (used.offset, used.path));
        let words = CLOCKS_AND_SOCKETS.find_iter(&bare).map(|word| (word.start(), word.as_str().to_owned()));
        for (offset, name) in outside.chain(words) {
            let line = code::line(&bare, offset);
            complaints.push(format!(
                "{}:{line}: `{name}`: state, metrics and diagnose do no I/O and read no clock; let it come in with \
                 the data",
                file.path
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tree::one, *};

    #[test]
    fn clocks_and_io_are_found_where_they_must_not_be() {
        for text in ["use std::{fs, fmt};", "std::time::Instant::now()", "use std::time; time::SystemTime::now()"] {
            assert_eq!(check(&one("agent/src/state/x.rs", text)).len(), 1, "{text}");
            assert_eq!(check(&one("agent/src/enrich/x.rs", text)).len(), 0, "{text}");
        }
        let fine = "use std::{net::IpAddr, time::Duration}; // Instant";
        assert_eq!(check(&one("agent/src/metrics.rs", fine)).len(), 0);
    }
}
