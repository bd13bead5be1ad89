//! One run of a guest: started, listened to, ended.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::initramfs::{BOOTED, RESULT};

/// How long a guest may take to boot; 2 to 5 s emulated on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// How long all tests may take then.
const TEST_LIMIT: Duration = Duration::from_secs(900);

/// A guest to be run.
pub struct Guest<'a> {
    /// What boots.
    pub kernel: &'a Path,
    /// Its first file system.
    pub initramfs: &'a Path,
    /// Whether the processor runs it.
    pub kvm: bool,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every test program succeeded; how many tests passed.
    Passed(usize),
    /// Tests failed or hung: how.
    Failed(String),
    /// It never booted, or crashed: how.
    Crashed(String),
}

/// Ends the guest when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guest<'_> {
    /// Boots the guest, shows what it writes, and waits for its result.
    pub fn run(&self) -> Result<Outcome> {
        let mut child = Running(self.command().spawn().context("cannot start qemu-system-x86_64")?);
        let console = child.0.stdout.take().context("the guest has no console")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || read_lines(console, |line| sender.send(line).is_ok()));
        let mut until = Instant::now() + BOOT_LIMIT;
        let mut listener = Listener::default();
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    println!("{line}");
                    let booting = !listener.booted;
                    if let Some(outcome) = listener.hear(&line) {
                        return Ok(outcome);
                    }
                    if booting && listener.booted {
                        until = Instant::now() + TEST_LIMIT;
                    }
                }
                Err(RecvTimeoutError::Timeout) if listener.booted => {
                    return Ok(Outcome::Failed(format!("the tests were not done after {TEST_LIMIT:?}")));
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Ok(Outcome::Crashed(format!("it did not boot within {BOOT_LIMIT:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = child.0.wait().context("cannot wait for the guest")?;
                    return Ok(Outcome::Crashed(format!("it ended without a result, {status}")));
                }
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        command
            // One thread for all processors: with more, QEMU 7.2 can go on running a breakpoint that the guest's kernel has
            // replaced already, and the guest locks up when functions are patched under load (ftrace alone does it).
            .args(["-accel", if self.kvm { "kvm" } else { "tcg,thread=single" }])
            .args(["-cpu", "max", "-smp", "2", "-m", "1024"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            // Only a panic may break into the lines of the tests.
            .args(["-append", "console=ttyS0 loglevel=1 panic=-1 random.trust_cpu=on"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }
}

/// Hands the console's lines on, as long as they are wanted.
fn read_lines(console: impl Read, mut hand_on: impl FnMut(String) -> bool) {
    let mut console = BufReader::new(console);
    let mut line = Vec::new();
    while console.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !hand_on(text) {
            return;
        }
        line.clear();
    }
}

/// Understands what the guest writes.
#[derive(Default)]
struct Listener {
    booted: bool,
    passed: usize,
}

impl Listener {
    /// Takes a line; the one with the result ends the run.
    fn hear(&mut self, line: &str) -> Option<Outcome> {
        self.booted |= line.starts_with(BOOTED);
        // "test result: ok. 3 passed; ..."
        if let Some(counts) = line.strip_prefix("test result: ok. ") {
            self.passed += counts.split(' ').next().and_then(|count| count.parse::<usize>().ok()).unwrap_or_default();
        }
        let failed = line.strip_prefix(RESULT)?.trim();
        Some(match failed {
            "0" => Outcome::Passed(self.passed),
            programs => Outcome::Failed(format!("{programs} test programs failed, see above")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &str) -> Option<Outcome> {
        let mut listener = Listener::default();
        let mut outcome = None;
        read_lines(lines.as_bytes(), |line| {
            outcome = listener.hear(&line);
            outcome.is_none()
        });
        outcome
    }

    #[test]
    fn tests_are_counted_until_the_result() {
        let text = "boot\r\ntest result: ok. 3 passed; 0 failed\r\ntest result: ok. 4 passed; 0 failed\r\n";
        assert_eq!(heard(text), None);
        assert_eq!(heard(&format!("{text}{RESULT} 0\r\n")), Some(Outcome::Passed(7)));
        for failed in [" 2", ""] {
            assert!(matches!(heard(&format!("{text}{RESULT}{failed}\r\n")), Some(Outcome::Failed(_))), "{failed}");
        }
    }
}
