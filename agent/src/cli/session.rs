//! One watch: from a source of records to totals, with each connection shown as it passes.

use std::{borrow::Cow, io, net::IpAddr};

use anyhow::{Context, Result};
use jiff::Timestamp;
use redial_common::{loss::Counter, record::conn::Conn};
use rustix::{
    system::uname,
    time::{ClockId, clock_getres},
};

use super::{filter::Filter, tables::Tables};
use crate::{
    enrich::{Enricher, Identity, address::address},
    host::reading::Reading,
    intake::{Event, RecordSource},
    snapshot::{
        Snapshot,
        build::{Frame, build},
        connection::{Connection, WallClock},
        losses::{LeftOut, Losses},
    },
    state::{
        State,
        key::{By, is_other},
    },
};

/// What is done with each connection as it passes.
pub type Show<'a> = &'a mut dyn FnMut(&Connection) -> io::Result<()>;

/// A watch over a source of records.
pub struct Session<S> {
    source: S,
    start_ns: u64,
    folder: Folder,
}

/// All that is behind the source.
struct Folder {
    enricher: Enricher,
    filter: Filter,
    state: State,
    max_edges: usize,
    clock: WallClock,
    /// Length of the kernel's tick, seconds.
    tick_s: f64,
    /// Connections that the filter left out.
    filtered: u64,
    /// Connections whose totals do not say whether the filter wants them.
    untold: u64,
}

impl<S: RecordSource> Session<S> {
    /// Begins a watch now, with edges told apart `by` this and never more than `max_edges`.
    pub fn new(source: S, enricher: Enricher, filter: Filter, by: By, max_edges: usize) -> Self {
        let tick = clock_getres(ClockId::MonotonicCoarse);
        let clock = WallClock { monotonic_ns: source.now_ns(), wall: Timestamp::now() };
        Self {
            start_ns: source.since_ns(),
            source,
            folder: Folder {
                enricher,
                filter,
                state: State::new(max_edges, by),
                max_edges,
                clock,
                tick_s: tick.tv_sec as f64 + tick.tv_nsec as f64 / 1e9,
                filtered: 0,
                untold: 0,
            },
        }
    }

    /// Takes in what there is, with each connection passed to `show` if there is one, and returns how many events that
    /// was.
    pub fn drain(&mut self, mut show: Option<Show<'_>>) -> Result<usize> {
        let Self { source, folder, .. } = self;
        let now_ns = source.now_ns();
        let mut result = Ok(());
        let count = source.drain(&mut |event| {
            // After a failure to write there is nobody to show more to, but totals go on.
            let shown = if result.is_ok() { show.as_mut().map(|show| &mut **show as Show<'_>) } else { None };
            if let Err(error) = folder.take(event, now_ns, shown) {
                result = Err(error);
            }
        })?;
        result.context("cannot write the output")?;
        Ok(count)
    }

    /// What a person should know of now, each once.
    pub fn notices(&mut self) -> Vec<String> {
        self.source.notices()
    }

    /// Ends the watch: takes in all that is left and makes the totals. With the host's tables as they were at its
    /// beginning, they are read again and joined.
    pub fn finish(mut self, mut show: Option<Show<'_>>, first: Option<&Reading>) -> Result<Snapshot<'static>> {
        let Self { source, folder, start_ns } = &mut self;
        // Before the end: what closes after that is not told any more.
        let tables = first.and_then(|_| Tables::read());
        let now_ns = source.now_ns();
        let mut result = Ok(());
        source.finish(&mut |event| {
            let shown = if result.is_ok() { show.as_mut().map(|show| &mut **show as Show<'_>) } else { None };
            if let Err(error) = folder.take(event, now_ns, shown) {
                result = Err(error);
            }
        })?;
        result.context("cannot write the output")?;
        source.notices().iter().for_each(|notice| eprintln!("redial: {notice}"));
        let now_ns = source.now_ns();
        // Nothing changes any more, so a connection is either in a record or alive.
        let mut live = State::new(folder.max_edges, folder.state.by());
        source.live(&mut |conn| folder.take_live(conn, now_ns, &mut live))?;
        let tables = tables.as_ref().map(|tables| tables.join(first, &folder.state, &mut live, &folder.filter));
        let counters = source.counters()?;
        let mut losses = Losses::of(&counters);
        losses.folded_other += folder.untold;
        let self_limit = source.self_limit();
        // What nothing watched is not part of the window.
        let paused_ns = self_limit.as_ref().map_or(0, |limit| (limit.paused_s * 1e9) as u64);
        let frame = Frame {
            window_ns: now_ns.saturating_sub(*start_ns).saturating_sub(paused_ns),
            host: uname().nodename().to_str().ok().map(str::to_owned),
            probes: source.probes(),
            self_limit,
            losses,
            repaired: counters.get(Counter::Repaired),
            left_out: LeftOut {
                own: counters.get(Counter::Own),
                filtered: counters.get(Counter::Filtered) + folder.filtered,
            },
            tables: tables.as_ref(),
        };
        let name_of = |address: IpAddr| folder.enricher.resolve(address).map(|name| name.to_string());
        let dropped = folder.enricher.names_dropped();
        if dropped > 0 {
            eprintln!("redial: {dropped} names were not asked for, for too many were waiting");
        }
        let ended = std::mem::replace(&mut folder.state, State::new(1, live.by()));
        Ok(build(frame, Cow::Owned(ended), Cow::Owned(live), &name_of))
    }
}

impl Folder {
    fn take(&mut self, event: &Event, now_ns: u64, show: Option<Show<'_>>) -> io::Result<()> {
        match event {
            Event::Process(process) => self.enricher.observe(process),
            Event::Opened(conn) => {
                if let Some(who) = self.identify(conn, now_ns) {
                    return self.show(conn, &who, show);
                }
            }
            Event::Ended(conn) => match self.identify(conn, now_ns) {
                Some(who) => {
                    self.state.ended(conn, &who);
                    // So that the answer is there when the name is shown.
                    self.enricher.anticipate(address(conn.family, &conn.remote));
                    return self.show(conn, &who, show);
                }
                None => self.filtered += 1,
            },
            Event::Folded(key, totals) => match self.filter.allows_fold(key) {
                Some(true) => {
                    let who = self.enricher.identify_fold(key, totals, now_ns);
                    if self.filter.allows_owner(&who) {
                        self.state.folded(key, totals, &who, now_ns);
                    } else {
                        self.filtered += totals.records;
                    }
                }
                Some(false) => self.filtered += totals.records,
                // Those that had no edge of their own are counted by the kernel already.
                None if is_other(key) => {}
                None => self.untold += totals.records,
            },
        }
        Ok(())
    }

    fn take_live(&mut self, conn: &Conn, now_ns: u64, live: &mut State) {
        if let Some(who) = self.identify(conn, now_ns) {
            live.live(conn, &who);
        }
    }

    /// The owner of `conn`; `None` when the filters do not want it.
    fn identify(&mut self, conn: &Conn, now_ns: u64) -> Option<Identity> {
        let who = self.filter.allows_conn(conn).then(|| self.enricher.identify(conn, now_ns))?;
        self.filter.allows_owner(&who).then_some(who)
    }

    fn show(&self, conn: &Conn, who: &Identity, show: Option<Show<'_>>) -> io::Result<()> {
        let Some(show) = show else { return Ok(()) };
        let name = self.enricher.name_of(address(conn.family, &conn.remote));
        show(&Connection::of(conn, who, name, &self.clock, self.tick_s))
    }
}

#[cfg(test)]
mod tests;
