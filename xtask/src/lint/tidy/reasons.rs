//! Every exception from a lint says why.

use std::sync::LazyLock;

use regex::Regex;

use super::{code, tree::Tree, uses};

static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| uses::pattern(r"#!?\[[^\]]*\b(allow|expect)\s*\([^\]]*\]"));
static REASON: LazyLock<Regex> = LazyLock::new(|| uses::pattern(r"\breason\s*="));

/// Complains of `allow` and `expect` attributes without a reason.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        let bare = code::bare(&file.text);
        for attribute in ATTRIBUTE.find_iter(&bare).filter(|attribute| !REASON.is_match(attribute.as_str())) {
            let line = code::line(&bare, attribute.start());
            complaints.push(format!("{}:{line}: a lint is switched off without `reason = \"...\"`", file.path));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tree::one, *};

    #[test]
    fn an_exception_without_a_reason_is_found() {
        for text in ["#[allow(dead_code)]", "#![expect(\n  unused\n)]", "#[cfg_attr(test, allow(unused))]"] {
            assert_eq!(check(&one("a.rs", text)).len(), 1, "{text}");
        }
        for text in ["#[expect(unused, reason = \"a] b\")]", "x.expect(\"y\")", "// #[allow(unused)]"] {
            assert_eq!(check(&one("a.rs", text)).len(), 0, "{text}");
        }
    }
}
