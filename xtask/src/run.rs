//! Runs other programs; an error names the whole command line and how it ended.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Runs `command` on this terminal and wants it to succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// What `command` writes to its standard output, without the white space around it; it has to succeed.
pub fn output(command: &mut Command) -> Result<String> {
    let done = command.stderr(Stdio::piped()).output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !done.status.success() {
        bail!("`{}` failed: {}: {}", line(command), done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    let text = String::from_utf8(done.stdout).with_context(|| format!("`{}` wrote no UTF-8", line(command)))?;
    Ok(text.trim().to_owned())
}

/// What `command` writes to its standard output; the rest goes to this terminal, and it has to succeed.
pub fn messages(command: &mut Command) -> Result<String> {
    let done =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !done.status.success() {
        bail!("`{}` failed: {}", line(command), done.status);
    }
    String::from_utf8(done.stdout).with_context(|| format!("`{}` wrote no UTF-8", line(command)))
}

/// Tells on standard error what is being done: standard output belongs to the programs that are run.
pub fn say(message: impl AsRef<str>) {
    eprintln!("xtask: {}", message.as_ref());
}

/// The file that `name` means to a shell: a path as it is, a bare name looked up in PATH and where root's tools are.
pub fn which(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Whether this process is root's.
pub fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))? == "0")
}

/// `cargo` of the toolchain that runs this command, in the workspace's root.
pub fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_status() {
        let error = run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 7") && error.contains('7'), "{error}");
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 1"])).unwrap_err().to_string();
        assert!(error.ends_with("why"), "{error}");
    }

    #[test]
    fn a_bare_name_is_looked_up_and_a_path_is_not() {
        assert!(which("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(which("no-such-program-here"), None);
        assert_eq!(which("/no/such/file"), None);
    }
}
