//! The paths that code names, with the trees of `use` unfolded.

use std::sync::LazyLock;

use regex::Regex;

static TOKEN: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z_][A-Za-z0-9_]*|::|\S"));

/// A compiled pattern of this program's own.
pub fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| panic!("xtask's own pattern {text} is wrong: {error}"))
}

/// A path such as `crate::state::Edge`, and the byte where it begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Use {
    /// The whole path.
    pub path: String,
    /// The byte where its root begins.
    pub offset: usize,
}

/// All paths in `code` that begin with `root`, in `use` items and elsewhere.
pub fn paths(code: &str, root: &str) -> Vec<Use> {
    let tokens: Vec<_> = TOKEN.find_iter(code).collect();
    let words: Vec<&str> = tokens.iter().map(|token| token.as_str()).collect();
    let mut found = Vec::new();
    for at in 0..words.len() {
        let begins = words[at] == root && (at == 0 || words[at - 1] != "::" && words[at - 1] != "$");
        if begins && words.get(at + 1) == Some(&"::") {
            let mut paths = Vec::new();
            unfold(&words, at, "", &mut paths);
            found.extend(paths.into_iter().map(|path| Use { path, offset: tokens[at].start() }));
        }
    }
    found
}

/// Unfolds the tree at word `at`, below the path `prefix`; gives the word after it.
fn unfold(words: &[&str], at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let mut path = prefix.to_owned();
    let mut at = at;
    loop {
        match words.get(at) {
            Some(&"{") => {
                at += 1;
                while words.get(at).is_some_and(|word| *word != "}") {
                    let next = unfold(words, at, &path, found);
                    // A word that is no part of a tree (`as name`, a comma) is stepped over.
                    at = if next == at { at + 1 } else { next };
                }
                return at + 1;
            }
            Some(word) if *word == "*" || is_name(word) => {
                path = if path.is_empty() { (*word).to_owned() } else { format!("{path}::{word}") };
                at += 1;
            }
            _ => return at,
        }
        if words.get(at) == Some(&"::") {
            at += 1;
        } else {
            found.push(path);
            // The new name of `as` is no path.
            return if words.get(at) == Some(&"as") { at + 2 } else { at };
        }
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str, root: &str) -> Vec<String> {
        paths(code, root).into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn trees_are_unfolded() {
        let code = "use crate::{a::{B, c::D as E}, f,\n g::*}; fn x(y: crate::h::I) {}";
        let wanted = ["crate::a::B", "crate::a::c::D", "crate::f", "crate::g::*", "crate::h::I"];
        assert_eq!(found(code, "crate"), wanted);
    }

    #[test]
    fn only_the_root_counts() {
        assert_eq!(found("use other::crate_like::x; let std = 1; mine::std::fs", "std"), [""; 0]);
        assert_eq!(found("std::fs::read(p)", "std"), ["std::fs::read"]);
    }
}
