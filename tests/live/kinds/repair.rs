//! TCP_REPAIR: a connection taken from one socket and put into another, as checkpoint and restore do.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::{errno::Errno, libc};
use redial_tests::{agent::Agent, gate::live, netns::Netns, record::Role};
use socket2::Socket;

use crate::{
    LOCALHOST,
    pair::{self, ANSWER, ASK, Answerer, ask, local, own, record, set_option, settle},
};

const RECEIVE_QUEUE: i32 = 1;
const SEND_QUEUE: i32 = 2;

fn tcp(socket: &Socket, name: i32, value: i32) -> Result<()> {
    set_option(socket, libc::IPPROTO_TCP, name, value)
}

/// Reads an option of `N` integers.
fn read<const N: usize>(socket: &Socket, name: i32) -> Result<[i32; N]> {
    let (mut value, mut len) = ([0_i32; N], size_of::<[i32; N]>() as u32);
    // SAFETY: the kernel writes at most the integers, whose length is given.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, name, (&raw mut value).cast(), &raw mut len) };
    Errno::result(result).with_context(|| format!("read TCP socket option {name}"))?;
    Ok(value)
}

/// The sequence number of a queue.
fn sequence(socket: &Socket, queue: i32) -> Result<i32> {
    tcp(socket, libc::TCP_REPAIR_QUEUE, queue)?;
    let [number] = read(socket, libc::TCP_QUEUE_SEQ)?;
    Ok(number)
}

/// Gives a restored socket the windows (`struct tcp_repair_window`) of the one that it was taken from.
fn set_windows(socket: &Socket, windows: [i32; 5]) -> Result<()> {
    // SAFETY: the kernel reads the integers, whose length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR_WINDOW,
            (&raw const windows).cast(),
            size_of_val(&windows) as u32,
        )
    };
    Errno::result(result).context("restore the windows")?;
    Ok(())
}

#[test]
fn taken_and_restored() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let (pid, _) = own();
    let netns = Netns::new()?;
    let agent = Agent::in_netns(&netns)?;
    let (listener, to) = pair::listener(&netns, LOCALHOST, 0, |_| Ok(()))?;
    let answerer = Answerer::start(listener)?;
    let taken = pair::socket(&netns, LOCALHOST, 0)?;
    taken.connect(&to.into())?;
    let from = local(&taken)?;
    ask(&taken, 2)?;
    tcp(&taken, libc::TCP_REPAIR, 1)?;
    let sequences = [(RECEIVE_QUEUE, sequence(&taken, RECEIVE_QUEUE)?), (SEND_QUEUE, sequence(&taken, SEND_QUEUE)?)];
    tcp(&taken, libc::TCP_REPAIR_QUEUE, 0)?;
    let windows = read(&taken, libc::TCP_REPAIR_WINDOW)?;
    drop(taken);
    let restored = pair::socket(&netns, LOCALHOST, 0)?;
    restored.set_reuse_address(true)?;
    tcp(&restored, libc::TCP_REPAIR, 1)?;
    restored.bind(&from.into())?;
    for (queue, number) in sequences {
        tcp(&restored, libc::TCP_REPAIR_QUEUE, queue)?;
        tcp(&restored, libc::TCP_QUEUE_SEQ, number)?;
    }
    restored.connect(&to.into())?;
    tcp(&restored, libc::TCP_REPAIR_QUEUE, 0)?;
    set_windows(&restored, windows)?;
    tcp(&restored, libc::TCP_REPAIR, 0)?;
    ask(&restored, 2)?;
    drop(restored);
    settle();
    let trace = agent.stop()?;
    let server = record(&trace, Role::Server, to, from)?;
    ensure!(server.exchanges == Some(4) && server.pid == Some(answerer.owner().0), "noticed nothing: {server:?}");
    ensure!(server.bytes_received == Some(4 * ASK) && server.bytes_sent == Some(4 * ANSWER), "{server:?}");
    let clients: Vec<_> = trace.records.iter().filter(|r| r.is(Role::Client)).collect();
    ensure!(clients.len() == 2 && trace.records.len() == 3, "a record for each socket: {:#?}", trace.records);
    for client in &clients {
        ensure!(client.pid == Some(pid) && client.exchanges == Some(2), "two exchanges each: {client:?}");
        ensure!(client.bytes_sent == Some(2 * ASK) && client.bytes_received == Some(2 * ANSWER), "{client:?}");
    }
    let restored = clients[1];
    ensure!(restored.closed_by.as_deref() == Some("local"), "{restored:?}");
    ensure!(restored.connect_s.is_none(), "there was no handshake: {restored:?}");
    Ok(())
}
