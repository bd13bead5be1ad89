//! TCP keepalive: whether it is on, and after how long it probes.

use anyhow::{Context, Result, ensure};
use nix::libc;
use redial_tests::{agent::Agent, gate::live, netns::Netns};

use crate::{
    LOCALHOST,
    pair::{self, Answerer, ask, both, local, settle},
};

/// SO_KEEPALIVE, TCP_KEEPIDLE, and what must be recorded: whether it is on, and its time.
const CASES: [(bool, Option<i32>, Option<f64>); 8] = [
    (true, Some(60), Some(60.0)),
    (true, Some(1), Some(1.0)),
    (true, Some(17), Some(17.0)),
    (true, Some(7200), Some(7200.0)),
    (true, Some(32_767), Some(32_767.0)),
    // The namespace's own time.
    (true, None, Some(90.0)),
    (false, None, None),
    // A time alone switches nothing on.
    (false, Some(55), None),
];

#[test]
fn idle_time_is_exact() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    netns.sysctl("ipv4/tcp_keepalive_time", "90")?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = pair::listener(&netns, LOCALHOST, 0, |_| Ok(()))?;
    let _answerer = Answerer::start(listener)?;
    let mut clients = Vec::new();
    for (on, idle, _) in CASES {
        let socket = pair::socket(&netns, LOCALHOST, 0)?;
        socket.connect(&to.into())?;
        pair::set_option(&socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, i32::from(on))?;
        if let Some(s) = idle {
            pair::set_option(&socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, s)?;
        }
        ask(&socket, 1)?;
        clients.push(local(&socket)?);
    }
    settle();
    let trace = agent.stop()?;
    for ((on, idle, expected), from) in CASES.into_iter().zip(clients) {
        let (client, server) = both(&trace, from, to)?;
        let about = || format!("on {on}, idle {idle:?}: {client:?}");
        ensure!(client.keepalive == Some(on), "keepalive is {on}; {}", about());
        let close = match (client.keepalive_idle_s, expected) {
            (Some(recorded), Some(expected)) => (recorded - expected).abs() < 1e-6,
            (recorded, expected) => recorded == expected,
        };
        ensure!(close, "keepalive_idle_s is {expected:?}; {}", about());
        ensure!(server.keepalive == Some(false), "the server has none: {server:?}");
    }
    Ok(())
}

/// A connection that does nothing for a while is kept, and its silence measured.
#[test]
fn long_idle() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = pair::listener(&netns, LOCALHOST, 0, |_| Ok(()))?;
    let _answerer = Answerer::start(listener)?;
    let socket = pair::socket(&netns, LOCALHOST, 0)?;
    socket.connect(&to.into())?;
    pair::set_option(&socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    pair::set_option(&socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 1)?;
    pair::set_option(&socket, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 1)?;
    let from = local(&socket)?;
    ask(&socket, 1)?;
    // Long enough for the kernel's probes, which are no activity.
    let silence = std::time::Duration::from_millis(3_300);
    std::thread::sleep(silence);
    ask(&socket, 1)?;
    std::thread::sleep(silence);
    drop(socket);
    settle();
    let trace = agent.stop()?;
    let (client, server) = both(&trace, from, to)?;
    for end in [client, server] {
        ensure!(end.exchanges == Some(2), "two exchanges: {end:?}");
        let idle = end.idle_before_reuse_s.context("an idle time before the second")?;
        let is_silence = |s: f64| (s - silence.as_secs_f64()).abs() < 0.3;
        ensure!(idle.count == 1 && idle.max.is_some_and(is_silence), "silent for {silence:?}: {end:?}");
        ensure!(end.idle_at_close_s.is_some_and(is_silence), "silent for {silence:?} before the close: {end:?}");
    }
    let bytes = (client.bytes_sent, client.bytes_received);
    ensure!(bytes == (Some(2 * pair::ASK), Some(2 * pair::ANSWER)), "probes are no payload: {client:?}");
    ensure!(client.retransmits == Some(0), "probes are not sent again: {client:?}");
    Ok(())
}
