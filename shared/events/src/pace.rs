//! How fast failures are repeated and told of: jittered pauses, and at most one log line in a while.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

/// Pauses that double from a first one up to a longest one, each with full jitter above its half.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The pause after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        jittered(pause)
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A duration between half of this one and the whole, so that many processes do not act in step.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Lets something through once in a while.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Option<Instant>);

impl Throttle {
    const EVERY: Duration = Duration::from_secs(10);

    /// Whether it is time again.
    pub(crate) fn ready(&mut self) -> bool {
        let now = Instant::now();
        let ready = self.0.is_none_or(|last| now.duration_since(last) >= Self::EVERY);
        if ready {
            self.0 = Some(now);
        }
        ready
    }
}

/// An error with all its sources, on one line.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
