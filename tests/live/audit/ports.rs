//! An edge's ephemeral ports: as many as then are found, and when they end if connections go on as they did.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    clock::poll_until,
    connections::exhaust,
    gate::live,
    host_tables::Ports,
    kernel,
    ledger::Far,
    netns::Netns,
    observer::Observer,
    peer::{Peer, Place},
    programs::{Programs, text},
    relay::{CLIENT, CLIENT6, Relay, SERVER, SERVER6},
    snapshot::Snapshot,
    traffic::spec::{Client, Step},
};

use crate::{
    LOCALHOST,
    load::{First, asks, far_of, serve, who},
};

/// 200 ports.
const RANGE: &str = "40000 40199";
const CAPACITY: u32 = 200;

/// Longer than TIME_WAIT keeps a port that may be used again.
const REUSABLE: Duration = Duration::from_millis(1300);

/// A namespace with few ports, a server, and clients that use them up.
struct Site<'a> {
    netns: &'a Netns,
    server: Peer,
    programs: Programs,
}

impl<'a> Site<'a> {
    /// With a server at `address` of `server`.
    fn new(netns: &'a Netns, server: &Netns, address: IpAddr) -> Result<Self> {
        netns.sysctl("ipv4/ip_local_port_range", RANGE)?;
        let programs = Programs::new()?;
        let server = serve(server, &programs.named("server")?, address, First::Client)?;
        Ok(Self { netns, server, programs })
    }

    fn remote(&self) -> SocketAddr {
        self.server.listening()[0]
    }

    /// One after the other, `n` connections of each of `names`, which stay in TIME_WAIT; and `open` of the first, which
    /// stay open while `then` observes.
    fn audit(&self, names: &[&str], n: u32, open: u32, wait: Duration) -> Result<(Snapshot, Vec<PathBuf>)> {
        let clients = names.iter().map(|name| self.programs.named(name)).collect::<Result<Vec<_>>>()?;
        let observer = Observer::in_netns(self.netns, &[])?;
        let mut left = 0;
        for client in &clients {
            let spec = Client::new(&[self.remote()], n, asks(First::Client));
            left += Peer::client_at(Place::new(self.netns, client), &spec)?.run()?.len() as u64;
        }
        let script = asks(First::Client).tail(&[Step::Hold]);
        // It stays, and so the namespace is known.
        let spec = Client::new(&[self.remote()], open, script).threads(open.max(1)).linger();
        let mut holding = Peer::client_at(Place::new(self.netns, &clients[0]), &spec)?;
        holding.go()?;
        holding.wait_held(open as usize)?;
        // The last acknowledgement passes the relay.
        let is_over = || kernel::time_wait_held(self.netns).is_ok_and(|held| held == left);
        ensure!(poll_until(Duration::from_secs(5), is_over), "{left} are not in TIME_WAIT");
        sleep(wait);
        let snapshot = observer.stop()?;
        let available = ports_of(&snapshot, &clients[0], self.remote())?.available;
        // Those that were open are so still.
        let found = exhaust(self.netns, self.remote(), CAPACITY as usize)?;
        ensure!(found.len() as u32 == available, "{} connections found a port, not {available}", found.len());
        Ok((snapshot, clients))
    }
}

fn ports_of(snapshot: &Snapshot, program: &Path, remote: SocketAddr) -> Result<Ports> {
    for edge in &snapshot.edges {
        if who(edge) == text(program) && far_of(edge)? == Far::Remote(remote) {
            return edge.ports.with_context(|| format!("ports are not told: {edge:?}"));
        }
    }
    anyhow::bail!("no edge of {} to {remote}: {:?}", program.display(), snapshot.edges)
}

/// When `ports` end, if `n` went to TIME_WAIT for 60 s each within the window.
fn exhausted_in_s(ports: Ports, n: u32, snapshot: &Snapshot) -> f64 {
    f64::from(ports.available) * snapshot.window_s / f64::from(n)
}

#[test]
fn available_is_what_is_found_and_churn_uses_it_up() -> Result<()> {
    if !live() {
        return Ok(());
    }
    for (source, server) in [(IpAddr::from(CLIENT), IpAddr::from(SERVER)), (CLIENT6.into(), SERVER6.into())] {
        let relay = Relay::new(Duration::ZERO)?;
        let site = Site::new(&relay.client, &relay.server, server)?;
        let (snapshot, clients) = site.audit(&["alpha"], 60, 7, Duration::ZERO)?;
        let ports = ports_of(&snapshot, &clients[0], site.remote())?;
        ensure!((ports.used, ports.available) == (67, CAPACITY - 67), "from {source}: {ports:?}");
        let wanted = exhausted_in_s(ports, 60, &snapshot);
        let is_near = ports.exhausted_in_s.is_some_and(|said| (said - wanted).abs() < wanted * 0.01);
        ensure!(is_near, "60 of {CAPACITY} ports in {} s: {wanted} s from {source}, not {ports:?}", snapshot.window_s);
    }
    Ok(())
}

/// Two programs share the ports: each alone would not use them up, both do.
#[test]
fn churn_of_all_programs_uses_ports_up() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::ZERO)?;
    let site = Site::new(&relay.client, &relay.server, SERVER.into())?;
    // In a window of 2.3 s 6 are fewer than 200 in 60 s, and 12 are more.
    let (snapshot, clients) = site.audit(&["alpha", "beta"], 6, 0, Duration::from_millis(2200))?;
    // In one of over 3.6 s both together would last.
    let runs_out = 12.0 * 60.0 > f64::from(CAPACITY) * snapshot.window_s;
    for client in &clients {
        let ports = ports_of(&snapshot, client, site.remote())?;
        let wanted = exhausted_in_s(ports, 12, &snapshot);
        let is_right = match ports.exhausted_in_s {
            Some(said) => runs_out && (said - wanted).abs() < wanted * 0.01,
            None => !runs_out,
        };
        ensure!(is_right, "12 in {} s: {wanted} s, not {ports:?} of {}", snapshot.window_s, client.display());
    }
    Ok(())
}

#[test]
fn a_calm_edge_has_ports_for_ever() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let relay = Relay::new(Duration::ZERO)?;
    let site = Site::new(&relay.client, &relay.server, SERVER.into())?;
    let (snapshot, clients) = site.audit(&["alpha"], 1, 12, Duration::from_millis(500))?;
    let ports = ports_of(&snapshot, &clients[0], site.remote())?;
    ensure!(ports == Ports { used: 13, available: CAPACITY - 13, exhausted_in_s: None }, "{ports:?}");
    Ok(())
}

/// On loopback, and where the namespace says so for all, TIME_WAIT gives ports back after 1 s.
#[test]
fn ports_that_come_back_after_a_second_do_not_run_out() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let loopback = Netns::new()?;
    let relay = Relay::new(Duration::ZERO)?;
    relay.client.sysctl("ipv4/tcp_tw_reuse", "1")?;
    let mut wrong = Vec::new();
    for (netns, server, address) in
        [(&loopback, &loopback, LOCALHOST), (&relay.client, &relay.server, IpAddr::from(SERVER))]
    {
        let site = Site::new(netns, server, address)?;
        let (snapshot, clients) = site.audit(&["alpha"], 80, 3, REUSABLE)?;
        let ports = ports_of(&snapshot, &clients[0], site.remote())?;
        // A server's listener takes a port of the range, perhaps.
        ensure!(ports.used == 3 && ports.available >= CAPACITY - 4, "{address}: {ports:?}");
        if ports.exhausted_in_s.is_some() {
            wrong.push(format!("80 in {} s to {address}: {ports:?}", snapshot.window_s));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
