//! Where things are: the workspace, what cargo builds, and the committed kernel objects.

use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn root() -> PathBuf {
    // Set by `cargo run`; the compiled-in value serves a binary that is started by hand.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Cargo's target directory; xtask keeps what it makes in folders of it.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .and_then(|dir| std::path::absolute(dir).ok())
        .unwrap_or_else(|| root().join("target"))
}

/// The folder of the committed kernel objects and their provenance.
pub fn objects() -> PathBuf {
    root().join("agent/bpf")
}
