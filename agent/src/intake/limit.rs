//! What redial does without: above its budget of processor time, or because it is switched off.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;

use crate::kernel::{
    Attached, Meter,
    budget::{Governor, OFF, STEPS, Usage},
};

/// What keeps the agent within bounds.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// How much of one core it may use; `None` for as much as it needs.
    pub cpu_budget: Option<f64>,
    /// Nothing is watched while this file is there.
    pub off_switch: Option<PathBuf>,
    /// Nothing is watched while this is set.
    pub off: Arc<AtomicBool>,
}

/// How the limits worked, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SelfLimit {
    /// How much of one core redial may use.
    pub cpu_budget: Option<f64>,
    /// How much of one core it used when last measured, its programs in the kernel included.
    pub cpu_share: Option<f64>,
    /// The probes that it does without now.
    pub shed: Vec<&'static str>,
    /// How long any were shed, seconds.
    pub shed_s: f64,
    /// How long nothing was watched, seconds.
    pub paused_s: f64,
}

/// The state of the limits.
pub struct Limiter {
    limits: Limits,
    governor: Option<Governor>,
    meter: Meter,
    last: Option<Usage>,
    level: usize,
    /// When the level was entered.
    since: Instant,
    shed: Duration,
    paused: Duration,
}

impl Limiter {
    /// Nothing is shed yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            governor: limits.cpu_budget.map(Governor::new),
            limits,
            meter: Meter::start(),
            last: None,
            level: 0,
            since: Instant::now(),
            shed: Duration::ZERO,
            paused: Duration::ZERO,
        }
    }

    /// The level to be at: [`OFF`] while it is switched off.
    ///
    /// # Errors
    /// When the kernel does not tell what the programs use.
    pub fn wanted(&mut self, attached: &Attached) -> Result<usize> {
        if self.is_off() {
            self.meter = Meter::start();
            return Ok(OFF);
        }
        let Some(governor) = &mut self.governor else { return Ok(0) };
        if let Some((usage, elapsed)) = self.meter.tick(attached)? {
            governor.take(&usage, elapsed);
            self.meter.relax(governor.is_calm());
            self.last = Some(usage);
        }
        Ok(governor.level())
    }

    /// Begins work that is not the watching itself.
    pub fn begin_aside(&mut self) -> Duration {
        self.meter.begin_aside()
    }

    /// Ends it: its time counts against the budget, but not as use by the probes.
    pub fn end_aside(&mut self, began: Duration) {
        let took = self.meter.end_aside(began);
        if let Some(governor) = &mut self.governor {
            governor.charge(took);
        }
    }

    fn is_off(&self) -> bool {
        self.limits.off.load(Ordering::Relaxed) || self.limits.off_switch.as_ref().is_some_and(|file| file.exists())
    }

    /// The level that it is at.
    pub fn level(&self) -> usize {
        self.level
    }

    /// Notes the level that it is at from now on.
    pub fn enter(&mut self, level: usize) {
        (self.shed, self.paused) = self.times();
        (self.level, self.since) = (level, Instant::now());
    }

    /// How long probes were shed, and how long all of them.
    fn times(&self) -> (Duration, Duration) {
        let here = self.since.elapsed();
        let at = |level: bool| if level { here } else { Duration::ZERO };
        (self.shed + at(self.level > 0), self.paused + at(self.level == OFF))
    }

    /// Why probes are shed, in a few words.
    pub fn reason(&self) -> String {
        if self.is_off() {
            return "redial is switched off".to_owned();
        }
        let (Some(governor), Some(usage)) = (&self.governor, &self.last) else { return "shed".to_owned() };
        format!(
            "shed, for redial used {:.2}% of a core and may use {:.2}%",
            usage.total() * 100.0,
            governor.budget() * 100.0
        )
    }

    /// How the limits worked; `None` where there are none and nothing was shed.
    pub fn report(&self) -> Option<SelfLimit> {
        let (shed, paused) = self.times();
        if self.governor.is_none() && shed.is_zero() {
            return None;
        }
        Some(SelfLimit {
            cpu_budget: self.governor.as_ref().map(Governor::budget),
            cpu_share: self.last.as_ref().map(Usage::total),
            shed: shed_at(self.level).collect(),
            shed_s: shed.as_secs_f64(),
            paused_s: paused.as_secs_f64(),
        })
    }
}

/// The probes that are shed at `level`, those of [`OFF`] left aside.
pub fn shed_at(level: usize) -> impl Iterator<Item = &'static str> {
    STEPS.iter().take(level).copied().flatten().copied()
}
