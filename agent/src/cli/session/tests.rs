//! Tests of a whole watch over a source that is only a list of events.

use std::path::Path;

use redial_common::{
    edge::{FoldKey, FoldTotals},
    record::conn::flag,
    tcp::{closed_by, family, role, state},
};

use super::{super::remote::RemoteFilter, *};
use crate::{
    enrich::{hosts::Hosts, process::Processes, procfs::Procfs},
    intake::Counters,
    kernel::{options::Options, status::ProbeStatus},
};

/// A source that tells `first` when drained, `last` at the end, and has `alive` then.
#[derive(Default)]
struct List {
    first: Vec<Event>,
    last: Vec<Event>,
    alive: Vec<Conn>,
    counters: Counters,
}

impl RecordSource for List {
    fn drain(&mut self, sink: &mut dyn FnMut(&Event)) -> Result<usize> {
        let events = std::mem::take(&mut self.first);
        events.iter().for_each(sink);
        Ok(events.len())
    }

    fn finish(&mut self, sink: &mut dyn FnMut(&Event)) -> Result<()> {
        std::mem::take(&mut self.last).iter().for_each(sink);
        Ok(())
    }

    fn live(&mut self, sink: &mut dyn FnMut(&Conn)) -> Result<()> {
        self.alive.iter().for_each(sink);
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters> {
        Ok(self.counters.clone())
    }

    fn probes(&self) -> Vec<ProbeStatus> {
        Vec::new()
    }

    fn since_ns(&self) -> u64 {
        0
    }

    fn now_ns(&self) -> u64 {
        10_000_000_000
    }
}

fn conn(last_octet: u8, end_ns: u64) -> Conn {
    Conn {
        flags: flag::TURNS_WATCHED | flag::FINAL_READ,
        start_ns: 1_000,
        established_ns: 2_000,
        end_ns,
        exchanges: 1,
        remote: [10, 0, 0, last_octet, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        remote_port: 80,
        family: family::INET,
        role: role::CLIENT,
        state: state::ESTABLISHED,
        closed_by: if end_ns == 0 { closed_by::NONE } else { closed_by::LOCAL },
        ..Conn::ZERO
    }
}

fn fold(role: u8, records: u64) -> Event {
    let one = Conn { role, closed_by: closed_by::REMOTE, ..conn(1, 3) };
    let mut totals = FoldTotals::default();
    (0..records).for_each(|_| totals.add(&one));
    Event::Folded(FoldKey { tgid: 0, ..FoldKey::of(&one, 0, 0) }, totals)
}

fn session(list: List, remotes: &[&str]) -> Session<List> {
    let enricher =
        Enricher::new(Processes::new(Procfs::new(Path::new("/nonexistent")), 10), Hosts::parse("10.0.0.1 web"));
    let remotes: Vec<_> = remotes.iter().map(|remote| remote.parse().unwrap()).collect();
    let filter = Filter::new(&Options::default(), RemoteFilter::resolve(&remotes).unwrap(), &[]);
    Session::new(list, enricher, filter, By::Edge, 100)
}

#[test]
fn every_connection_is_counted_once_and_shown_once() {
    let list = List {
        first: vec![Event::Ended(conn(1, 5_000)), Event::Opened(conn(1, 0))],
        last: vec![Event::Ended(conn(2, 6_000)), fold(role::CLIENT, 3)],
        alive: vec![conn(1, 0), conn(2, 6_000)],
        ..List::default()
    };
    let mut shown = Vec::new();
    let mut session = session(list, &[]);
    let mut show = |connection: &Connection| {
        shown.push((connection.event, connection.remote.name.clone()));
        Ok(())
    };
    assert_eq!(session.drain(Some(&mut show)).unwrap(), 2);
    let end = session.finish(Some(&mut show), None).unwrap();
    use crate::snapshot::connection::What::{Closed, Opened};
    assert_eq!(shown, [(Closed, Some("web".into())), (Opened, Some("web".into())), (Closed, None)]);
    let totals = end.totals;
    assert_eq!((end.records, end.folded, totals.opened, totals.closed, totals.open), (2, 3, 6, 5, 1));
}

#[test]
fn the_filter_by_remote_counts_what_it_leaves_out() {
    let list = List {
        first: vec![Event::Ended(conn(1, 5_000)), Event::Ended(conn(2, 5_000)), Event::Opened(conn(2, 0))],
        last: vec![fold(role::CLIENT, 3), fold(role::SERVER, 4)],
        alive: vec![conn(2, 0)],
        ..List::default()
    };
    let mut session = session(list, &["10.0.0.1"]);
    let mut lines = 0;
    session
        .drain(Some(&mut |_| {
            lines += 1;
            Ok(())
        }))
        .unwrap();
    let end = session.finish(None, None).unwrap();
    assert_eq!((lines, end.records, end.folded, end.totals.opened), (1, 1, 3, 4));
    assert_eq!(end.left_out.filtered, 1);
    assert_eq!(end.losses.folded_other, 4, "totals of a server do not tell the remote");
}

#[test]
fn a_reader_that_goes_away_is_told_apart() {
    let list = List { first: vec![Event::Ended(conn(1, 5_000)); 3], ..List::default() };
    let mut calls = 0;
    let result = session(list, &[]).drain(Some(&mut |_| {
        calls += 1;
        Err(io::ErrorKind::BrokenPipe.into())
    }));
    assert_eq!(calls, 1);
    assert!(crate::cli::failure::Failure::Other(result.unwrap_err()).is_broken_pipe());
}
