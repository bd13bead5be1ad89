//! The project's own rules about its text: what no compiler checks. A check is a file and a row.

mod code;
mod docs;
mod hooks;
mod layers;
mod layout;
mod length;
mod markers;
mod pure;
mod reasons;
mod tree;
mod uses;
mod words;

use std::path::Path;

use anyhow::{Result, bail};

use self::tree::Tree;
use crate::run;

/// A check: the complaints it has about the tree, each a line that says where, what, and what to do.
type Check = fn(&Tree) -> Vec<String>;

const CHECKS: &[Check] = &[
    docs::check,
    hooks::check,
    layers::check,
    layout::check,
    length::check,
    markers::check,
    pure::check,
    reasons::check,
    words::check,
];

/// Runs all checks over the workspace at `root`.
pub fn main(root: &Path) -> Result<()> {
    let tree = Tree::read(root)?;
    run::say(length::report(&tree));
    let complaints: Vec<String> = CHECKS.iter().flat_map(|check| check(&tree)).collect();
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} complaints", complaints.len());
    }
    Ok(())
}
