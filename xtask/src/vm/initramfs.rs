//! The guest's whole file system: busybox, the agent, the tests, modules, and the script that runs them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{binaries::Binaries, cpio::Archive, kernels::Files, modules};
use crate::ebpf;

/// Debian's statically linked busybox.
pub const BUSYBOX: &str = "/usr/bin/busybox";

/// What the guest writes before the number of test programs that failed, on a line of its own.
pub const RESULT: &str = "redial-vm-result:";

/// What the guest's script writes first.
pub const BOOTED: &str = "guest: booted";

/// Where the guest has another object than the one that the agent holds.
const OBJECT: &str = "/redial.bpf.o";

/// Directories that are mounted over or written to.
const DIRECTORIES: &[&str] = &["/proc", "/sys", "/dev", "/tmp", "/run", "/etc", "/root"];

const INIT: &str = include_str!("init.sh");

/// Writes the archive for a kernel beside its files.
pub fn write(kernel: &Files, binaries: &Binaries, filter: &[String]) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for path in DIRECTORIES {
        archive.directory(path);
    }
    archive.program("/bin/busybox", &read(Path::new(BUSYBOX))?);
    archive.link("/bin/sh", "busybox");
    for (index, path) in modules::needed(&kernel.modules)?.iter().enumerate() {
        archive.program(&format!("/modules/{index:02}.ko"), &read(path)?);
    }
    let mut variables = format!("RESULT='{RESULT}'\nBOOTED='{BOOTED}'\n");
    if let Some(object) = ebpf::object_to_test()? {
        archive.program(OBJECT, &read(&object)?);
        writeln!(variables, "export {}={OBJECT}", ebpf::OBJECT_VARIABLE)?;
    }
    for program in &binaries.programs {
        archive.program(&format!("/bin/{}", program.name), &program.content);
    }
    for test in &binaries.tests {
        archive.program(&format!("/tests/{}", test.name), &test.content);
    }
    let quoted: Vec<String> = filter.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    writeln!(variables, "set -- {}", quoted.join(" "))?;
    archive.program("/variables.sh", variables.as_bytes());
    archive.program("/init", INIT.as_bytes());
    let path = kernel.image.with_file_name("initramfs.cpio");
    fs::write(&path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
