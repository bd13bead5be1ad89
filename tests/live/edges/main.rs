//! The join of records to edges: what the agent says of each edge against what was done on it.

mod churn;
mod identity;
mod mixes;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests of this file take turns: each uses all of the machine, and some observe all of it.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
