//! Words that say where and how the project was made and tell its readers nothing.

use std::sync::LazyLock;

use regex::Regex;

use super::{
    code,
    tree::{File, Tree},
    uses,
};

// Put together from parts, so that this file does not find itself.
static FORBIDDEN: LazyLock<Regex> = LazyLock::new(|| {
    uses::pattern(concat!(
        r"(?i)/wor",
        r"k/|/roo",
        r"t/|\bsess",
        r"ions?\b|\bissue\s*#",
        r"\d+|\b(index\.crates",
        r"\.io|static\.crates",
        r"\.io|deb\.debian",
        r"\.org|registry\.npmjs",
        r"\.org|pypi",
        r"\.org|files\.pythonhosted",
        r"\.org|proxy\.golang",
        r"\.org)\b"
    ))
});

/// The field's own terms, which mean something else than the forbidden word in them.
static TERMS: LazyLock<Regex> = LazyLock::new(|| {
    uses::pattern(concat!(
        // The last: a process's view of the file system, in /proc.
        r"(?i)(TLS|requests?\.|HTTP|client|shared?|database|short) ?sess",
        r"ions?\b|\bsess",
        r"ion[ -]?(tickets?|resumption|cache|id|objects?|per)\b|\b1/roo",
        r"t/"
    ))
});

/// Files that are not the project's own words.
const FOREIGN: &[&str] = &["Cargo.lock", "LICENSE-"];

/// Complains of words that are forbidden: in documents anywhere, in code where it speaks, not in its own names.
pub fn check(tree: &Tree) -> Vec<String> {
    let is_term = |line: &str| TERMS.is_match(line);
    let prose = |file: &File| if file.path.ends_with(".rs") { code::prose(&file.text) } else { file.text.clone() };
    let files = tree.files.iter().map(|file| File { path: file.path.clone(), text: prose(file) }).collect();
    find(&Tree { files }, &FORBIDDEN, is_term, "say it without the place and the way of its making")
}

/// A complaint for each line that `pattern` is in, except where `fine` says that the line is fine.
pub fn find(tree: &Tree, pattern: &Regex, fine: impl Fn(&str) -> bool, remedy: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| !FOREIGN.iter().any(|foreign| file.path.starts_with(foreign))) {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(word) = pattern.find(line).filter(|_| !fine(line)) {
                complaints.push(format!("{}:{}: `{}`: {remedy}", file.path, index + 1, word.as_str()));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tree::one, *};

    #[test]
    fn places_and_hosts_are_found() {
        for text in [
            concat!("open(\"/wor", "k/x\")"),
            concat!("in this sess", "ion"),
            concat!("https://deb.debian", ".org/debian"),
            concat!("see issue #", "12"),
        ] {
            assert_eq!(check(&one("a.md", text)).len(), 1, "{text}");
            assert_eq!(check(&one("a.rs", &format!("// {text}"))).len(), 1, "{text}");
            assert_eq!(check(&one("Cargo.lock", text)).len(), 0, "{text}");
        }
    }

    #[test]
    fn names_in_code_are_fine() {
        assert_eq!(check(&one("a.rs", concat!("mod sess", "ion;"))).len(), 0);
    }

    #[test]
    fn terms_of_the_field_are_fine() {
        for text in [concat!("TLS sess", "ion tickets"), concat!("one requests.Sess", "ion"), "network/x"] {
            assert_eq!(check(&one("a.md", text)).len(), 0, "{text}");
        }
    }
}
