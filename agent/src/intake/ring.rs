//! The kernel's ring, live map and fold as a source of records.

use std::{
    collections::HashSet,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues, RingBuf},
};
use redial_common::{
    edge::{FOLD_NESTED, FOLD_OTHER_ROLES, FoldKey, FoldTotals, fold_other_place},
    loss::Counter,
    record::conn::{Conn, HEAD_LEN, PASS_ADOPTS, flag},
};

use super::{
    Counters, Event, RecordSource,
    decode::decode,
    limit::{Limiter, Limits, SelfLimit, shed_at},
};
use crate::kernel::{Attached, EXISTING, RECEIVE, RETRANSMIT, Walk, budget::OFF, status::ProbeStatus};

/// No program that saw the old generation of the fold still runs after this long: they take microseconds.
const GRACE: Duration = Duration::from_millis(5);
/// How often the followed connections are compared with the kernel's sockets.
const RECONCILE_EVERY: Duration = Duration::from_secs(30);
/// A connection this young may be known before its socket can be found, ns.
const SETTLED_NS: u64 = 100_000_000;
/// Live connections read with one system call.
const BATCH: usize = 1024;

#[repr(transparent)]
#[derive(Clone, Copy)]
struct Raw<T>(T);
// SAFETY: `repr(C)` structures of integers without padding: any bytes are a value.
unsafe impl Pod for Raw<FoldKey> {}
// SAFETY: as above.
unsafe impl Pod for Raw<FoldTotals> {}
// SAFETY: as above.
unsafe impl Pod for Raw<Conn> {}

/// Which of the probes are attached that the programs take for granted.
#[derive(Clone, Copy)]
struct Watched {
    turns: bool,
    retransmits: bool,
}

impl Watched {
    /// Takes off `conn`, which the kernel has not ended, what was not watched: turns before `unwatched_until` were not.
    fn mark(self, conn: &mut Conn, unwatched_until: u64) {
        conn.drop_unwatched();
        if !self.turns || conn.start_ns < unwatched_until {
            conn.flags &= !flag::TURNS_WATCHED;
        }
        if !self.retransmits {
            conn.unanswered = u32::MAX;
        }
    }
}

/// The attached programs and their maps.
pub struct RingSource {
    attached: Attached,
    ring: RingBuf<MapData>,
    conns: Map,
    counters: PerCpuArray<MapData, u64>,
    fold: HashMap<MapData, Raw<FoldKey>, Raw<FoldTotals>>,
    fold_other: PerCpuArray<MapData, Raw<FoldTotals>>,
    generation: Array<MapData, u32>,
    watched: Watched,
    /// When the programs began to watch.
    since_ns: u64,
    /// When they ceased to.
    until_ns: Option<u64>,
    /// How many records are read at a time, lest a flood keep the reader from all else.
    batch: usize,
    /// The generation that is written now.
    writing: u8,
    /// When it was turned, while the one before is still unread.
    turned: Option<Instant>,
    /// How many folded connections the last turn covers.
    folded_seen: u64,
    /// The number of the last walk over all sockets.
    passes: u32,
    /// When the followed connections were compared with them.
    reconciled: Instant,
    limiter: Limiter,
    notices: Vec<String>,
    /// Connections that had no socket any more.
    repaired: u64,
    malformed: u64,
    /// Where records are decoded.
    event: Event,
}

impl RingSource {
    /// Takes the maps of attached programs, and keeps within `limits`.
    ///
    /// # Errors
    /// When a map is missing or of another type: the object and this program do not belong together.
    pub fn new(mut attached: Attached, limits: Limits) -> Result<Self> {
        let watched = Watched { turns: attached.has(RECEIVE), retransmits: attached.has(RETRANSMIT) };
        let live_map = attached.live_map();
        let mut take = |name: &'static str| {
            attached.ebpf_mut().take_map(name).with_context(|| format!("the object has no map {name}"))
        };
        Ok(Self {
            ring: RingBuf::try_from(take("RECORDS")?)?,
            conns: take(live_map)?,
            counters: PerCpuArray::try_from(take("COUNTERS")?)?,
            fold: HashMap::try_from(take("FOLD")?)?,
            fold_other: PerCpuArray::try_from(take("FOLD_OTHER")?)?,
            generation: Array::try_from(take("GENERATION")?)?,
            since_ns: monotonic_ns(),
            until_ns: None,
            batch: attached.ring_bytes() / HEAD_LEN,
            attached,
            watched,
            writing: 0,
            turned: None,
            folded_seen: 0,
            passes: 0,
            reconciled: Instant::now(),
            limiter: Limiter::new(limits),
            notices: Vec::new(),
            repaired: 0,
            malformed: 0,
            event: Event::Ended(Conn::ZERO),
        })
    }

    /// The programs that feed this source.
    pub fn attached(&self) -> &Attached {
        &self.attached
    }

    /// Follows the connections that exist already from now on. What cannot be seen of them is said at the probe.
    pub fn adopt(&mut self) {
        if !self.attached.has(EXISTING) {
            return;
        }
        let began = self.limiter.begin_aside();
        let walked = self.walk(true).and_then(|(walk, _)| self.attached.walk_holders().map(|()| walk));
        match walked.map(|walk| walk.unseen) {
            Ok(None) => {}
            Ok(Some((why, 0))) => self.attached.degrade(EXISTING, why),
            Ok(Some((why, count))) => {
                self.attached.degrade(EXISTING, format!("{count} network namespaces not seen: {why}"));
            }
            Err(error) => self.attached.degrade(EXISTING, format!("{error:#}")),
        }
        self.limiter.end_aside(began);
    }

    /// Walks over all sockets, and says under which number.
    fn walk(&mut self, adopts: bool) -> Result<(Walk, u32)> {
        self.passes = (self.passes + 1) % PASS_ADOPTS;
        let pass = self.passes | if adopts { PASS_ADOPTS } else { 0 };
        Ok((self.attached.walk_sockets(pass)?, pass))
    }

    /// Ends the connections whose sockets are gone: their end was missed. Where the walk `adopts`, those that are not
    /// followed are from now on.
    fn reconcile(&mut self, adopts: bool, sink: &mut dyn FnMut(&Event)) -> Result<()> {
        self.reconciled = Instant::now();
        if !self.attached.has(EXISTING) {
            return Ok(());
        }
        let began_ns = monotonic_ns();
        let (walk, pass) = self.walk(adopts)?;
        if adopts {
            self.attached.walk_holders()?;
        }
        let is_gone = |conn: &Conn| {
            conn.pass != pass && walk.namespaces.contains(&conn.netns) && conn.start_ns + SETTLED_NS < began_ns
        };
        let mut gone = Vec::new();
        self.each_live(|key, conn| {
            if is_gone(conn) {
                gone.push((*key, conn.id));
            }
        })?;
        if gone.is_empty() {
            return Ok(());
        }
        // A program that is at their end right now takes them out itself; and a walk may miss a socket once, while
        // others come and go beside it.
        std::thread::sleep(GRACE);
        let (_, again) = self.walk(false)?;
        let is_gone = |conn: &Conn| is_gone(conn) && conn.pass != again;
        let unwatched_until = self.attached.unwatched_until()?;
        let mut conns = HashMap::<_, u64, Raw<Conn>>::try_from(&mut self.conns)?;
        for (key, id) in gone {
            let Ok(Raw(mut conn)) = conns.get(&key, 0) else { continue };
            if conn.id != id || !is_gone(&conn) || conns.remove(&key).is_err() {
                continue;
            }
            self.repaired += 1;
            conn.mark_end_unseen();
            conn.end_ns = began_ns;
            self.watched.mark(&mut conn, unwatched_until);
            if self.attached.wants(&conn) {
                sink(&Event::Ended(conn));
            }
        }
        Ok(())
    }

    /// The same, where a failure is no reason to end the watch: the next walk may succeed.
    fn try_reconcile(&mut self, sink: &mut dyn FnMut(&Event)) {
        let began = self.limiter.begin_aside();
        // While nothing is watched, what was missed is made up for.
        if let Err(error) = self.reconcile(self.limiter.level() == OFF, sink) {
            self.notices.push(format!("connections were not compared with the kernel's sockets: {error:#}"));
        }
        self.limiter.end_aside(began);
    }

    /// Sheds or takes back probes, as the limits want it.
    fn keep_limits(&mut self, sink: &mut dyn FnMut(&Event)) -> Result<()> {
        let level = self.limiter.level();
        // Not to be able to measure once is no reason to end.
        let wanted = self.limiter.wanted(&self.attached).unwrap_or(level);
        if level == wanted {
            return Ok(());
        }
        let began = self.limiter.begin_aside();
        let result = self.change(level, wanted, sink);
        self.limiter.end_aside(began);
        self.limiter.enter(wanted);
        result
    }

    /// Goes from one level to another.
    fn change(&mut self, level: usize, wanted: usize, sink: &mut dyn FnMut(&Event)) -> Result<()> {
        let reason = self.limiter.reason();
        if wanted == OFF {
            self.attached.shed_all(&reason)?;
            self.notices.push(format!("nothing is watched now: {reason}"));
        } else if wanted > level {
            let probes: Vec<&str> = shed_at(wanted).collect();
            self.attached.shed(&probes, &reason)?;
            self.notices.push(format!("without probes {}: {reason}", probes.join(", ")));
        } else {
            let shed: Vec<&str> = shed_at(wanted).collect();
            self.attached.take_back(|probe| !shed.contains(&probe), monotonic_ns)?;
            if level == OFF {
                // What ended meanwhile was missed, and what began is there.
                self.reconcile(true, sink)?;
            }
            self.notices.push(match shed.is_empty() {
                true => "all probes are back".to_owned(),
                false => format!("back, but without probes {}", shed.join(", ")),
            });
        }
        Ok(())
    }

    /// Passes the live map to `sink`. An entry may come twice when the map changes meanwhile.
    fn each_live(&self, sink: impl FnMut(&u64, &Conn)) -> Result<()> {
        let Map::HashMap(conns) = &self.conns else { bail!("the map of live connections is no hash map") };
        // SAFETY: the map's keys are `u64` and its values `Conn`, both made of integers only.
        unsafe { crate::kernel::for_each_entry::<u64, Conn>(conns.fd().as_fd(), BATCH, sink) }
            .context("cannot read the live connections")
    }

    fn counter(&self, counter: Counter) -> Result<u64> {
        Ok(self.counters.get(&(counter as u32), 0)?.iter().sum())
    }

    /// Reads what the ring can hold, or what there is if that is less.
    fn drain_ring(&mut self, sink: &mut dyn FnMut(&Event)) -> usize {
        let mut count = 0;
        while count < self.batch
            && let Some(item) = self.ring.next()
        {
            count += 1;
            if decode(&item, &mut self.event).is_err() {
                self.malformed += 1;
                continue;
            }
            if let Event::Ended(conn) = &mut self.event {
                // The kernel has taken off already what it left out for a while.
                self.watched.mark(conn, 0);
                if conn.end_ns == 0 {
                    if self.attached.wants(conn) {
                        sink(&Event::Opened(*conn));
                    }
                    continue;
                }
            }
            sink(&self.event);
        }
        count
    }

    /// Reads the generation that is no longer written, once nothing can write it any more.
    fn drain_fold(&mut self, sink: &mut dyn FnMut(&Event)) -> Result<()> {
        let Some(turned) = self.turned else { return Ok(()) };
        std::thread::sleep(GRACE.saturating_sub(turned.elapsed()));
        let old = 1 - self.writing;
        let keys: Vec<_> = self.fold.keys().collect::<Result<_, _>>().context("cannot read the fold")?;
        let old_keys = keys.into_iter().filter(|key: &Raw<FoldKey>| key.0.generation == old);
        for key in old_keys {
            let totals = self.fold.get(&key, 0).context("cannot read the fold")?;
            sink(&self.folded(key.0, totals.0));
            self.fold.remove(&key).context("cannot clear the fold")?;
        }
        for code in 0..=u8::try_from(FOLD_OTHER_ROLES - 1).unwrap_or(u8::MAX) {
            for is_nested in [false, true] {
                self.drain_other(old, is_nested, code, sink)?;
            }
        }
        self.turned = None;
        Ok(())
    }

    fn drain_other(&mut self, generation: u8, is_nested: bool, role: u8, sink: &mut dyn FnMut(&Event)) -> Result<()> {
        let place = fold_other_place(generation, is_nested, role);
        let per_cpu = self.fold_other.get(&place, 0)?;
        if per_cpu.iter().all(|totals| totals.0.records == 0) {
            return Ok(());
        }
        for (cpu, totals) in per_cpu.iter().enumerate().filter(|(_, totals)| totals.0.records != 0) {
            let cpu = u16::try_from(cpu).unwrap_or(u16::MAX);
            let writer = if is_nested { cpu | FOLD_NESTED } else { cpu };
            let key =
                FoldKey { remote: [0; 16], netns: 0, tgid: 0, port: 0, family: 0, role, writer, generation, nobody: 0 };
            sink(&self.folded(key, totals.0));
        }
        let empty = vec![Raw(FoldTotals::default()); per_cpu.len()];
        self.fold_other.set(place, PerCpuValues::try_from(empty)?, 0)?;
        Ok(())
    }

    fn folded(&self, key: FoldKey, mut totals: FoldTotals) -> Event {
        if !self.watched.turns {
            totals.drop_unwatched();
        }
        Event::Folded(key, totals)
    }

    /// Has the programs write the other generation when the one they write holds something.
    fn turn_fold(&mut self) -> Result<()> {
        let folded = self.counter(Counter::Folded)?;
        if folded != self.folded_seen && self.turned.is_none() {
            // Counted before the turn: what was folded in between shows as new and makes one more turn.
            self.folded_seen = folded;
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        self.writing = 1 - self.writing;
        self.generation.set(0, u32::from(self.writing), 0).context("cannot turn the fold")?;
        self.turned = Some(Instant::now());
        Ok(())
    }
}

impl RecordSource for RingSource {
    fn drain(&mut self, sink: &mut dyn FnMut(&Event)) -> Result<usize> {
        let count = self.drain_ring(sink);
        self.drain_fold(sink)?;
        self.turn_fold()?;
        if self.limiter.level() != OFF && self.reconciled.elapsed() >= RECONCILE_EVERY {
            self.try_reconcile(sink);
        }
        self.keep_limits(sink)?;
        Ok(count)
    }

    fn finish(&mut self, sink: &mut dyn FnMut(&Event)) -> Result<()> {
        self.try_reconcile(sink);
        self.attached.detach(|| self.until_ns = Some(monotonic_ns()));
        // Programs that were running when they were detached end within the grace.
        std::thread::sleep(GRACE);
        while self.drain_ring(sink) > 0 {}
        // Both generations, whatever the counter says: a program may fold between its reading and the turn.
        for _ in 0..2 {
            self.drain_fold(sink)?;
            self.turn()?;
        }
        self.drain_fold(sink)
    }

    fn live(&mut self, sink: &mut dyn FnMut(&Conn)) -> Result<()> {
        // One row a connection, though a batch that the map changes under may repeat one.
        let mut seen = HashSet::new();
        let (watched, attached) = (self.watched, &self.attached);
        let unwatched_until = attached.unwatched_until()?;
        self.each_live(|_, conn| {
            if attached.wants(conn) && seen.insert(conn.id) {
                let mut conn = *conn;
                watched.mark(&mut conn, unwatched_until);
                sink(&conn);
            }
        })
    }

    fn counters(&mut self) -> Result<Counters> {
        let mut counters = Counters {
            recursion_misses: self.attached.recursion_misses()?,
            malformed: self.malformed,
            ..Counters::default()
        };
        for counter in Counter::ALL {
            counters.values[counter as usize] = self.counter(counter)?;
        }
        counters.values[Counter::Repaired as usize] += self.repaired;
        Ok(counters)
    }

    fn probes(&self) -> Vec<ProbeStatus> {
        self.attached.probes().to_vec()
    }

    fn self_limit(&self) -> Option<SelfLimit> {
        self.limiter.report()
    }

    fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn since_ns(&self) -> u64 {
        self.since_ns
    }

    fn now_ns(&self) -> u64 {
        self.until_ns.unwrap_or_else(monotonic_ns)
    }
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the answer; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
