//! Nothing is left half done in the text.

use std::sync::LazyLock;

use regex::Regex;

use super::{tree::Tree, uses, words};

// Put together from parts, so that this file does not find itself.
static MARKER: LazyLock<Regex> =
    LazyLock::new(|| uses::pattern(concat!(r"\b(TO", "DO|FIX", "ME|X", r"XX)\b|\b(to", "do|unimplement", r"ed)!")));

/// Complains of marks that something is to be done.
pub fn check(tree: &Tree) -> Vec<String> {
    words::find(tree, &MARKER, |_| false, "do it, or leave it out and say so in the docs")
}

#[cfg(test)]
mod tests {
    use super::{super::tree::one, *};

    #[test]
    fn marks_are_found_in_code_and_in_documents() {
        for text in [concat!("// TO", "DO: it"), concat!("x(); to", "do!()"), concat!("<!-- FIX", "ME -->")] {
            assert_eq!(check(&one("README.md", text)).len(), 1, "{text}");
        }
        assert_eq!(check(&one("a.rs", "mktemp XXXXXX; let todo = 1;")).len(), 0);
    }
}
