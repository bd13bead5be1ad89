//! What the tests need of Debian beyond Rust, one row each.

use crate::packages::Package;

/// Only what a test of today runs; each row says which.
pub const PACKAGES: &[Package] = &[
    Package { name: "git", proof: "git", reason: "tidy's own test lists the files of the checkout" },
    Package { name: "iproute2", proof: "ss", reason: "what is in TIME-WAIT is compared with what ss lists" },
];
