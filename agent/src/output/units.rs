//! Numbers for people: short, with the unit that fits.

use crate::{snapshot::distribution::Distribution, state::histogram::Bound};

/// What stands where nothing was measured.
pub const NOTHING: &str = "-";

/// A number of up to three digits: one decimal below ten.
fn short(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Seconds in at most five characters: "43µs", "1.2ms", "12s", "3.4h".
pub fn duration(seconds: f64) -> String {
    // The next unit begins where this one would round to four digits.
    let us = seconds * 1e6;
    if us < 0.5 {
        "<1µs".to_owned()
    } else if us < 999.5 {
        format!("{us:.0}µs")
    } else if seconds < 0.9995 {
        format!("{}ms", short(us / 1e3))
    } else if seconds < 99.5 {
        format!("{}s", short(seconds))
    } else if seconds < 99.5 * 60.0 {
        format!("{}m", short(seconds / 60.0))
    } else if seconds < 48.0 * 3600.0 {
        format!("{}h", short(seconds / 3600.0))
    } else {
        format!("{}d", short(seconds / 86_400.0))
    }
}

/// A count in at most five characters: "99999", "123k", "1.2M".
pub fn count(value: u64) -> String {
    if value < 100_000 { value.to_string() } else { scaled(value as f64) }
}

/// Bytes in at most five characters: "78B", "1.2kB".
pub fn bytes(value: u64) -> String {
    if value < 1000 { format!("{value}B") } else { format!("{}B", scaled(value as f64)) }
}

fn scaled(mut value: f64) -> String {
    for unit in ["k", "M", "G", "T", "P"] {
        value /= 1000.0;
        if value < 999.5 {
            return format!("{}{unit}", short(value));
        }
    }
    format!("{}E", short(value / 1000.0))
}

/// A rate or a mean: "0", "0.25", "1.5", "48", "123k".
pub fn rate(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value < 0.01 {
        "<0.01".to_owned()
    } else if value < 0.995 {
        format!("{value:.2}")
    } else if value < 99_999.5 {
        short(value)
    } else {
        scaled(value)
    }
}

/// A share of one in percent.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// The median of a distribution, marked where it is only roughly known.
pub fn median(distribution: Option<&Distribution>) -> String {
    match distribution {
        None => NOTHING.to_owned(),
        Some(Distribution { p50, bound: Bound::FactorOfTwo, .. }) => format!("~{}", duration(*p50)),
        Some(Distribution { p50, bound: Bound::Relative(_), .. }) => duration(*p50),
    }
}

/// `text` of a value that may be unknown.
pub fn known<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (seconds, text) in [
            (0.0, "<1µs"),
            (43e-6, "43µs"),
            (0.000_999_6, "1.0ms"),
            (0.001_24, "1.2ms"),
            (0.123_4, "123ms"),
            (0.999_6, "1.0s"),
            (12.3, "12s"),
            (150.0, "2.5m"),
            (7_200.0, "2.0h"),
            (864_000.0, "10d"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        for step in 0..200 {
            let value = 1.26_f64.powi(step);
            assert!(duration(value * 1e-7).chars().count() <= 5 || value > 1e13, "{}", duration(value * 1e-7));
            assert!(
                count(value as u64).len() <= 5 && bytes(value as u64).len() <= 5 && rate(value).len() <= 5
                    || value > 1e18
            );
        }
        assert_eq!(
            (count(99_999), count(100_000), bytes(999), bytes(1_234)),
            ("99999".into(), "100k".into(), "999B".into(), "1.2kB".into())
        );
        assert_eq!(
            (rate(0.0), rate(0.25), rate(48.2), percent(0.756)),
            ("0".into(), "0.25".into(), "48".into(), "76%".into())
        );
    }
}
