//! Servers of the churn loop in a process of their own, so that clients of several executables share a remote.

use std::{
    io::Write,
    process::{Child, ChildStdin, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    agent::wait,
    lines::Lines,
    peer::{LIMIT, Place, command},
    traffic::churn::{Churn, Churned},
};

/// Running servers. Killed when dropped.
pub struct ChurnServer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
    port: u16,
}

impl ChurnServer {
    /// Starts `spec`'s servers and waits until they listen.
    pub fn start(place: Place<'_>, spec: &Churn) -> Result<Self> {
        let mut command = command(place)?;
        command.args(["churn-server", &serde_json::to_string(spec)?]).stdin(Stdio::piped());
        let mut child = command.spawn().context("start churn servers")?;
        let stdout = Lines::collect(child.stdout.take().context("no stdout")?);
        let stderr = Lines::collect(child.stderr.take().context("no stderr")?);
        let stdin = child.stdin.take();
        let mut server = Self { child, stdin, stdout, stderr, port: 0 };
        server.port = server
            .stdout
            .wait(LIMIT, |lines| lines.first()?.parse().ok())
            .with_context(|| format!("churn servers did not start:\n{}", server.stderr.text()))?;
        Ok(server)
    }

    /// Where they listen.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends them when they have served `connections`: what they did.
    pub fn stop(&mut self, connections: u64) -> Result<Churned> {
        let mut stdin = self.stdin.take().context("stopped already")?;
        writeln!(stdin, "{connections}").context("tell churn servers what to wait for")?;
        drop(stdin);
        let status = wait(&mut self.child, LIMIT)?;
        ensure!(status.success(), "churn servers ended with {status}:\n{}", self.stderr.text());
        ensure!(self.stdout.wait_end(LIMIT), "churn servers left their stdout open");
        let lines = self.stdout.all();
        serde_json::from_str(lines.last().context("churn servers said nothing")?).context("read what servers did")
    }
}

impl Drop for ChurnServer {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
