//! Filters hold for sockets in TIME_WAIT too, whether somebody is known to own them or not.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use redial_tests::{
    gate::live,
    kernel::Ends,
    observer::Observer,
    programs::{Programs, text},
    record::Role,
    settle::{EMPTY, settle},
};

use crate::{
    LOCALHOST,
    load::{First, Held, Owners, UNKNOWN, netns, said, serve, sockets},
};

/// What a filter leaves of a socket's owner, role and ends.
type Wanted = Box<dyn Fn(&str, Role, Ends) -> bool>;

#[test]
fn each_filter_leaves_what_it_says() -> Result<()> {
    if !live() {
        return Ok(());
    }
    let programs = Programs::new()?;
    let [alpha, beta, server] = programs.all(["alpha", "beta", "server"])?;
    let (netns, other) = (netns()?, netns()?);
    let second: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
    let mut owners = Owners::default();
    let mut plain = serve(&netns, &server, LOCALHOST, First::Client)?;
    let mut turned = serve(&netns, &server, second, First::Server)?;
    let mut elsewhere = serve(&other, &server, LOCALHOST, First::Client)?;
    let (ports, pid) = ((plain.port(), turned.port()), turned.pid());
    let mut load = |scale: u32, who: Option<&str>| {
        owners.load((&netns, &alpha), &mut plain, 3 * scale, First::Client, who)?;
        owners.load((&netns, &beta), &mut plain, 4 * scale, First::Client, who)?;
        owners.load((&netns, &alpha), &mut turned, 5 * scale, First::Server, who)?;
        owners.load((&other, &alpha), &mut elsewhere, 7 * scale, First::Client, who)
    };
    load(1, Some(UNKNOWN))?;
    let path = netns.path();
    let path = path.to_str().context("a path in /proc is text")?.to_owned();
    let of_server = |role: Role, (local, remote): Ends| if role == Role::Server { local.port() } else { remote.port() };
    let by_alpha = text(&alpha);
    let filters: [(Vec<String>, Wanted); 8] = [
        (vec!["--port".into(), ports.0.to_string()], Box::new(move |_, role, ends| of_server(role, ends) == ports.0)),
        (vec!["--port".into(), ports.1.to_string()], Box::new(move |_, role, ends| of_server(role, ends) == ports.1)),
        (vec!["--remote".into(), "127.0.0.1".into()], Box::new(|_, _, (_, remote)| remote.ip() == LOCALHOST)),
        (vec!["--remote".into(), "127.0.0.2/31".into()], Box::new(move |_, _, (_, remote)| remote.ip() == second)),
        (vec!["--role".into(), "client".into()], Box::new(|_, role, _| role == Role::Client)),
        (vec!["--role".into(), "server".into()], Box::new(|_, role, _| role == Role::Server)),
        (vec!["--comm".into(), "alpha".into()], Box::new(move |who, _, _| who == by_alpha)),
        (vec!["--pid".into(), pid.to_string()], Box::new(|who, role, _| who != UNKNOWN && role == Role::Server)),
    ];
    let mut observers = Vec::new();
    for (words, wanted) in filters {
        let all: Vec<&str> = ["--netns", &path].into_iter().chain(words.iter().map(String::as_str)).collect();
        observers.push((Observer::start(&all)?, words, wanted));
    }
    load(2, None)?;
    settle(&netns, EMPTY)?;
    settle(&other, EMPTY)?;
    let inodes = [netns.inode()?, other.inode()?];
    let mut wrong = Vec::new();
    for (observer, words, wanted) in observers {
        let snapshot = observer.stop()?;
        let wanted: Held = owners.held(&netns, &sockets(&netns)?, wanted)?;
        let said = said(&snapshot, &inodes)?;
        let sum: u64 = wanted.values().sum();
        if said != wanted || snapshot.totals.time_wait != Some(sum) {
            wrong.push(format!(
                "{words:?}: edges hold\n{said:#?}\nof {:?}, not\n{wanted:#?}",
                snapshot.totals.time_wait
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
