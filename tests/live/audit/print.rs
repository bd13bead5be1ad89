//! What people read: a table in Markdown, a table within 80 columns, and names that do no harm.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redial_tests::{
    agent,
    gate::live,
    iface,
    lines::Lines,
    netns::Netns,
    observer::Observer,
    peer::{Peer, Place},
    programs::Programs,
    settle::{EMPTY, settle},
    terminal::Terminal,
    traffic::spec::{Client, Script, Server},
};

use crate::LOCALHOST;

/// What a process may call itself: markup, control sequences, text that turns around, and none of it.
const NAMES: [&str; 5] = ["a|b*c_d", "`x` <i>[y](z)", "\u{1b}[31mred\u{7}\r\nx", "\u{202e}turned\u{200b}", "plain"];

/// An address that is as long as addresses get.
const LONG: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x1234, 0x5678, 0x9abc, 0xdef0, 0x1234, 0x5678, 0x9abc);

const COLUMNS: u16 = 80;

const LIMIT: Duration = Duration::from_secs(20);

/// Clients of all names to a server, by IPv4 and by IPv6 with a long address.
fn load(netns: &Netns) -> Result<()> {
    netns.run(|| iface::add_address("lo", LONG.into(), 128))?;
    let programs = Programs::new()?;
    let everywhere: IpAddr = Ipv6Addr::UNSPECIFIED.into();
    let server = Peer::server_at(
        Place::new(netns, &programs.named("a server | of * all")?),
        &Server::new(&[everywhere], Script::answers()),
    )?;
    for name in NAMES {
        let program = programs.named(name)?;
        let targets = [LOCALHOST, LONG.into()].map(|ip| SocketAddr::new(ip, server.port()));
        let done = Peer::client_at(Place::new(netns, &program), &Client::new(&targets, 6, Script::asks(2)))?.run()?;
        ensure!(done.iter().all(|conn| conn.error.is_none()), "the generator itself failed: {done:?}");
    }
    settle(netns, EMPTY)
}

/// Fails where a line has a character that a terminal obeys, or that turns text around.
fn harmless(lines: &[String]) -> Result<()> {
    let turns = ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}'];
    let is_harm = |c: char| c.is_control() || turns.iter().any(|range| range.contains(&c));
    let harmful = lines.iter().find(|line| line.contains(is_harm));
    ensure!(harmful.is_none(), "a terminal would obey {harmful:?}");
    Ok(())
}

/// The cells of a row of a table in Markdown, without what escapes.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = vec![String::new()];
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '|' => cells.push(String::new()),
            '\\' => cells.last_mut()?.extend(chars.next()),
            _ => cells.last_mut()?.push(c),
        }
    }
    Some(cells.iter().map(|cell| cell.trim().to_owned()).collect())
}

/// Whether `line` has markup that is not escaped.
fn has_markup(line: &str) -> bool {
    let mut before = ' ';
    line.chars().any(|c| {
        let is_plain = before != '\\';
        before = if c == '\\' && before == '\\' { ' ' } else { c };
        is_plain && "*_`<>[]".contains(c)
    })
}

#[test]
fn markdown_is_a_table() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let path = netns.path();
    let path = path.to_str().context("a path in /proc is text")?;
    let [markdown, json] = ["markdown", "json"].map(|format| Observer::start_as(format, &["--netns", path]));
    let (markdown, json) = (markdown?, json?);
    load(&netns)?;
    let lines = markdown.lines()?;
    harmless(&lines)?;
    let json = json.lines()?;
    harmless(&json)?;
    let told = serde_json::from_str::<serde_json::Value>(json.first().context("no JSON")?)?;
    let told = told["edges"].as_array().context("no edges")?;
    let names: Vec<&str> = told.iter().filter_map(|edge| edge["process"]["exe"].as_str()).collect();
    ensure!(NAMES.iter().all(|name| names.iter().any(|exe| exe.ends_with(&format!("/{name}")))), "JSON has {names:?}");

    let table: Vec<&String> = lines.iter().filter(|line| line.starts_with('|')).collect();
    ensure!(table.len() == 2 + told.len() && told.len() == 11, "{} edges: {table:#?}", told.len());
    let first = lines.iter().position(|line| line.starts_with('|')).context("no table")?;
    ensure!(
        lines[first..first + table.len()].iter().all(|line| line.starts_with('|')),
        "the table is torn: {lines:#?}"
    );
    ensure!(first > 0 && lines[first - 1].is_empty(), "a table begins after an empty line: {lines:#?}");
    let rows = table.iter().map(|line| cells(line).with_context(|| line.to_string())).collect::<Result<Vec<_>>>()?;
    for row in &rows {
        ensure!(row.len() == rows[0].len(), "{} cells, not {}: {row:?}", row.len(), rows[0].len());
    }
    ensure!(rows[0].iter().all(|title| !title.is_empty()), "{:?}", rows[0]);
    let is_rule =
        |cell: &String| cell.trim_matches(':').len() >= 2 && cell.trim_matches(':').bytes().all(|c| c == b'-');
    ensure!(rows[1].iter().all(is_rule), "not what divides head and rows: {:?}", rows[1]);
    for line in table.iter().skip(2) {
        ensure!(!has_markup(line), "a name is markup: {line}");
    }
    for name in ["a|b*c_d", "`x` <i>[y](z)", "plain", "a server | of * all"] {
        ensure!(rows.iter().any(|row| row[0] == name), "{name} is told as it is: {rows:#?}");
    }
    Ok(())
}

/// An agent that writes to a terminal.
struct Shown {
    child: Child,
    stderr: Lines,
    stdout: Lines,
}

impl Shown {
    fn start(netns: &Netns) -> Result<Self> {
        let (terminal, theirs) = Terminal::new(COLUMNS)?;
        let mut command = agent::command()?;
        command.args(["audit", "--for", "10m", "--netns"]).arg(netns.path()).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(theirs).stderr(Stdio::piped());
        let mut child = command.spawn().context("start the agent")?;
        // With the command goes this process's own copy of the terminal's end.
        drop(command);
        let stderr = Lines::collect(child.stderr.take().context("no stderr")?);
        let shown = Self { child, stderr, stdout: terminal.lines() };
        let is_ready = |lines: &[String]| lines.iter().any(|line| line.starts_with("redial: watching")).then_some(());
        shown.stderr.wait(LIMIT, is_ready).with_context(|| format!("it does not watch:\n{}", shown.stderr.text()))?;
        Ok(shown)
    }

    fn stop(mut self) -> Result<Vec<String>> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT).context("stop the agent")?;
        let status = agent::wait(&mut self.child, LIMIT)?;
        ensure!(status.success(), "the agent ended with {status}:\n{}", self.stderr.text());
        ensure!(self.stdout.wait_end(LIMIT), "the terminal is still written to");
        // A terminal ends lines with both.
        Ok(self.stdout.all().iter().map(|line| line.trim_end_matches('\r').to_owned()).collect())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_table_keeps_within_80_columns() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let shown = Shown::start(&netns)?;
    load(&netns)?;
    let lines = shown.stop()?;
    harmless(&lines)?;
    let head = lines.iter().position(|line| line.starts_with("PROCESS")).context("no table")?;
    let table: Vec<&String> = lines[head..].iter().take_while(|line| !line.is_empty()).collect();
    ensure!(table.len() == 12, "11 edges: {table:#?}");
    let wide: Vec<_> = table.iter().filter(|line| line.chars().count() > usize::from(COLUMNS)).collect();
    ensure!(wide.is_empty(), "wider than {COLUMNS}:\n{wide:#?}");
    Ok(())
}
