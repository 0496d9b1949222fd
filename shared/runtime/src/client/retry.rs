//! Repeating calls that found nobody at home.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};
use types::Backoff;

use super::outcome::{never_began, retry_after};
use crate::deadline::Deadline;

/// How a call may be repeated. Clones share the budget: keep one policy for each peer.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Bound of the first delay.
    pub base: Duration,
    /// Bound of every delay.
    pub cap: Duration,
    /// Attempts in all.
    pub attempts_max: u32,
    /// Time in all, when the call being served leaves no less.
    pub within: Duration,
    /// What all calls together may repeat.
    pub budget: Budget,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(25),
            cap: Duration::from_secs(1),
            attempts_max: 5,
            within: super::CALL_TIMEOUT,
            budget: Budget::default(),
        }
    }
}

/// Ten repeats in a row, and one more for every ten successes: a peer that is down is not called all the more
/// for it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<AtomicI64>);

const REPEAT: i64 = 10;
const FULL: i64 = 10 * REPEAT;

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(FULL)))
    }
}

impl Budget {
    fn earn(&self) {
        if self.0.load(Ordering::Relaxed) < FULL {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn spend(&self) -> bool {
        let take = |left: i64| (left >= REPEAT).then_some(left - REPEAT);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// Repeats a call while it answers UNAVAILABLE, or was not sent because the connection went away. Only for calls that are idempotent or carry a `request_id`:
/// whether the first one took effect is not known.
///
/// # Errors
/// The last answer, when it is another one or attempts, time or budget are used up.
pub async fn retry_unavailable<T, F, Fut>(policy: &RetryPolicy, mut call: F) -> Result<T, Status>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Status>>,
{
    let mut end = Instant::now() + policy.within;
    if let Some(Deadline(deadline)) = Deadline::current() {
        end = end.min(deadline);
    }
    let mut backoff = Backoff::new(policy.base, policy.cap);
    let mut attempts = 1;
    loop {
        let status = match call().await {
            Ok(answer) => {
                policy.budget.earn();
                return Ok(answer);
            }
            Err(status) => status,
        };
        let delay = backoff.next_delay().max(retry_after(&status).unwrap_or_default());
        let may_repeat = (status.code() == Code::Unavailable || never_began(&status))
            && attempts < policy.attempts_max
            && Instant::now() + delay < end
            && policy.budget.spend();
        if !may_repeat {
            return Err(status);
        }
        tracing::debug!(attempts, message = status.message(), "the peer is unavailable; trying again");
        attempts += 1;
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn attempts(policy: &RetryPolicy, answer: impl Fn(u32) -> Result<(), Status>) -> (u32, bool) {
        let count = Cell::new(0);
        let result = retry_unavailable(policy, || {
            count.set(count.get() + 1);
            std::future::ready(answer(count.get()))
        });
        let succeeded = result.await.is_ok();
        (count.get(), succeeded)
    }

    #[tokio::test(start_paused = true)]
    async fn only_unavailable_is_repeated_and_not_for_ever() {
        let policy = RetryPolicy::default();
        assert_eq!(attempts(&policy, |_| Err(Status::internal(""))).await, (1, false));
        assert_eq!(
            attempts(&policy, |n| if n < 3 { Err(Status::unavailable("")) } else { Ok(()) }).await,
            (3, true)
        );
        assert_eq!(attempts(&policy, |_| Err(Status::unavailable(""))).await, (5, false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_ends_repeats_and_successes_refill_it() {
        let policy =
            RetryPolicy { attempts_max: 100, within: Duration::from_secs(3600), ..RetryPolicy::default() };
        assert_eq!(attempts(&policy, |_| Err(Status::unavailable(""))).await, (11, false));
        assert_eq!(attempts(&policy, |_| Err(Status::unavailable(""))).await, (1, false));
        for _ in 0..10 {
            assert_eq!(attempts(&policy, |_| Ok(())).await, (1, true));
        }
        assert_eq!(attempts(&policy, |_| Err(Status::unavailable(""))).await, (2, false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_the_call_being_served_ends_repeats() {
        let policy = RetryPolicy { base: Duration::from_secs(1), ..RetryPolicy::default() };
        let deadline = Deadline(Instant::now() + Duration::from_millis(1));
        let (count, _) = deadline.scope(attempts(&policy, |_| Err(Status::unavailable("")))).await;
        assert!(count <= 2, "{count}");
        assert!(Instant::now() <= deadline.0);
    }
}
