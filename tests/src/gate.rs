//! Whether live tests run: always, unless somebody said REDIAL_TEST_LIVE=0.

use nix::unistd::Uid;

/// Whether this test shall run. Panics where it shall and cannot: a check that skips itself checks nothing.
///
/// # Panics
///
/// When not root and REDIAL_TEST_LIVE is not 0.
pub fn live() -> bool {
    if std::env::var("REDIAL_TEST_LIVE").is_ok_and(|v| v == "0") {
        eprintln!("live test not run: REDIAL_TEST_LIVE=0");
        return false;
    }
    assert!(
        Uid::effective().is_root(),
        "live tests load BPF programs and make network namespaces: run them as root, or set REDIAL_TEST_LIVE=0 to leave them out"
    );
    true
}
