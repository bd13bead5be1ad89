//! Which probes to do without when redial uses more of a processor than it may. It reads no clock: time comes in.

use std::time::Duration;

use super::catalog::{ACCEPT, CONNECT, RECEIVE, SEND};

/// What is done without, in this order: what comes with every send and receive first, then what comes with every system
/// call that accepts or connects. The last step is to watch nothing at all.
pub const STEPS: [&[&str]; 2] = [&[RECEIVE, SEND], &[ACCEPT, CONNECT]];

/// The level at which nothing is watched.
pub const OFF: usize = STEPS.len() + 1;

/// How long a share is averaged over before it counts: one busy moment is no reason.
const MEMORY: Duration = Duration::from_secs(2);
/// The least time between a step down and the next try to go back.
const FIRST_HOLD: Duration = Duration::from_secs(3);
/// The most.
const MAX_HOLD: Duration = Duration::from_secs(600);
/// What must be left of the budget for a probe to come back.
const FIT: f64 = 0.8;

/// The use of a processor, in shares of one core.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// The process itself, in user space and in the kernel.
    pub own: f64,
    /// The programs, by probe.
    pub probes: Vec<(&'static str, f64)>,
}

impl Usage {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.own + self.probes.iter().map(|(_, share)| share).sum::<f64>()
    }

    fn of(&self, probes: &[&str]) -> f64 {
        self.probes.iter().filter(|(probe, _)| probes.contains(probe)).map(|(_, share)| share).sum()
    }
}

/// Keeps the use of a processor within a budget.
#[derive(Clone, Debug)]
pub struct Governor {
    budget: f64,
    level: usize,
    /// The smoothed share.
    average: f64,
    /// Processor time above the budget that is not made up for yet, in seconds of a core.
    debt: f64,
    /// What each level's probes used when they were shed.
    shed_cost: [f64; OFF],
    /// Time since the last step.
    held: Duration,
    hold: Duration,
    /// Whether probes came back though they may not fit.
    is_try: bool,
}

impl Governor {
    /// Nothing is shed yet. `budget` is a share of one core.
    pub fn new(budget: f64) -> Self {
        Self {
            budget,
            level: 0,
            average: 0.0,
            debt: 0.0,
            shed_cost: [0.0; OFF],
            held: Duration::ZERO,
            hold: FIRST_HOLD,
            is_try: false,
        }
    }

    /// The budget, as a share of one core.
    pub fn budget(&self) -> f64 {
        self.budget
    }

    /// How far it is down: 0 for nothing shed, [`OFF`] for nothing watched.
    pub fn level(&self) -> usize {
        self.level
    }

    /// Takes in the use over the last `elapsed`, and answers with the level to be at from now on.
    pub fn take(&mut self, usage: &Usage, elapsed: Duration) -> usize {
        let share = usage.total();
        // After a pause in measuring it is not known when the use began.
        let elapsed = elapsed.min(MEMORY * 3);
        let weight = (elapsed.as_secs_f64() / MEMORY.as_secs_f64()).min(1.0);
        self.average += (share - self.average) * weight;
        // What was saved counts for a moment only: an idle hour is no licence for a busy minute.
        let saved = -self.budget * MEMORY.as_secs_f64();
        let most = self.budget * MAX_HOLD.as_secs_f64();
        self.debt = (self.debt + (share - self.budget) * elapsed.as_secs_f64()).clamp(saved, most);
        self.held += elapsed;
        let is_over = self.average > self.budget && share > self.budget;
        // Far above it there is no waiting for the average.
        if self.level < OFF && (is_over || share > 2.0 * self.budget) && self.debt > 0.0 {
            self.step_down(usage, share);
        } else if self.level > 0 && self.debt <= 0.0 && self.held >= self.hold {
            let fits = self.level < OFF && share + self.shed_cost[self.level - 1] < self.budget * FIT;
            if self.level == OFF || fits || self.held >= self.hold * 2 {
                self.is_try = !fits;
                self.level -= 1;
                self.held = Duration::ZERO;
                self.average = 0.0;
            }
        } else if self.level == 0 && self.held >= MAX_HOLD {
            self.hold = FIRST_HOLD;
            self.is_try = false;
        }
        self.level
    }

    /// Charges processor time that was spent on something else than watching: it is made up for, but is no reason to do
    /// without a probe.
    pub fn charge(&mut self, spent: Duration) {
        self.debt = (self.debt + spent.as_secs_f64()).min(self.budget * MAX_HOLD.as_secs_f64());
    }

    /// Whether there is nothing to fear: nothing is shed, and less than half of the budget is used.
    pub fn is_calm(&self) -> bool {
        self.level == 0 && self.average < self.budget / 2.0
    }

    fn step_down(&mut self, usage: &Usage, share: f64) {
        // Each try that fails makes the next one later.
        if self.is_try || (self.held < self.hold && self.shed_cost[self.level] > 0.0) {
            self.hold = (self.hold * 2).min(MAX_HOLD);
        }
        while self.level < OFF {
            let cost = STEPS.get(self.level).map_or(share, |probes| usage.of(probes));
            self.shed_cost[self.level] = cost.max(f64::MIN_POSITIVE);
            self.level += 1;
            // On to the next at once where this one cannot be enough.
            if share - cost <= self.budget {
                break;
            }
        }
        self.held = Duration::ZERO;
        self.average = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn usage(own: f64, turns: f64, accept: f64, rest: f64) -> Usage {
        Usage { own, probes: vec![(RECEIVE, turns / 2.0), (SEND, turns / 2.0), (ACCEPT, accept), ("state", rest)] }
    }

    #[test]
    fn within_the_budget_nothing_is_shed() {
        let mut governor = Governor::new(0.05);
        assert!((0..100).all(|_| governor.take(&usage(0.01, 0.02, 0.005, 0.01), SECOND) == 0));
    }

    #[test]
    fn one_busy_moment_is_no_reason() {
        let mut governor = Governor::new(0.05);
        (0..10).for_each(|_| assert_eq!(governor.take(&usage(0.01, 0.0, 0.0, 0.0), SECOND), 0));
        assert_eq!(governor.take(&usage(0.01, 0.05, 0.0, 0.0), SECOND / 2), 0);
        assert_eq!(governor.take(&usage(0.01, 0.0, 0.0, 0.0), SECOND), 0);
    }

    #[test]
    fn the_dearest_go_first_and_only_as_many_as_must() {
        let mut governor = Governor::new(0.05);
        let busy = usage(0.01, 0.1, 0.02, 0.01);
        let level = (0..5).map(|_| governor.take(&busy, SECOND)).find(|&level| level > 0);
        assert_eq!(level, Some(1));
        let less = usage(0.01, 0.0, 0.02, 0.01);
        assert!((0..5).all(|_| governor.take(&less, SECOND) == 1));
    }

    #[test]
    fn what_cannot_be_enough_is_not_waited_for() {
        let mut governor = Governor::new(0.001);
        assert_eq!(governor.take(&usage(0.05, 0.1, 0.02, 0.1), SECOND), OFF);
    }

    #[test]
    fn all_comes_back_when_it_calms_down() {
        let mut governor = Governor::new(0.05);
        while governor.take(&usage(0.02, 0.2, 0.05, 0.1), SECOND) < OFF {}
        let mut last = OFF;
        for _ in 0..600 {
            let level = governor.take(&usage(0.001, 0.0, 0.0, 0.001), SECOND);
            assert!(level <= last, "it sheds though it is calm");
            last = level;
        }
        assert_eq!(last, 0);
    }

    #[test]
    fn what_it_costs_to_come_back_is_no_reason_to_go_again() {
        let mut governor = Governor::new(0.01);
        while governor.take(&usage(0.02, 0.2, 0.05, 0.1), SECOND) < OFF {}
        let mut level = OFF;
        for _ in 0..2_000 {
            let now = governor.take(&usage(0.001, 0.0, 0.0, 0.001), SECOND);
            if now < level {
                governor.charge(Duration::from_millis(150));
            }
            level = now;
        }
        assert_eq!(level, 0);
        for second in 0..600 {
            if second % 30 == 0 {
                governor.charge(Duration::from_millis(150));
            }
            assert_eq!(governor.take(&usage(0.001, 0.0, 0.0, 0.001), SECOND), 0);
        }
    }

    #[test]
    fn just_above_the_budget_it_tries_less_and_less_often() {
        let mut governor = Governor::new(0.05);
        let (mut level, mut steps) = (0, 0);
        for _ in 0..7_200 {
            let now = if level == 0 { usage(0.01, 0.035, 0.0, 0.01) } else { usage(0.01, 0.0, 0.0, 0.01) };
            let next = governor.take(&now, SECOND);
            steps += u32::from(next > level);
            level = next;
        }
        assert!((2..25).contains(&steps), "{steps} steps down in two hours");
    }

    #[test]
    fn under_a_load_that_stays_the_average_stays_within_twice_the_budget() {
        for budget in [0.001, 0.01, 0.05] {
            let mut governor = Governor::new(budget);
            let (mut level, mut used) = (0, 0.0);
            let steps = 3_600;
            for _ in 0..steps {
                let now = match level {
                    0 => usage(0.05, 0.2, 0.03, 0.1),
                    1 => usage(0.05, 0.0, 0.03, 0.1),
                    2 => usage(0.05, 0.0, 0.0, 0.1),
                    _ => usage(0.0003, 0.0, 0.0, 0.0),
                };
                used += now.total();
                level = governor.take(&now, SECOND);
            }
            let average = used / f64::from(steps);
            assert!(average < 2.0 * budget, "{average} with a budget of {budget}");
        }
    }
}
