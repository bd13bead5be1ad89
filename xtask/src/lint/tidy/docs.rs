//! The first line of every Rust file says what lives there.

use super::tree::Tree;

/// Complains of files that do not begin with `//!` and a text.
pub fn check(tree: &Tree) -> Vec<String> {
    tree.rust()
        .filter(|file| !file.text.lines().next().is_some_and(|first| first.starts_with("//! ") && first.len() > 8))
        .map(|file| format!("{}:1: the first line is no `//!` that says what lives in the file", file.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tree::one, *};

    #[test]
    fn a_file_without_a_first_line_is_found() {
        assert_eq!(check(&one("a.rs", "use b;\n//! Late.")).len(), 1);
        assert_eq!(check(&one("a.rs", "//! \n")).len(), 1);
        assert_eq!(check(&one("a.rs", "//! Reads clocks.\n")).len(), 0);
    }
}
