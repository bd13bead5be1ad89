//! How a test talks with a traffic process: commands on its stdin, news on its stdout.
//!
//! Commands are lines: `go` (a client begins), `release` (steps that hold go on). The end of stdin means: finish.
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
}

/// Prints one line of news.
pub fn tell(news: &News) {
    if let Ok(line) = serde_json::to_string(news) {
        println!("{line}");
    }
}

/// Steps that hold wait here.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets all go on, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Tells that it holds and waits for [`Gate::open`].
    pub fn hold(&self) -> io::Result<()> {
        tell(&News::Held);
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, _) =
            self.0.1.wait_timeout_while(open, hold_limit(), |open| !*open).unwrap_or_else(PoisonError::into_inner);
        if *open { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
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
