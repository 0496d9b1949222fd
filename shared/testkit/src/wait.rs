//! Waiting for something to become true, with a deadline.
//!
//! Tests never sleep for a guessed time. They say what they wait for and how long it may take. When it does not happen,
//! the error holds the last thing that was seen.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Calls `check` until it answers `Ok`, and fails with its last `Err` when `within` has passed.
///
/// A check that hangs counts as failed: it is dropped at the deadline.
///
/// # Errors
/// When the deadline passes first.
pub async fn wait_until<T, E: Display>(
    within: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut pause = FIRST_PAUSE;
    let mut last = String::from("the first check has not answered");
    loop {
        match timeout_at(deadline, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(status)) => last = status.to_string(),
            Err(_) => bail!("waited {within:?} for {what}; a check was still running; before that: {last}"),
        }
        if Instant::now() + pause >= deadline {
            bail!("waited {within:?} for {what}; last: {last}");
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_as_soon_as_the_check_does() {
        let mut left = 3;
        let value = wait_until(Duration::from_secs(60), "three calls", async || {
            left -= 1;
            if left == 0 { Ok("done") } else { Err(format!("{left} left")) }
        });
        assert_eq!(value.await.unwrap(), "done");
    }

    #[tokio::test(start_paused = true)]
    async fn the_timeout_tells_the_last_status() {
        let result = wait_until(Duration::from_secs(1), "the tide", async || Err::<(), _>("still low"));
        let error = result.await.unwrap_err().to_string();
        assert_eq!(error, "waited 1s for the tide; last: still low");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_is_given_up() {
        let result = wait_until(Duration::from_secs(1), "an answer", async || {
            std::future::pending::<()>().await;
            Err::<(), _>("never said")
        });
        let error = result.await.unwrap_err().to_string();
        assert!(error.contains("a check was still running"), "{error}");
    }
}
