//! Names of remote addresses by reverse DNS, asked in the background and only where somebody wants them: the queries
//! tell a name server whom this host talks to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use dns_lookup::getnameinfo;
use foldhash::{HashMap, HashMapExt as _};

/// Longest name that DNS has, in characters.
const MAX_NAME: usize = 253;

/// Finds the name of an address, however long that takes.
pub trait Resolve: Send + Sync + 'static {
    /// The name of `address`; `None` when it has none or that could not be found out.
    fn resolve(&self, address: IpAddr) -> Option<String>;
}

/// The system's own resolver (getnameinfo(3)), as nsswitch.conf(5) and resolv.conf(5) set it up.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Resolve for System {
    fn resolve(&self, address: IpAddr) -> Option<String> {
        // Without the flag an address without a name would come back as its own name.
        let flags = libc::NI_NAMEREQD | libc::NI_NUMERICSERV;
        getnameinfo(&SocketAddr::new(address, 0), flags).ok().map(|(name, _)| name)
    }
}

/// How much is asked and remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many addresses wait to be asked about; those that find no room are dropped and counted.
    pub queue: usize,
    /// How many addresses are remembered, at about 150 bytes each.
    pub cache: usize,
    /// How many are asked about at once.
    pub threads: usize,
    /// How long a name is believed.
    pub found: Duration,
    /// How long it is believed that there is none.
    pub not_found: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 1_024,
            cache: 16_384,
            threads: 2,
            found: Duration::from_mins(5),
            not_found: Duration::from_mins(1),
        }
    }
}

#[derive(Debug)]
struct Entry {
    name: Option<Arc<str>>,
    /// Until when it is believed.
    until: Instant,
    /// Whether it waits to be asked about.
    is_asked: bool,
}

type Cache = HashMap<IpAddr, Entry>;

/// A resolver that never makes its caller wait.
#[derive(Debug)]
pub struct Names {
    cache: Arc<Mutex<Cache>>,
    queue: SyncSender<IpAddr>,
    dropped: AtomicU64,
    limits: Limits,
}

impl Names {
    /// Starts the threads that ask `resolver`. They end when the result is dropped, after what they are asking then.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(resolver: impl Resolve, limits: Limits) -> io::Result<Self> {
        let cache = Arc::new(Mutex::new(Cache::new()));
        let (queue, requests) = sync_channel(limits.queue);
        let requests = Arc::new(Mutex::new(requests));
        let resolver = Arc::new(resolver);
        for _ in 0..limits.threads.max(1) {
            let (cache, requests, resolver) = (Arc::clone(&cache), Arc::clone(&requests), Arc::clone(&resolver));
            thread::Builder::new()
                .name("redial-names".to_owned())
                .spawn(move || answer(&requests, &*resolver, &cache, limits))?;
        }
        Ok(Self { cache, queue, dropped: AtomicU64::new(0), limits })
    }

    /// The name of `address`, as far as it is known now. One that is not known, or was found out too long ago, is asked
    /// about. Addresses that mean something else on every host are not.
    pub fn name_of(&self, address: IpAddr) -> Option<Arc<str>> {
        if !is_askable(address) {
            return None;
        }
        let now = Instant::now();
        let mut cache = lock(&self.cache);
        let known = cache.get_mut(&address);
        if let Some(entry) = &known
            && (entry.is_asked || now < entry.until)
        {
            return entry.name.clone();
        }
        let is_asked = self.queue.try_send(address).is_ok();
        if !is_asked {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        match known {
            Some(entry) => {
                entry.is_asked = is_asked;
                entry.name.clone()
            }
            None => {
                if is_asked {
                    insert(&mut cache, address, Entry { name: None, until: now, is_asked }, self.limits.cache);
                }
                None
            }
        }
    }

    /// How many times an address was not asked about because too many were waiting.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Answers requests until nobody can make any more.
fn answer(requests: &Mutex<Receiver<IpAddr>>, resolver: &impl Resolve, cache: &Mutex<Cache>, limits: Limits) {
    loop {
        // The lock is held while waiting: whoever has it takes the next request, and lets go of it to answer.
        let Ok(address) = lock(requests).recv() else { return };
        let name: Option<Arc<str>> = resolver.resolve(address).and_then(|name| checked(&name).map(Arc::from));
        let lifetime = if name.is_some() { limits.found } else { limits.not_found };
        let entry = Entry { name, until: Instant::now() + lifetime, is_asked: false };
        insert(&mut lock(cache), address, entry, limits.cache);
    }
}

/// Puts `entry` in, and forgets the oldest quarter first when there is no room.
fn insert(cache: &mut Cache, address: IpAddr, entry: Entry, limit: usize) {
    if cache.len() >= limit && !cache.contains_key(&address) {
        let mut order: Vec<(Instant, IpAddr)> = cache.iter().map(|(&address, entry)| (entry.until, address)).collect();
        let leave = (limit / 4).max(1).min(order.len());
        if leave > 0 {
            order.select_nth_unstable(leave - 1);
        }
        for (_, address) in &order[..leave] {
            cache.remove(address);
        }
    }
    cache.insert(address, entry);
}

/// The name, unless it is none: whoever owns an address writes there what they like.
fn checked(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && name.parse::<IpAddr>().is_err();
    is_name.then_some(name)
}

/// Whether a name server may know the address: not this host's, this link's or no host's at all.
fn is_askable(address: IpAddr) -> bool {
    let is_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(is_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// The lock, also after a thread panicked with it: no entry is ever half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
