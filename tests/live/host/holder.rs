//! A process that does nothing but be in a network namespace, which makes the namespace one that redial finds.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use nix::libc;
use redial_tests::netns::Netns;

/// Beyond what this process may have inherited and hand on.
const MAX_INHERITED: i32 = 256;

/// Ended when dropped; it also ends by itself when this process does.
pub struct Holder(Child);

impl Holder {
    /// Starts one in `netns`.
    pub fn new(netns: &Netns) -> Result<Self> {
        Self::running(netns, "read line")
    }

    /// Starts one that runs `script` in a shell, with three descriptors: a pipe as stdin, a pipe as stdout, and stderr.
    pub fn running(netns: &Netns, script: &str) -> Result<Self> {
        // A child is where the thread is that starts it.
        let start = || {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
            // SAFETY: between fork and exec only system calls are made, on no memory.
            unsafe { shell.pre_exec(keep_inherited) };
            shell.spawn().context("start a shell")
        };
        netns.run(start).map(Self)
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Kills it and waits until it is gone.
    pub fn end(&mut self) -> Result<()> {
        self.0.kill().context("kill a shell")?;
        self.0.wait().context("wait for a shell")?;
        Ok(())
    }
}

/// Keeps what whoever started this test left open out of the program that is executed next.
fn keep_inherited() -> io::Result<()> {
    for descriptor in 3..MAX_INHERITED {
        // SAFETY: changes nothing but a flag; it fails where nothing is open.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It fails only where the process has ended already.
        let _ = self.end();
    }
}
