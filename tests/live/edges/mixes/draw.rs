//! Draws mixes: the same numbers give the same mix.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use redial_tests::traffic::spec::{Io, Serving};

use super::plan::{ClientPlan, Ending, Fault, FaultPlan, Listen, Mix, ServerPlan};

/// How many executables clients, and servers, have.
pub const PROGRAMS: usize = 3;

const IOS: [Io; 7] = [Io::Blocking, Io::Nonblocking, Io::ReadWrite, Io::Sendfile, Io::Splice, Io::Peek, Io::Uring];

/// The mix with this number of the run with this seed. `is_lasting`: every process is there until the end.
pub fn mix(seed: u64, number: usize, is_lasting: bool) -> Mix {
    let mut rng = Rng::with_seed(seed.rotate_left(32) ^ number as u64);
    let server = server(&mut rng, is_lasting);
    let clients = (0..rng.u32(1..=2)).map(|_| client(&mut rng, &server)).collect();
    let fault = (rng.u8(..4) == 0).then(|| fault(&mut rng));
    Mix { number, server, clients, fault }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

fn bytes(rng: &mut Rng) -> usize {
    match rng.u8(..10) {
        0 => rng.usize(50_000..=200_000),
        1..=2 => rng.usize(2_000..=20_000),
        _ => rng.usize(1..=2_000),
    }
}

fn io(rng: &mut Rng) -> Io {
    if rng.bool() { Io::Blocking } else { pick(rng, &IOS) }
}

fn server(rng: &mut Rng, is_lasting: bool) -> ServerPlan {
    let ending = loop {
        let ending = pick(rng, &Ending::ALL);
        if !(is_lasting && ending == Ending::ClientExits) {
            break ending;
        }
    };
    let serving = match rng.u8(..10) {
        // Connections that are held are served at the same time.
        0 | 1 if !is_lasting => Serving::Fork,
        2 if !ending.is_held() => Serving::Prefork(rng.u32(1..=3)),
        3 if !ending.is_held() => Serving::Pass,
        4 if !ending.is_held() => Serving::Uring,
        _ => Serving::Threads,
    };
    let listen = match rng.u8(..4) {
        0 => Listen::At(Ipv6Addr::LOCALHOST.into()),
        1 => Listen::Everywhere,
        _ => Listen::At(Ipv4Addr::new(127, 0, 0, rng.u8(1..=9)).into()),
    };
    // Without data nobody but the kernel knows who took a connection that io_uring accepted.
    let least = u32::from(serving == Serving::Uring);
    ServerPlan {
        program: rng.usize(..PROGRAMS),
        listen,
        serving,
        io: io(rng),
        request: bytes(rng),
        answer: bytes(rng),
        ending,
        rounds: rng.u32(least..=5),
    }
}

fn client(rng: &mut Rng, server: &ServerPlan) -> ClientPlan {
    let targets: Vec<IpAddr> = match server.listen {
        Listen::At(address) => vec![address],
        Listen::Everywhere => (0..rng.u8(1..=4)).map(|_| anywhere(rng)).collect(),
    };
    let sources = if targets.iter().all(IpAddr::is_ipv4) && rng.u8(..4) == 0 {
        (0..rng.u8(1..=4)).map(|_| Ipv4Addr::new(127, 0, 1, rng.u8(1..=9))).collect()
    } else {
        Vec::new()
    };
    let connections = if server.ending == Ending::ClientExits { 1 } else { rng.u32(1..=8) };
    // Who resets before the server has accepted leaves it a connection of nobody's.
    let least = u32::from(server.ending == Ending::ClientResets || server.serving == Serving::Uring);
    ClientPlan {
        program: rng.usize(..PROGRAMS),
        targets,
        sources,
        connections,
        threads: if server.ending.is_held() { connections } else { rng.u32(1..=3) },
        rounds: if server.ending.is_clients() { rng.u32(least..=6) } else { server.rounds },
        io: io(rng),
        is_early: rng.bool(),
    }
}

fn anywhere(rng: &mut Rng) -> IpAddr {
    let v4 = Ipv4Addr::new(127, 0, 0, rng.u8(1..=9));
    match rng.u8(..4) {
        0 => Ipv6Addr::LOCALHOST.into(),
        1 => v4.to_ipv6_mapped().into(),
        _ => v4.into(),
    }
}

fn fault(rng: &mut Rng) -> FaultPlan {
    let faults = [Fault::Refused, Fault::Unreachable, Fault::Cancelled, Fault::Connecting];
    FaultPlan { program: rng.usize(..PROGRAMS), fault: pick(rng, &faults), attempts: rng.u32(1..=5) }
}
