//! When to stop: SIGINT, SIGTERM, or the end of the time that was asked for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
    low_level::emulate_default_handler,
};

/// Waits for the end.
pub struct Stop {
    signals: Receiver<()>,
    deadline: Option<Instant>,
}

impl Stop {
    /// Takes over the signals. A second one ends the process at once, should the end take too long. SIGUSR1 turns `off`
    /// over.
    pub fn after(duration: Option<Duration>, off: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let mut pending = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]).context("cannot handle signals")?;
        let (sender, signals) = mpsc::channel();
        thread::Builder::new()
            .name("signals".to_owned())
            .stack_size(64 << 10)
            .spawn(move || {
                let ends = |signal: &i32| {
                    let is_switch = *signal == SIGUSR1;
                    if is_switch {
                        off.fetch_xor(true, Ordering::Relaxed);
                    }
                    !is_switch
                };
                for (i, signal) in pending.forever().filter(ends).enumerate() {
                    if i > 0 || sender.send(()).is_err() {
                        // That fails for signals that cannot be emulated, and these three can.
                        let _ = emulate_default_handler(signal);
                    }
                }
            })
            .context("cannot start the thread that waits for signals")?;
        let deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
        Ok(Self { signals, deadline })
    }

    /// Waits for `wait` at most, and says whether to stop now.
    pub fn wait(&self, wait: Duration) -> bool {
        let left = self.deadline.map_or(wait, |deadline| deadline.saturating_duration_since(Instant::now()).min(wait));
        match self.signals.recv_timeout(left) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => self.deadline.is_some_and(|deadline| Instant::now() >= deadline),
        }
    }
}
