//! Doing a transaction until it gets through. On MongoDB a conflict aborts at once rather than waiting for a lock,
//! so the loser tries again after a random pause.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Store, Tx};
use crate::error::{Error, Result};

/// No try begins later than this after the first.
const TRY_WITHIN: Duration = Duration::from_secs(3);
/// The server ends a transaction after three seconds; no use in going on with it.
const ATTEMPT_TIME: Duration = Duration::from_secs(3);
const FIRST_PAUSE_MS: f64 = 5.0;
const LONGEST_PAUSE_MS: f64 = 200.0;
const GROWTH: f64 = 1.5;

impl Store {
    /// Runs `work` in a transaction and commits it. Conflicts with others are tried again, with jitter, for a
    /// bounded time; beyond it the outcome is [`Error::Contention`]. `work` may run several times: all that it
    /// does must be done through the transaction.
    ///
    /// `work` takes what it needs from `context`, not from its surroundings: that is what lets the compiler see
    /// that its future can be sent.
    ///
    /// # Errors
    /// Those of `work` and of the commit.
    pub async fn transaction<C, T, F>(&self, name: &'static str, context: C, work: F) -> Result<T>
    where
        C: Sync,
        F: for<'t> Fn(&'t mut Tx, &'t C) -> BoxFuture<'t, Result<T>>,
    {
        let give_up = Instant::now() + TRY_WITHIN;
        let mut tries = 0;
        loop {
            match self.attempt(name, &context, &work).await {
                Err(Error::Contention) => {}
                outcome => return outcome,
            }
            let pause = pause(tries);
            if Instant::now() + pause >= give_up {
                tracing::debug!(transaction = name, tries, "gave up on conflicts");
                return Err(Error::Contention);
            }
            sleep(pause).await;
            tries += 1;
        }
    }

    async fn attempt<C, T, F>(&self, name: &'static str, context: &C, work: &F) -> Result<T>
    where
        C: Sync,
        F: for<'t> Fn(&'t mut Tx, &'t C) -> BoxFuture<'t, Result<T>>,
    {
        let mut tx = self.begin(name).await?;
        let outcome = timeout_at(Instant::now() + ATTEMPT_TIME, work(&mut tx, context))
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("a transaction took too long")));
        match outcome {
            Ok(value) => tx.commit().await.map(|()| value),
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }
}

/// Full jitter over the growth that MongoDB's drivers agree on.
fn pause(tries: i32) -> Duration {
    let ceiling = (FIRST_PAUSE_MS * GROWTH.powi(tries)).min(LONGEST_PAUSE_MS);
    Duration::from_secs_f64(fastrand::f64() * ceiling / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_below_their_ceiling_however_often_one_tries() {
        for tries in [0, 1, 10, 1000] {
            assert!(pause(tries) <= Duration::from_millis(200));
        }
    }
}
