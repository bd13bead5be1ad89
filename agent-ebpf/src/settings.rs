//! Constants that user space writes before a program is loaded: the verifier sees their values and drops dead branches.

use redial_common::{
    config::Config,
    offsets::{ABSENT, Offsets},
};

#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    own_tgid: 0,
    netns: 0,
    by_pid: 0,
    role: 0,
    port: 0,
    comm: [0; 16],
    opens: 0,
    preallocated: 0,
    offsets_known: 0,
};

#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::NONE;

/// Reads one field of the settings.
macro_rules! setting {
    ($field:ident) => {
        $crate::settings::read(unsafe {
            // SAFETY: a field of a static that lives as long as the program.
            &raw const (*$crate::settings::config()).$field
        })
    };
}

/// Reads one field offset.
macro_rules! offset {
    ($field:ident) => {
        $crate::settings::read(unsafe {
            // SAFETY: a field of a static that lives as long as the program.
            &raw const (*$crate::settings::offsets()).$field
        })
    };
}

pub(crate) use {offset, setting};

pub fn config() -> *const Config {
    &raw const CONFIG
}

pub fn offsets() -> *const Offsets {
    &raw const OFFSETS
}

/// Reads a constant so that the compiler does not fold the value it was built with.
#[inline(always)]
pub fn read<T: Copy>(field: *const T) -> T {
    // SAFETY: `field` points into one of the two statics above.
    unsafe { field.read_volatile() }
}

/// Whether the kernel has a field.
#[inline(always)]
pub fn known(offset: u32) -> bool {
    offset != ABSENT
}
