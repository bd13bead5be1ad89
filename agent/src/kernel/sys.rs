//! The two bpf(2) calls that aya lacks: a program's counters, and reading a map in batches.

use std::{
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsRawFd, BorrowedFd},
};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_info};

/// No bucket of a hash that is any good holds as many entries.
const MAX_BATCH: usize = 1 << 20;

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<()> {
    // SAFETY: `attr` is a whole `bpf_attr`, and every pointer in it was taken from a live, large enough buffer by the
    // two callers below.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<bpf_attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn zeroed_attr() -> bpf_attr {
    // SAFETY: a union of integers: all zero is a value of it, and what the kernel wants for unused fields.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// What the kernel counts of a program: the runs that it skipped because the program was already running on that CPU
/// (`recursion_misses`), and how long it ran (`run_time_ns`) while run times were measured.
///
/// # Errors
/// What bpf(2) says of BPF_OBJ_GET_INFO_BY_FD.
pub fn program_info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    // SAFETY: a structure of integers, as above.
    let mut info: bpf_prog_info = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut attr = zeroed_attr();
    attr.info.bpf_fd = program.as_raw_fd().cast_unsigned();
    attr.info.info_len = u32::try_from(size_of::<bpf_prog_info>()).unwrap_or(u32::MAX);
    attr.info.info = (&raw mut info).expose_provenance() as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// Reads all of a hash map, `batch` entries a call (more where a bucket holds more), and passes each key and value to `sink`.
///
/// # Errors
/// What bpf(2) says of BPF_MAP_LOOKUP_BATCH.
///
/// # Safety
/// `K` and `V` must be the map's key and value types, valid for any bytes.
pub unsafe fn for_each_entry<K: Copy, V: Copy>(
    map: BorrowedFd<'_>,
    mut batch: usize,
    mut sink: impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut keys: Vec<K> = Vec::with_capacity(batch);
    let mut values: Vec<V> = Vec::with_capacity(batch);
    // The kernel's own position, as wide as a key or four bytes, whichever is more.
    let (mut here, mut next) = ([0_u64; 8], [0_u64; 8]);
    let mut is_first = true;
    loop {
        let mut attr = zeroed_attr();
        attr.batch.map_fd = map.as_raw_fd().cast_unsigned();
        attr.batch.in_batch = if is_first { 0 } else { here.as_ptr().expose_provenance() as u64 };
        attr.batch.out_batch = next.as_mut_ptr().expose_provenance() as u64;
        attr.batch.keys = keys.as_mut_ptr().expose_provenance() as u64;
        attr.batch.values = values.as_mut_ptr().expose_provenance() as u64;
        attr.batch.count = u32::try_from(batch).unwrap_or(u32::MAX);
        let result = bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
        let is_last = match result {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            // The first bucket of this batch does not fit: the position has not moved.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && batch < MAX_BATCH => {
                batch *= 2;
                keys.reserve(batch);
                values.reserve(batch);
                continue;
            }
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel wrote how many entries it filled, never more than asked for.
        let count = unsafe { attr.batch.count } as usize;
        // SAFETY: so many keys and values are initialised, and the caller vouches for their types.
        unsafe {
            keys.set_len(count.min(batch));
            values.set_len(count.min(batch));
        }
        keys.drain(..).zip(&values).for_each(|(key, value)| sink(&key, value));
        values.clear();
        if is_last {
            return Ok(());
        }
        here = next;
        is_first = false;
    }
}
