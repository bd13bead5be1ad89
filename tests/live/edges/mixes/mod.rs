//! A differential test: random mixes of processes, remotes, endings and faults, run for real and told by a plain model.

mod draw;
mod model;
mod plan;
mod run;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use fastrand::Rng;
use redial_tests::gate::live;

use crate::turn;

/// Names the seed, to repeat a run.
const SEED: &str = "REDIAL_MIX_SEED";

/// Mixes at the same time.
const AT_ONCE: usize = 50;

/// Mixes seen through rings with room.
const PLAIN: usize = 150;

/// Mixes seen through a ring that the kernel folds beside.
const FOLDED: usize = 50;

fn seed() -> Result<u64> {
    match std::env::var(SEED) {
        Ok(text) => text.parse().with_context(|| format!("{SEED}={text}: it wants a whole number")),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()),
    }
}

fn mixes(first: usize, count: usize, looks: &[run::Look<'_>], is_lasting: bool, test: &str) -> Result<()> {
    if !live() {
        return Ok(());
    }
    let _turn = turn();
    let seed = seed()?;
    let again =
        || format!("repeat it with {SEED}={seed} cargo test --package redial-tests --test edges {test} -- --exact");
    for begin in (first..first + count).step_by(AT_ONCE) {
        let end = (begin + AT_ONCE).min(first + count);
        let mixes: Vec<_> = (begin..end).map(|number| draw::mix(seed, number, is_lasting)).collect();
        run::run(&mixes, looks, &mut Rng::with_seed(seed)).with_context(again)?;
    }
    println!("{count} mixes of seed {seed}");
    Ok(())
}

#[test]
fn every_role() -> Result<()> {
    mixes(0, PLAIN, run::LOOKS, false, "mixes::every_role")
}

#[test]
fn folded_by_the_kernel() -> Result<()> {
    mixes(PLAIN, FOLDED, run::SMALL, true, "mixes::folded_by_the_kernel")
}
