//! How many passwords a source of calls may guess wrong over all addresses. Whoever tries one password on many
//! addresses has few failures on each of them, which the throttle of an address does not notice.
//!
//! A source may spend a number of failures and gets them back little by little. A try takes one before its password is
//! checked, and gives it back unless the password was wrong, so that many tries at once do not get around the limit.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use types::Source;

/// How many sources are remembered. They are those that failed lately and those that are trying now.
const SOURCES_MAX: usize = 10_000;

/// How many failures a source may spend, and how long it takes until all of them are given back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceLimits {
    pub(crate) failures: u32,
    pub(crate) within: Duration,
}

/// The failures of all sources.
#[derive(Debug)]
pub(crate) struct Sources {
    limits: SourceLimits,
    spent: HashMap<Source, Spent>,
}

#[derive(Debug, Clone, Copy)]
struct Spent {
    /// How many were spent at the moment `at`.
    failures: f64,
    at: Instant,
}

impl Sources {
    pub(crate) fn new(limits: SourceLimits) -> Self {
        Self { limits, spent: HashMap::new() }
    }

    /// Takes one failure for a try.
    ///
    /// # Errors
    /// How long to wait, when none is left.
    pub(crate) fn take(&mut self, source: Source, now: Instant) -> Result<(), Duration> {
        let failures = self.now_spent(source, now) + 1.0;
        let over = failures - f64::from(self.limits.failures);
        if over > 0.0 {
            return Err(self.limits.within.mul_f64(over / f64::from(self.limits.failures)));
        }
        self.make_room(now);
        self.spent.insert(source, Spent { failures, at: now });
        Ok(())
    }

    /// Gives back what a try took, because its password was not wrong.
    pub(crate) fn give_back(&mut self, source: Source, now: Instant) {
        let failures = self.now_spent(source, now) - 1.0;
        if failures > 0.0 {
            self.spent.insert(source, Spent { failures, at: now });
        } else {
            self.spent.remove(&source);
        }
    }

    /// How many failures of a source are spent and not given back yet.
    fn now_spent(&self, source: Source, now: Instant) -> f64 {
        self.spent.get(&source).map_or(0.0, |spent| self.left(spent, now))
    }

    fn left(&self, spent: &Spent, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(spent.at).div_duration_f64(self.limits.within);
        (spent.failures - passed * f64::from(self.limits.failures)).max(0.0)
    }

    /// Forgets some sources when there are too many: those that have spent the least.
    fn make_room(&mut self, now: Instant) {
        if self.spent.len() < SOURCES_MAX {
            return;
        }
        let mut left: Vec<_> =
            self.spent.iter().map(|(source, spent)| (self.left(spent, now), *source)).collect();
        // A tenth of them at once, so that this is done seldom.
        let (least, ..) =
            left.select_nth_unstable_by(SOURCES_MAX / 10, |one, other| one.0.total_cmp(&other.0));
        for (_, source) in least {
            self.spent.remove(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const LIMITS: SourceLimits = SourceLimits { failures: 4, within: Duration::from_secs(40) };

    fn source(number: u32) -> Source {
        Source::of(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn failures_come_back_one_by_one() {
        let (mut sources, start) = (Sources::new(LIMITS), Instant::now());
        for _ in 0..4 {
            sources.take(source(1), start).unwrap();
        }
        assert_eq!(sources.take(source(1), start), Err(Duration::from_secs(10)));
        sources.take(source(2), start).unwrap();
        let later = start + Duration::from_secs(10);
        sources.take(source(1), later).unwrap();
        assert_eq!(sources.take(source(1), later), Err(Duration::from_secs(10)));
        let much_later = later + Duration::from_secs(40);
        for _ in 0..4 {
            sources.take(source(1), much_later).unwrap();
        }
        assert!(sources.take(source(1), much_later).is_err(), "never more than all");
    }

    #[test]
    fn a_password_that_was_not_wrong_costs_nothing() {
        let (mut sources, now) = (Sources::new(LIMITS), Instant::now());
        for _ in 0..100 {
            sources.take(source(1), now).unwrap();
            sources.give_back(source(1), now);
        }
        assert!(sources.spent.is_empty());
    }

    #[test]
    fn with_too_many_sources_those_that_failed_most_are_remembered() {
        let (mut sources, now) = (Sources::new(LIMITS), Instant::now());
        for _ in 0..4 {
            sources.take(source(0), now).unwrap();
        }
        for number in 1..2 * u32::try_from(SOURCES_MAX).unwrap() {
            sources.take(source(number), now).unwrap();
        }
        assert!(sources.spent.len() <= SOURCES_MAX);
        assert!(sources.take(source(0), now).is_err(), "it was forgotten");
    }
}
