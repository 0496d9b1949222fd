//! Doing a transaction until it gets through. On MongoDB a conflict aborts at once rather than waiting for a lock,
//! so the loser tries again after a random pause.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout_at};
use types::Failure;

use super::{Store, Tx};
use crate::error::{Error, Result};

/// No try begins later than this after the first.
const TRY_WITHIN: Duration = Duration::from_secs(3);
/// The server ends a transaction after three seconds; no use in going on with it for long.
const ATTEMPT_TIME: Duration = Duration::from_secs(4);
const FIRST_PAUSE_MS: f64 = 5.0;
const LONGEST_PAUSE_MS: f64 = 200.0;
const GROWTH: f64 = 1.5;

impl Store {
    /// Runs `work` in a transaction and commits it. Conflicts with others, and a server that goes away before the
    /// commit, are tried again with jitter for a bounded time; beyond it the outcome is what the last try met.
    /// Whether a commit took effect that the server said nothing about is asked of the server, never guessed.
    /// `work` may run several times: all that it does must be done through the transaction.
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
            let error = match self.attempt(name, &context, &work).await {
                Attempt::Done(outcome) => return outcome,
                Attempt::Nothing(error) => error,
            };
            let pause = pause(tries);
            if Instant::now() + pause >= give_up {
                tracing::debug!(transaction = name, tries, "gave up on a transaction");
                return Err(error);
            }
            sleep(pause).await;
            tries += 1;
        }
    }

    async fn attempt<C, T, F>(&self, name: &'static str, context: &C, work: &F) -> Attempt<T>
    where
        C: Sync,
        F: for<'t> Fn(&'t mut Tx, &'t C) -> BoxFuture<'t, Result<T>>,
    {
        fault::point!("business.beginning", name);
        let mut tx = match self.begin(name).await {
            Ok(tx) => tx,
            Err(error) => return Attempt::Nothing(error),
        };
        let worked = async {
            let value = work(&mut tx, context).await?;
            tx.flush().await?;
            Ok(value)
        };
        let outcome = timeout_at(Instant::now() + ATTEMPT_TIME, worked)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("a transaction took too long")));
        match outcome {
            Ok(value) => {
                fault::point!("business.committing", name);
                match tx.commit().await {
                    Ok(()) => {
                        fault::point!("business.committed", name);
                        Attempt::Done(Ok(value))
                    }
                    Err(error) if is_contention(&error) => Attempt::Nothing(error),
                    Err(error) => Attempt::Done(Err(error)),
                }
            }
            // Whoever does not answer would not answer an abort: that is left to the driver.
            Err(error @ Error::Failure(Failure::Unavailable { .. })) => Attempt::Nothing(error),
            Err(error) => {
                tx.rollback().await;
                if is_contention(&error) { Attempt::Nothing(error) } else { Attempt::Done(Err(error)) }
            }
        }
    }
}

/// What came of one try.
enum Attempt<T> {
    /// It is over, one way or the other.
    Done(Result<T>),
    /// Nothing was committed, and the same may work in a moment.
    Nothing(Error),
}

const fn is_contention(error: &Error) -> bool {
    matches!(error, Error::Failure(Failure::Contention(_)))
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
