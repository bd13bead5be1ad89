//! Descriptors: what a process opened, against its limit.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use redial::host::descriptors::Descriptors;
use redial_tests::{gate::live, netns::Netns};

use super::holder::Holder;

#[test]
fn open_descriptors_are_counted_against_the_soft_limit() -> Result<()> {
    if !live() {
        return Ok(());
    }
    // Three are inherited, five are opened.
    let script = "ulimit -S -n 64; exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null; \
        echo ready; read line";
    let mut shell = Holder::running(&Netns::new()?, script)?;
    let mut stdout = shell.child().stdout.take().context("no stdout")?;
    let mut line = String::new();
    BufReader::new(&mut stdout).read_line(&mut line).context("wait for the shell")?;
    ensure!(line == "ready\n", "the shell said {line:?}");
    let pid = shell.child().id();
    let read = Descriptors::read(Path::new("/proc"), pid).context("not read")?;
    ensure!(read == Descriptors { open: 8, limit: Some(64) }, "{read:?}");
    shell.end()?;
    ensure!(Descriptors::read(Path::new("/proc"), pid).is_none(), "it is gone");
    Ok(())
}
