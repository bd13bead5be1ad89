//! Whether live tests run: always, unless somebody said REDIAL_TEST_LIVE=0; and how fast the machine is that they run on.

use nix::unistd::Uid;

/// How many times slower than a real machine this one is: 1, or what REDIAL_TEST_SLOWDOWN says in an emulated guest.
/// Limits of time, and of how much load there can be, are stretched by it; counts never are.
///
/// # Panics
///
/// When the variable holds no whole number from 1 on.
pub fn slowdown() -> u32 {
    std::env::var("REDIAL_TEST_SLOWDOWN").map_or(1, |value| match value.parse() {
        Ok(times) if times >= 1 => times,
        _ => panic!("REDIAL_TEST_SLOWDOWN={value}: it wants a whole number from 1 on"),
    })
}

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
