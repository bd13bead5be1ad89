//! A load without and with observers, in alternation, so that what changes slowly on the machine hits all alike.

use anyhow::{Context, Result};

use super::{
    Setup,
    load::{Churn, Churned},
    observer::{Observer, Watched},
    proc::Cpu,
};
use crate::run;

/// One load without an observer, and one with each.
pub struct Round {
    /// Without.
    pub alone: Churned,
    /// With each observer, in the order in which they were named.
    pub with: Vec<Observed>,
}

/// A load under an observer.
pub struct Observed {
    /// What the load did.
    pub load: Churned,
    /// What the observer used and saw.
    pub watched: Watched,
}

impl Round {
    /// The share of the rate that the observer at `index` leaves.
    pub fn kept(&self, index: usize) -> f64 {
        self.with[index].load.exchange_rate() / self.alone.exchange_rate()
    }

    /// CPU time of the observer at `index` per 100,000 connections, both ends of each seen.
    pub fn per_100_000(&self, index: usize) -> Cpu {
        let Observed { load, watched } = &self.with[index];
        let per = 100_000.0 / load.connections as f64;
        Cpu { user: watched.cpu.user * per, system: watched.cpu.system * per }
    }
}

/// Runs `setup.pairs` rounds. Each begins one place later in the order than the one before.
pub fn run(setup: &Setup, name: &str, load: Churn, observers: &[Observer]) -> Result<Vec<Round>> {
    load.run(setup).context("cannot warm up")?;
    (0..setup.pairs)
        .map(|number| {
            let round = round(setup, load, observers, number)?;
            let kept: Vec<_> =
                observers.iter().enumerate().map(|(i, o)| format!("{} keeps {:.3}", o.name(), round.kept(i))).collect();
            run::say(format!(
                "{name}: round {} of {}: {:.0} exchanges/s alone, {}",
                number + 1,
                setup.pairs,
                round.alone.exchange_rate(),
                kept.join(", ")
            ));
            Ok(round)
        })
        .collect()
}

fn round(setup: &Setup, load: Churn, observers: &[Observer], number: usize) -> Result<Round> {
    let places = observers.len() + 1;
    let mut alone = None;
    let mut with: Vec<Option<Observed>> = observers.iter().map(|_| None).collect();
    for step in 0..places {
        match (number + step) % places {
            0 => alone = Some(load.run(setup)?),
            place => with[place - 1] = Some(observed(setup, load, observers[place - 1])?),
        }
    }
    Ok(Round {
        alone: alone.context("a round has a load without an observer")?,
        with: with.into_iter().flatten().collect(),
    })
}

fn observed(setup: &Setup, load: Churn, observer: Observer) -> Result<Observed> {
    let watching = observer.start(setup, &[])?;
    let load = load.run(setup)?;
    let watched = watching.end()?;
    if observer == Observer::Redial {
        watched.saw(load.connections)?;
    }
    Ok(Observed { load, watched })
}
