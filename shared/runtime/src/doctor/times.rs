//! How long something took that was done many times.

use std::fmt::{self, Display};
use std::time::Duration;

/// The times that it took. `Display` tells the median and the 99th percentile.
#[derive(Debug, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Of these, of which there is one at least.
    ///
    /// # Errors
    /// When nothing was timed.
    pub fn of(mut times: Vec<Duration>) -> anyhow::Result<Self> {
        anyhow::ensure!(!times.is_empty(), "nothing was timed");
        times.sort_unstable();
        Ok(Self(times))
    }

    /// Half of them took no longer.
    #[must_use]
    pub fn p50(&self) -> Duration {
        self.percentile(50)
    }

    /// Of a hundred, 99 took no longer.
    #[must_use]
    pub fn p99(&self) -> Duration {
        self.percentile(99)
    }

    /// By the nearest rank: the smallest that so many of a hundred do not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "p50 {:.2} ms, p99 {:.2} ms", millis(self.p50()), millis(self.p99()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: impl Iterator<Item = u64>) -> Times {
        Times::of(millis.map(Duration::from_millis).collect()).unwrap()
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(times((1..=100).rev()).to_string(), "p50 50.00 ms, p99 99.00 ms");
        assert_eq!(times(1..=3).to_string(), "p50 2.00 ms, p99 3.00 ms");
        assert_eq!(times(7..8).to_string(), "p50 7.00 ms, p99 7.00 ms");
        assert!(Times::of(Vec::new()).is_err());
    }
}
