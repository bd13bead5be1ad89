//! Collects what a child process prints, so that a test can wait for a line and never blocks the child.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

/// The lines of one pipe so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<State>, Condvar)>);

impl Lines {
    /// Reads `from` to its end on a thread of its own.
    pub fn collect(from: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let shared = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                shared.change(|state| state.lines.push(line));
            }
            shared.change(|state| state.ended = true);
        });
        lines
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// Waits until `found` says something about the lines, the pipe ends, or `limit` passes.
    pub fn wait<T>(&self, limit: Duration, found: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let result = found(&state.lines);
            let left = end.saturating_duration_since(Instant::now());
            if result.is_some() || state.ended || left.is_zero() {
                return result;
            }
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end of the pipe; says whether it came.
    pub fn wait_end(&self, limit: Duration) -> bool {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, _) =
            self.0.1.wait_timeout_while(state, limit, |s| !s.ended).unwrap_or_else(PoisonError::into_inner);
        state.ended
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// All lines so far as one text, for messages.
    pub fn text(&self) -> String {
        self.all().join("\n")
    }
}
