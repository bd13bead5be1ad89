//! Refusals: where the agent cannot work, or only in part, it says why and what to do, and exits as documented.

use std::{
    ffi::CString,
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use redial_tests::{
    agent::{Agent, command, wait},
    check,
    gate::live,
    join::join,
    netns::Netns,
    peer::Peer,
    record::Role,
    traffic::spec::{Client, Script, Server},
};

/// Nobody.
const NOBODY: u32 = 65534;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Runs a command that must end by itself within 20 s.
fn output(command: &mut Command) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the agent")?;
    if let Err(error) = wait(&mut child, Duration::from_secs(20)) {
        child.kill().context("kill the agent")?;
        child.wait().context("wait for the agent")?;
        return Err(error);
    }
    child.wait_with_output().context("read what the agent said")
}

/// Fails unless it exited with `code` and said all of `words` (in any case) in at most a few lines.
fn refused(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "exit code is {code}, not {}:\n{said}", output.status);
    let lower = said.to_lowercase();
    for word in words {
        ensure!(lower.contains(&word.to_lowercase()), "`{word}` is not said:\n{said}");
    }
    ensure!(!lower.contains("panicked") && said.lines().count() <= 12, "not one clear message:\n{said}");
    Ok(())
}

/// A file or folder of its own, removed when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn folder(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("redial-tests-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is left to the machine's own cleaning.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn without_privilege() -> Result<()> {
    if !live() {
        return Ok(());
    }
    // The binary may lie where nobody else may look.
    let folder = Temporary::folder("nobody")?;
    let copy = folder.0.join("redial");
    fs::copy(command()?.get_program(), &copy).context("copy the agent")?;
    let output =
        output(Command::new(copy).args(["trace", "--format", "jsonl", "--for", "1s"]).uid(NOBODY).gid(NOBODY))?;
    refused(&output, 4, &["root", "CAP_BPF"])?;
    ensure!(output.stdout.is_empty(), "nothing was watched, so nothing is printed");
    Ok(())
}

#[test]
fn wrong_usage() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let unknown = output(command()?.args(["trace", "--no-such-option"]))?;
    refused(&unknown, 2, &["--no-such-option", "usage"])?;
    let value = output(command()?.args(["trace", "--port", "many"]))?;
    refused(&value, 2, &["--port", "many"])?;
    let missing = output(command()?.args(["trace", "--netns", "/nonexistent/netns", "--for", "1s"]))?;
    ensure!(missing.status.code().is_some_and(|c| c == 1 || c == 2), "exit code is 1 or 2, not {}", missing.status);
    ensure!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent/netns"), "the path is not named");
    Ok(())
}

/// Gives `command` a mount namespace of its own in which `change` is done to the mounts.
fn with_mounts(command: &mut Command, change: impl Fn() -> nix::Result<()> + Send + Sync + 'static) {
    let enter = move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&Path>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        change()?;
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made, on memory that the closure owns.
    unsafe { command.pre_exec(enter) };
}

/// A mount change that hides the kernel's type information; the folder must outlive its use.
fn hide_btf(folder: &Temporary) -> Result<impl Fn() -> nix::Result<()> + Send + Sync + 'static> {
    let empty = folder.0.join("empty");
    fs::write(&empty, "").context("make an empty file")?;
    let empty = CString::new(empty.into_os_string().into_encoded_bytes())?;
    Ok(move || {
        let none = None::<&Path>;
        mount(Some(empty.as_c_str()), c"/sys/kernel/btf/vmlinux", none, MsFlags::MS_BIND, none)
    })
}

/// Without the kernel's type information ends and owners are known, and what is read from sockets is not.
#[test]
fn without_btf() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let folder = Temporary::folder("btf")?;
    let server = Peer::server(None, &Server::new(&[LOCALHOST], Script::answers()))?;
    let mut client = Peer::client(None, &Client::new(server.listening(), 5, Script::asks(3)))?;
    let mut command = command()?;
    command.args(["trace", "--format", "jsonl", "--pid", &client.pid().to_string()]);
    with_mounts(&mut command, hide_btf(&folder)?);
    let agent = Agent::from_command(command)?;
    let truth = client.run()?;
    let said = agent.stderr().join("\n");
    let trace = agent.stop()?;
    for (conn, record) in join(&truth, &trace.records)? {
        ensure!(record.event == "closed" && record.pid == Some(conn.pid), "closed, by {}: {record:?}", conn.pid);
        ensure!(record.bytes_sent.is_none() && record.bytes_received.is_none(), "not read, so null: {record:?}");
        let exchanges = conn.exchanges();
        ensure!(record.exchanges.is_none_or(|n| n == exchanges), "exchanges are {exchanges} or not known: {record:?}");
        ensure!(record.unused != Some(true), "used, or not known whether: {record:?}");
    }
    ensure!(said.contains("BTF"), "what is missing is not said:\n{said}");
    Ok(())
}

/// Namespaces are not known then, so a filter by namespace would show nothing: that is refused.
#[test]
fn filter_by_namespace_without_btf() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let folder = Temporary::folder("netns")?;
    let mut command = command()?;
    command.args(["trace", "--format", "jsonl", "--netns", "self", "--for", "1s"]);
    with_mounts(&mut command, hide_btf(&folder)?);
    refused(&output(&mut command)?, 4, &["--netns", "BTF"])
}

/// Without tracefs the acceptor is not known; everything else is.
#[test]
fn without_tracefs() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let mut command = command()?;
    command.args(["trace", "--format", "jsonl", "--netns"]).arg(netns.path());
    with_mounts(&mut command, || {
        for place in [c"/sys/kernel/debug/tracing", c"/sys/kernel/tracing"] {
            // Where it is not mounted there is nothing to unmount.
            let _ = umount2(place, MntFlags::MNT_DETACH);
        }
        Ok(())
    });
    let agent = Agent::from_command(command)?;
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    let truth = Peer::client(Some(&netns), &Client::new(server.listening(), 1, Script::asks(3)))?.run()?;
    let servers = server.wait_truth(1)?;
    let said = agent.stderr().join("\n");
    let trace = agent.stop()?;
    for (role, conn) in [(Role::Client, &truth[0]), (Role::Server, &servers[0])] {
        let record = check::only(&trace, "one end", |r| r.is(role))?;
        ensure!(record.exchanges == Some(3) && record.pid == Some(conn.pid), "3 exchanges of {}: {record:?}", conn.pid);
        ensure!(record.bytes_sent == Some(conn.bytes_sent()), "bytes_sent: {record:?}");
    }
    ensure!(!needs_tracefs()? || said.contains("tracefs"), "what is missing is not said:\n{said}");
    Ok(())
}

/// Whether any probe is attached by way of tracefs here, where it is mounted.
fn needs_tracefs() -> Result<bool> {
    let output = command()?.args(["doctor", "--format", "json"]).output().context("run the agent")?;
    let doctor: serde_json::Value = serde_json::from_slice(&output.stdout).context("read what doctor says")?;
    let probes = doctor["probes"].as_array().context("no probes")?;
    Ok(probes.iter().any(|probe| probe["hook"].as_str().is_some_and(|hook| hook.starts_with("tracepoint "))))
}

/// A reader that goes away (`redial trace | head`) is no error.
#[test]
fn broken_pipe() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let mut command = command()?;
    command.args(["trace", "--format", "jsonl", "--for", "8s", "--netns"]).arg(netns.path());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the agent")?;
    drop(child.stdout.take());
    // When it watches is not known here, so traffic goes on until there was something to print.
    let mut server = Peer::server(Some(&netns), &Server::new(&[LOCALHOST], Script::answers()))?;
    let mut status = None;
    for _ in 0..40 {
        Peer::client(Some(&netns), &Client::new(server.listening(), 2, Script::asks(1)))?.run()?;
        status = wait(&mut child, Duration::from_millis(200)).ok();
        if status.is_some() {
            break;
        }
    }
    if status.is_none() {
        child.kill().context("kill the agent")?;
    }
    let said = child.wait_with_output().context("read what the agent said")?;
    let said = String::from_utf8_lossy(&said.stderr);
    let status = status.context("the agent went on without a reader")?;
    ensure!(status.success() && !said.contains("panicked"), "{status}:\n{said}");
    server.stop()?;
    Ok(())
}
