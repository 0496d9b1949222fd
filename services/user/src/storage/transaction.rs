//! Doing a transaction until it gets through. On MongoDB a conflict aborts at once rather than waiting for a lock,
//! so the loser tries again after a random pause.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use types::{Effect, Failure};

use super::driver::{LONGER_THAN_LOCKS, is_tried_again};
use super::{Store, Tx};
use crate::error::{Error, Result};

/// No try begins later than this after the first.
const TRY_WITHIN: Duration = Duration::from_secs(3);
/// The server ends a transaction that is so old; no use in going on with it for longer.
const ATTEMPT_TIME: Duration = LONGER_THAN_LOCKS;
const FIRST_PAUSE_MS: f64 = 5.0;
const LONGEST_PAUSE_MS: f64 = 200.0;
const GROWTH: f64 = 1.5;

/// What the work of a transaction came to: made by [`Tx::commit`] and [`Tx::abandon`], and by nothing else.
#[derive(Debug)]
#[must_use]
pub struct Finished<T> {
    tx: Tx,
    value: T,
    is_to_commit: bool,
}

impl Tx {
    /// What was done shall be committed, which [`Store::transaction`] does.
    pub fn commit<T>(self, value: T) -> Finished<T> {
        Finished { tx: self, value, is_to_commit: true }
    }

    /// Nothing shall be left of what was done; [`Store::transaction`] rolls it back.
    pub fn abandon<T>(self, value: T) -> Finished<T> {
        Finished { tx: self, value, is_to_commit: false }
    }
}

impl Store {
    /// Runs `work` in a transaction and ends it as the work says. Conflicts with others, and a server that goes away
    /// before the commit, are tried again with jitter for a bounded time; beyond it the outcome is what the last try
    /// met. Whether a commit took effect that the server said nothing about is asked of the server, never guessed.
    /// `work` may run several times: all that it does must be done through the transaction.
    ///
    /// ```no_run
    /// # use user_service::{Result, storage::Store};
    /// # async fn answer(store: &Store, name: &'static str) -> Result<i32> {
    /// store.transaction(name, |tx| async move { Ok(tx.commit(42)) }).await
    /// # }
    /// ```
    ///
    /// Work that forgets to say how the transaction ends does not compile:
    ///
    /// ```compile_fail
    /// # use user_service::{Result, storage::Store};
    /// # async fn answer(store: &Store, name: &'static str) -> Result<i32> {
    /// store.transaction(name, |tx| async move { Ok(42) }).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `work` and of the commit.
    pub async fn transaction<T, F, Fut>(&self, name: &'static str, mut work: F) -> Result<T>
    where
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<Finished<T>>>,
    {
        let give_up = Instant::now() + TRY_WITHIN;
        let mut tries = 0;
        loop {
            let error = match self.attempt(name, &mut work).await {
                Attempt::Over(outcome) => return outcome,
                Attempt::NothingDone(error) => error,
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

    async fn attempt<T, F, Fut>(&self, name: &'static str, work: &mut F) -> Attempt<T>
    where
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<Finished<T>>>,
    {
        fault::point!("business.beginning", name);
        let tx = match self.begin(name).await {
            Ok(tx) => tx,
            Err(error) => return Attempt::without_commit(error),
        };
        // Work that fails drops the transaction; its session is rolled back here, before the next try.
        let session = tx.session_shared();
        let worked = async {
            let mut finished = work(tx).await?;
            if finished.is_to_commit {
                finished.tx.flush().await?;
            }
            Ok(finished)
        };
        let outcome = timeout_at(Instant::now() + ATTEMPT_TIME, worked)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("a transaction took too long")));
        match outcome {
            Ok(Finished { tx, value, is_to_commit: true }) => {
                fault::point!("business.committing", name);
                match tx.commit_now().await {
                    Ok(()) => {
                        fault::point!("business.committed", name);
                        Attempt::Over(Ok(value))
                    }
                    Err(error) if error.is_contention() => Attempt::NothingDone(error),
                    Err(error) => Attempt::Over(Err(error)),
                }
            }
            Ok(Finished { tx, value, is_to_commit: false }) => {
                tx.rollback().await;
                Attempt::Over(Ok(value))
            }
            Err(error) => {
                // Whoever does not answer would not answer an abort: that is left to the driver.
                if !matches!(error, Error::Failure(Failure::Unavailable { .. })) {
                    session.abort().await;
                }
                Attempt::without_commit(error)
            }
        }
    }
}

/// What came of one try.
enum Attempt<T> {
    /// The transaction is over, one way or the other.
    Over(Result<T>),
    /// Nothing was committed, and the same may work in a moment.
    NothingDone(Error),
}

impl<T> Attempt<T> {
    /// What failed before anything was committed.
    fn without_commit(error: Error) -> Self {
        let error = error.with_effect(Effect::None);
        if is_tried_again(&error) { Self::NothingDone(error) } else { Self::Over(Err(error)) }
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
