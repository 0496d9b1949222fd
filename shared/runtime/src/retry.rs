//! Waiting, at the start, for the things that the process depends on.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;
use types::Backoff;

use crate::config::redact_url;

/// How long [`start_up`] waits unless told otherwise.
pub const START_UP_WITHIN: Duration = Duration::from_secs(60);

/// Repeats `attempt` until something that the process needs, such as its database, has come up. Each failure is logged
/// as WARN, with passwords in URLs masked.
///
/// # Errors
/// The last failure, once `within` has passed.
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
