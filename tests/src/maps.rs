//! BPF maps of another process: found by name among its descriptors, read and written by bpf(2).

use std::{
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{errno::Errno, libc};

/// linux/bpf.h: commands.
const LOOKUP_ELEM: i64 = 1;
const UPDATE_ELEM: i64 = 2;
const GET_NEXT_KEY: i64 = 4;
const GET_FD_BY_ID: i64 = 14;
const GET_INFO_BY_FD: i64 = 15;

/// The kernel keeps as much of a name (BPF_OBJ_NAME_LEN without its final zero).
const NAME_LEN: usize = 15;

/// The beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    name: [u8; NAME_LEN + 1],
}

/// A hash map with keys of 64 bits.
pub struct Map {
    fd: OwnedFd,
    value_size: usize,
}

impl Map {
    /// Those of the process `pid` with one of `names`.
    pub fn of_process(pid: u32, names: &[&str]) -> Result<Vec<Self>> {
        let folder = format!("/proc/{pid}/fdinfo");
        let mut maps = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("list {folder}"))? {
            // It may have been closed meanwhile.
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            let Some(id) = text.lines().find_map(|line| line.strip_prefix("map_id:")) else { continue };
            let id = id.trim().parse().context("read a map's id")?;
            let fd = open(id).with_context(|| format!("open map {id} of process {pid}"))?;
            let info = info(&fd)?;
            let name = info.name.split(|&byte| byte == 0).next().unwrap_or_default();
            if names.iter().any(|wanted| wanted.as_bytes()[..wanted.len().min(NAME_LEN)] == *name) {
                ensure!(info.key_size == 8, "keys of {} bytes", info.key_size);
                maps.push(Self { fd, value_size: info.value_size as usize });
            }
        }
        Ok(maps)
    }

    /// Bytes of a value.
    pub fn value_size(&self) -> usize {
        self.value_size
    }

    /// The keys that are there.
    pub fn keys(&self) -> Result<Vec<u64>> {
        let mut keys = Vec::new();
        let mut last: Option<u64> = None;
        loop {
            let mut next = 0_u64;
            let from = last.as_ref().map_or(0, |key| std::ptr::from_ref(key) as u64);
            match self.call(GET_NEXT_KEY, [from, (&raw mut next) as u64, 0]) {
                Ok(()) => keys.push(next),
                Err(Errno::ENOENT) => return Ok(keys),
                Err(error) => return Err(error).context("list a map's keys"),
            }
            // A map that changes may begin anew.
            if keys.len() > 1_000_000 {
                bail!("a map's keys do not end");
            }
            last = Some(next);
        }
    }

    /// The value at `key`.
    pub fn get(&self, key: u64) -> Result<Option<Vec<u8>>> {
        // The kernel copies whole words.
        let mut value = vec![0_u8; self.value_size.next_multiple_of(8)];
        match self.call(LOOKUP_ELEM, [(&raw const key) as u64, value.as_mut_ptr() as u64, 0]) {
            Ok(()) => Ok(Some(value)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error).context("read a map"),
        }
    }

    /// Puts `value` at `key`.
    pub fn put(&self, key: u64, value: &[u8]) -> Result<()> {
        ensure!(value.len() >= self.value_size, "a value has {} bytes", self.value_size);
        self.call(UPDATE_ELEM, [(&raw const key) as u64, value.as_ptr() as u64, 0]).context("write to a map")
    }

    /// Pointers to key and value or next key, and flags.
    fn call(&self, command: i64, words: [u64; 3]) -> Result<(), Errno> {
        let fd = u64::from(self.fd.as_raw_fd().unsigned_abs());
        let attributes = [fd, words[0], words[1], words[2]];
        // SAFETY: key and value are as large as the map says, and live across the call.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes)) };
        Errno::result(result).map(drop)
    }
}

fn open(id: u32) -> Result<OwnedFd> {
    let attributes = [id, 0, 0];
    // SAFETY: the kernel reads the attributes, which live across the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, GET_FD_BY_ID, attributes.as_ptr(), size_of_val(&attributes)) };
    let fd = RawFd::try_from(Errno::result(fd)?)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn info(fd: &OwnedFd) -> Result<Info> {
    let mut info = Info::default();
    let sizes = u64::from(fd.as_raw_fd().unsigned_abs()) | (size_of::<Info>() as u64) << 32;
    #[cfg(target_endian = "big")]
    let sizes = sizes.rotate_left(32);
    let attributes = [sizes, (&raw mut info) as u64];
    // SAFETY: the kernel writes at most as much as the structure is long, which lives across the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, GET_INFO_BY_FD, attributes.as_ptr(), size_of_val(&attributes)) };
    Errno::result(result).context("ask for a map's properties")?;
    Ok(info)
}
