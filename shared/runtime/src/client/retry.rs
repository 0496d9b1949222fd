//! Repeating calls to a peer that is unavailable.

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
    /// The longest first delay.
    pub base: Duration,
    /// The longest delay.
    pub cap: Duration,
    /// The number of attempts, the first included.
    pub attempts_max: u32,
    /// The time for all attempts, unless the call being served has less time left.
    pub within: Duration,
    /// How many repeats all calls together may make.
    pub budget: Budget,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(25),
            cap: Duration::from_secs(1),
            attempts_max: 5,
            within: super::options::CALL_TIMEOUT,
            budget: Budget::default(),
        }
    }
}

/// Allows ten repeats in a row, and one more for every ten successes, so that a peer that is down does not get more
/// calls than one that is up.
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

/// Repeats a call while its answer is UNAVAILABLE, or while it could not be sent because the connection was lost. Only
/// for calls that are idempotent or carry a `request_id`: the first one may have taken effect.
///
/// # Errors
/// The last answer, when it is any other error, or when attempts, time or budget are used up.
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
