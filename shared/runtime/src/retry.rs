//! Waiting longer after every failure, never in step with the others.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::redact_url;

/// How long [`start_up`] waits unless told otherwise.
pub const START_UP_WITHIN: Duration = Duration::from_secs(60);

/// Delays with full jitter: each is anywhere between nothing and a bound that doubles up to `cap`.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    bound: Duration,
}

impl Backoff {
    /// Starts with a bound of `base`.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, bound: base.min(cap) }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.bound.mul_f64(fastrand::f64());
        self.bound = (self.bound * 2).min(self.cap);
        delay
    }

    /// Starts again, after a success.
    pub fn reset(&mut self) {
        self.bound = self.base.min(self.cap);
    }
}

/// Repeats `attempt` while something that the process needs, such as its database, is still coming up. Each
/// failure is a WARN line, with passwords in URLs masked.
///
/// # Errors
/// The last failure, when `within` is over.
pub async fn start_up<T, E, F, Fut>(what: &str, within: Duration, mut attempt: F) -> anyhow::Result<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + within;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        let error = match tokio::time::timeout_at(end, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => redact_url(&error.to_string()),
            Err(_) => "no answer".to_owned(),
        };
        let delay = backoff.next_delay();
        if Instant::now() + delay >= end {
            anyhow::bail!("{what} did not come up within {}: {error}", humantime::format_duration(within));
        }
        tracing::warn!(what, error, "not up yet; trying again");
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_below_a_bound_that_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(35));
        for bound in [10, 20, 35, 35] {
            assert!(backoff.next_delay() <= Duration::from_millis(bound));
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn start_up_waits_for_what_is_coming() {
        let mut attempts = 0;
        let value = start_up("database", START_UP_WITHIN, || {
            attempts += 1;
            let attempt = attempts;
            async move { if attempt < 5 { Err("refused") } else { Ok(attempt) } }
        });
        assert_eq!(value.await.unwrap(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn start_up_gives_up_and_keeps_the_password_to_itself() {
        let error = start_up("database", START_UP_WITHIN, async || Err::<(), _>("no postgres://a:s3cret@h"))
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(error, "database did not come up within 1m: no postgres://a:***@h");
        let hanging = start_up("redis", Duration::from_secs(1), std::future::pending::<Result<(), String>>);
        assert!(hanging.await.unwrap_err().to_string().ends_with("no answer"));
    }
}
