//! Waiting, at the start, for the things that the process depends on.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use types::{Backoff, Cause};

use crate::config::redact_url;

/// How long [`start_up`] waits unless told otherwise.
pub const START_UP_WITHIN: Duration = Duration::from_secs(60);

/// Why something can never come up as it is set up, such as a password that is refused: [`start_up`] waits no longer.
#[derive(Debug)]
pub struct Lasting(Cause);

impl Lasting {
    /// For this reason, which says what to change.
    pub fn new(reason: impl Into<Cause>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Lasting {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Repeats `attempt` until something that the process needs, such as its database, has come up. Each failure is logged
/// as WARN, with its causes, and with passwords in URLs masked.
///
/// # Errors
/// The last failure with its causes, once `within` has passed; the first that is [`Lasting`], at once.
pub async fn start_up<T, E, F, Fut>(what: &str, within: Duration, mut attempt: F) -> anyhow::Result<T>
where
    E: Into<Cause>,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + within;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        let error = match tokio::time::timeout_at(end, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => {
                let error: Cause = error.into();
                let text = redact_url(&told(error.as_ref()));
                if error.is::<Lasting>() {
                    anyhow::bail!("{what} cannot be used: {text}");
                }
                text
            }
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

/// An error with its causes. Drivers' errors repeat theirs, which is told once.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[tokio::test(start_paused = true)]
    async fn start_up_does_not_wait_for_what_lasts_and_tells_all_causes() {
        let begun = Instant::now();
        let cause = anyhow::anyhow!("mongodb://a:s3cret@h says no").context("the login is refused");
        let refused = Lasting::new(cause);
        let attempt = std::future::ready(Err::<(), _>(refused));
        let mut attempt = Some(attempt);
        let outcome = start_up("database", START_UP_WITHIN, || attempt.take().expect("one attempt")).await;
        let text = outcome.unwrap_err().to_string();
        assert_eq!(text, "database cannot be used: the login is refused: mongodb://a:***@h says no");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
