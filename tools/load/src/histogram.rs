//! Times of many calls in little memory: buckets that are at most 1.6 % wide, from a nanosecond to centuries.

use std::time::Duration;

/// Each power of two has so many buckets.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Counts of times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        let bucket = bucket(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    /// Adds all of another's.
    pub fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, more) in self.counts.iter_mut().zip(&other.counts) {
            *mine += more;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The time that `share` of all took at most, to 1.6 %; zero when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(end(bucket)).min(self.longest);
            }
        }
        self.longest
    }
}

/// The values below 128 have a bucket each; above, the seven highest bits choose it.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    usize::try_from(u64::from(shift) * STEPS + (value >> shift)).unwrap_or(usize::MAX)
}

/// The largest value of a bucket.
fn end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    let high = bucket - shift * STEPS;
    ((high + 1) << shift).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_ends_within_a_64th_of_it() {
        let mut value = 1_u64;
        while value < u64::MAX / 3 {
            for value in [value, value + 1, value * 3 / 2] {
                let end = end(bucket(value));
                assert!(end >= value && end - value <= value / STEPS, "{value} is in a bucket up to {end}");
                assert_eq!(bucket(end), bucket(value), "{value}");
                assert_eq!(bucket(end + 1), bucket(value) + 1, "{value}");
            }
            value *= 2;
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let mut all = Histogram::default();
        let mut second_half = Histogram::default();
        for millis in (1..=1000).rev() {
            if millis <= 500 { &mut all } else { &mut second_half }.record(Duration::from_millis(millis));
        }
        all.add(&second_half);
        assert_eq!((all.count(), all.longest()), (1000, Duration::from_secs(1)));
        for (share, millis) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = all.quantile(share).as_secs_f64() * 1000.0;
            assert!((millis..=millis * 1.016).contains(&found), "{share} is {found}, not {millis}");
        }
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}
