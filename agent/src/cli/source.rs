//! Where the records of a watching command come from: the kernel.

use crate::{
    cli::{failure::Failure, session::Session},
    intake::{RecordSource, limit::Limits, ring::RingSource},
    kernel::{self, options::Options},
    output::probes_text,
};

/// Attaches to the kernel, within `limits`.
pub fn open(options: &Options, limits: Limits) -> Result<RingSource, Failure> {
    if limits.cpu_budget.is_some() {
        kernel::can_measure()?;
    }
    let mut source = RingSource::new(kernel::attach(options)?, limits)?;
    source.adopt();
    give_back_memory();
    Ok(source)
}

/// Gives the memory that was needed to read the kernel's types back to the system: about 10 MB that are not needed
/// again, and that the allocator would keep.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Says on the standard error stream that the watch has begun.
pub fn announce(source: &RingSource, ends: &str) {
    let probes = source.attached().probes();
    let working = probes.iter().filter(|probe| probe.hook.is_some()).count();
    eprintln!("redial: watching TCP connections with {working} of {} probes, {ends}", probes.len());
}

/// Says there what has come up.
pub fn announce_notices<S: RecordSource>(watch: &mut Session<S>) {
    for notice in watch.notices() {
        eprintln!("redial: {notice}");
    }
}

/// Says there what the watch cannot see.
pub fn announce_degraded(source: &RingSource) {
    for line in probes_text::degraded(source.attached().probes()) {
        eprintln!("redial: {line}");
    }
}
