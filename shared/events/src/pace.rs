//! How often something that failed is tried again and logged: with jittered pauses, and at most one line every ten
//! seconds.

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use types::Backoff;

/// A random duration between half of this one and all of it, so that many processes do not act at the same moment.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Lets a log line through at most once in ten seconds.
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
