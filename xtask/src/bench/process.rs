//! A process that is measured while it runs, and what it used in all once it has ended.

use std::{
    io::{BufRead, BufReader, Read},
    mem::MaybeUninit,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    libc,
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use super::proc::Cpu;

/// Between two looks at a process that is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// A running process. Killed when dropped, and by the kernel when this program dies.
pub struct Process {
    child: Child,
    /// Has been waited for: its id may be another's by now.
    reaped: bool,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Receiver<String>,
    /// What it has said on its standard error so far.
    said: Vec<String>,
}

/// What an ended process has used and written.
#[derive(Debug)]
pub struct Ended {
    /// CPU time of its whole life.
    pub cpu: Cpu,
    /// The largest resident size of its life, bytes.
    pub peak_resident: u64,
    /// Its standard output, empty if it was not wanted.
    pub stdout: Vec<u8>,
}

impl Process {
    /// Starts `command`, with nothing to read. Its standard error is collected, its standard output if it is wanted.
    pub fn start(command: &mut Command, stdout_wanted: bool) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        // SAFETY: between fork and exec the closure only makes a system call.
        unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(Into::into)) };
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(if stdout_wanted { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().map(|mut pipe| {
            thread::spawn(move || {
                let mut all = Vec::new();
                // What was read before an error is all there is.
                let _ = pipe.read_to_end(&mut all);
                all
            })
        });
        let (sender, stderr) = mpsc::channel();
        if let Some(pipe) = child.stderr.take() {
            let lines = BufReader::new(pipe).lines().map_while(Result::ok);
            // Lines that nobody waits for any more are read all the same, lest the process block.
            thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        }
        Ok(Self { child, reaped: false, stdout, stderr, said: Vec::new() })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says a line on standard error that begins with `prefix`.
    pub fn wait_line(&mut self, prefix: &str, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) => {
                    let found = line.starts_with(prefix);
                    self.said.push(line);
                    if found {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("it ended before it said `{prefix}`; it said: {}", self.said())
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("it did not say `{prefix}` within {limit:?}; it said: {}", self.said())
                }
            }
        }
    }

    /// Waits until `condition` holds of its id; `what` says so in words.
    pub fn wait_until(&mut self, what: &str, limit: Duration, condition: impl Fn(u32) -> bool) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            if let Some((status, _)) = self.reap()? {
                bail!("it ended with {status} before it {what}; it said: {}", self.said());
            }
            if condition(self.id()) {
                return Ok(());
            }
            if Instant::now() >= end {
                bail!("{limit:?} passed before it {what}; it said: {}", self.said());
            }
            thread::sleep(LOOK);
        }
    }

    /// Interrupts it as Ctrl-C does, and waits until it has ended, which it has to do with success.
    pub fn interrupt(self, limit: Duration) -> Result<Ended> {
        kill(Pid::from_raw(self.id().cast_signed()), Signal::SIGINT).context("cannot interrupt it")?;
        self.end(limit)
    }

    /// Waits until it has ended of itself, which it has to do with success.
    pub fn end(mut self, limit: Duration) -> Result<Ended> {
        let end = Instant::now() + limit;
        let (status, usage) = loop {
            if let Some(ended) = self.reap()? {
                break ended;
            }
            if Instant::now() >= end {
                bail!("it did not end within {limit:?}; it said: {}", self.said());
            }
            thread::sleep(LOOK);
        };
        if !status.success() {
            bail!("it ended with {status}; it said: {}", self.said());
        }
        let stdout = self.stdout.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Ok(Ended {
            cpu: Cpu { user: seconds(usage.ru_utime), system: seconds(usage.ru_stime) },
            // In units of 1024 bytes.
            peak_resident: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
            stdout,
        })
    }

    /// How it ended and what it used, if it has ended. The standard library's wait tells nothing of the latter.
    fn reap(&mut self) -> Result<Option<(ExitStatus, libc::rusage)>> {
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: both pointers are to memory of their type, for the length of the call.
        let pid = unsafe { libc::wait4(self.id().cast_signed(), &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
        match pid {
            0 => Ok(None),
            -1 => Err(std::io::Error::last_os_error()).context("cannot wait for it"),
            _ => {
                self.reaped = true;
                // SAFETY: a successful wait4 has filled it in.
                Ok(Some((ExitStatus::from_raw(status), unsafe { usage.assume_init() })))
            }
        }
    }

    /// What it said, for messages.
    fn said(&mut self) -> String {
        self.said.extend(self.stderr.try_iter());
        if self.said.is_empty() { "nothing".to_owned() } else { self.said.join("; ") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            // Both fail only where it has ended already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script]), true).unwrap()
    }

    #[test]
    fn it_tells_when_it_is_ready_and_what_it_used() {
        let mut process =
            shell("echo no >&2; echo yes, ready >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo out");
        process.wait_line("yes", LIMIT).unwrap();
        let ended = process.end(LIMIT).unwrap();
        assert_eq!(ended.stdout, b"out\n");
        assert!(ended.cpu.user + ended.cpu.system > 0.001 && ended.peak_resident > 100_000, "{ended:?}");
    }

    #[test]
    fn one_that_ends_too_early_or_badly_says_what_it_said() {
        let error = shell("echo why >&2; exit 3").wait_line("ready", LIMIT).unwrap_err().to_string();
        assert!(error.contains("ready") && error.ends_with("why"), "{error}");
        let error = shell("exit 3").wait_until("attached", LIMIT, |_| false).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        let slow = shell("exec sleep 60").wait_until("attached", Duration::ZERO, |_| false).unwrap_err().to_string();
        assert!(slow.contains("passed before it attached"), "{slow}");
        let error = shell("exit 3").end(LIMIT).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        let error = shell("exec sleep 60").interrupt(LIMIT).unwrap_err().to_string();
        assert!(error.contains("signal"), "{error}");
    }
}
