//! How a test talks with a traffic process: commands on its stdin, news on its stdout.
//!
//! Commands are lines: `go` (a client begins), `release` (steps that hold go on, each connection by one). The end of
//! stdin means: finish.
//! News are lines of JSON ([`News`]).

use std::{
    io::{self, BufRead},
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::traffic::channel::PATIENCE;

/// What a traffic process tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum News {
    /// It is there; a server listens.
    Ready {
        /// Where a server listens.
        listening: Vec<SocketAddr>,
    },
    /// A connection has come to a step that holds.
    Held,
    /// A client that lingers has no more to do.
    Done,
}

/// Prints one line of news.
pub fn tell(news: &News) {
    if let Ok(line) = serde_json::to_string(news) {
        println!("{line}");
    }
}

/// Steps that hold wait here: each connection's first until the first release, its second until the second.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<u32>, Condvar)>);

impl Gate {
    /// Lets all go on to their next hold, now and later.
    pub fn open(&self) {
        self.change(|releases| releases.saturating_add(1));
    }

    /// Lets all go on to their end.
    pub fn open_all(&self) {
        self.change(|_| u32::MAX);
    }

    fn change(&self, how: impl FnOnce(u32) -> u32) {
        let mut releases = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        *releases = how(*releases);
        self.0.1.notify_all();
    }

    /// Whether there was a release.
    pub fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) > 0
    }

    /// Tells that a connection holds that has held `before` times, and waits for its release.
    pub fn hold(&self, before: u32) -> io::Result<()> {
        tell(&News::Held);
        let releases = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (releases, _) = self
            .0
            .1
            .wait_timeout_while(releases, hold_limit(), |releases| *releases <= before)
            .unwrap_or_else(PoisonError::into_inner);
        if *releases > before { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    /// Waits for [`Gate::open_all`].
    pub fn wait_all(&self) {
        let releases = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_while(releases, |releases| *releases < u32::MAX));
    }
}

fn hold_limit() -> Duration {
    2 * PATIENCE
}

/// The next command, or none at the end of stdin.
pub fn next_command() -> Option<String> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(n) if n > 0 => Some(line.trim().to_owned()),
        _ => None,
    }
}
