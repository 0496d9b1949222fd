//! Counting answers and their times.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::Code;

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    times: Vec<Duration>,
    /// By the code's number, since codes have no order.
    errors: BTreeMap<i32, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, error: Option<Code>, time: Duration) {
        match error {
            None => self.times.push(time),
            Some(code) => *self.errors.entry(code as i32).or_default() += 1,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
    }

    /// Whether there were answers, and no errors.
    pub(crate) fn all_answered(&self) -> bool {
        !self.times.is_empty() && self.errors.is_empty()
    }

    /// The result for people.
    pub(crate) fn lines(&self, duration: Duration) -> Vec<String> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let rate = times.len() as f64 / duration.as_secs_f64();
        let mut lines = vec![format!("answered {}  rate {rate:.0}/s", times.len())];
        if let Some(slowest) = times.last() {
            let at = |share: f64| millis(times[((times.len() - 1) as f64 * share) as usize]);
            lines.push(format!(
                "p50 {:.2} ms  p90 {:.2} ms  p99 {:.2} ms  max {:.2} ms",
                at(0.5),
                at(0.9),
                at(0.99),
                millis(*slowest)
            ));
        }
        lines.extend(self.errors.iter().map(|(code, count)| format!("{:?} {count}", Code::from_i32(*code))));
        lines
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_answers_and_errors_are_apart() {
        let mut tally = Tally::default();
        for millis in (1..=101).rev() {
            tally.count(None, Duration::from_millis(millis));
        }
        let mut other = Tally::default();
        other.count(Some(Code::Unavailable), Duration::from_secs(9));
        assert!(tally.all_answered());
        tally.add(other);
        assert!(!tally.all_answered());
        assert_eq!(
            tally.lines(Duration::from_secs(1)),
            [
                "answered 101  rate 101/s",
                "p50 51.00 ms  p90 91.00 ms  p99 100.00 ms  max 101.00 ms",
                "Unavailable 1"
            ]
        );
        assert!(!Tally::default().all_answered());
    }
}
