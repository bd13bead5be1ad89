//! How far what the agent says is from what the generator's clock says.

use anyhow::{Result, ensure};

use crate::gate::slowdown;

/// Absolute differences in seconds.
#[derive(Debug, Default)]
pub struct Errors(Vec<f64>);

impl Errors {
    /// Adds a pair: what was said and what is true, in seconds.
    pub fn add(&mut self, said: f64, is: f64) {
        self.0.push((said - is).abs());
    }

    /// The value below which a share `q` of the differences is, s.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let index = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Fails unless there are at least `least` pairs, the median is at most `median` and the 99th percentile at most
    /// `p99`, in seconds, both times [`slowdown`].
    pub fn check(&self, what: &str, least: usize, median: f64, p99: f64) -> Result<()> {
        let (n, p50_is, p99_is) = (self.0.len(), self.quantile(0.5), self.quantile(0.99));
        let line = format!("{what}: n {n}, median {:.1} us, p99 {:.1} us", p50_is * 1e6, p99_is * 1e6);
        println!("{line}");
        ensure!(n >= least, "{line}: fewer than {least} pairs");
        let (median, p99) = (median * f64::from(slowdown()), p99 * f64::from(slowdown()));
        ensure!(p50_is <= median && p99_is <= p99, "{line}: more than {median} s and {p99} s");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_no_success() {
        assert!(Errors::default().check("nothing", 0, 1.0, 1.0).is_err());
    }

    #[test]
    fn quantiles() {
        let mut errors = Errors::default();
        for i in 0..100 {
            errors.add(f64::from(i), 0.0);
        }
        assert_eq!(errors.quantile(0.5), 50.0);
        assert_eq!(errors.quantile(0.99), 99.0);
    }
}
