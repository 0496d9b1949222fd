//! Transactions from their beginning to their end, and what is done again because others were in the way.

use std::sync::Arc;
use std::time::Duration;

use types::{Backoff, Effect};

use super::connection::Connection;
use super::driver::is_tried_again;
use super::store::Store;
use super::tx::{Finished, Returned, Tx};
use crate::error::{Error, Result};

/// How often something is tried that concurrent changes got in the way of.
const ATTEMPTS: u32 = 6;
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_millis(250);

impl Store {
    /// Begins a transaction. Dropping it unfinished rolls it back by closing its connection; prefer
    /// [`Store::transaction`], which keeps the connection.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(Tx::new(self.begin_on_connection().await?, Arc::clone(&self.signals), "", None))
    }

    /// Does `work` in a transaction, and ends it as the work says: [`Tx::commit`] or [`Tx::abandon`]. An error rolls it
    /// back, and when concurrent changes got in the way all is done again, a few times, with jitter. `name` is for logs.
    /// An error of the work says that nothing changed, since nothing was committed; only one of the commit may not know.
    ///
    /// ```
    /// # async fn answer(store: order_service::storage::Store, name: &'static str) -> order_service::Result<i32> {
    /// store.transaction(name, |tx| async move { Ok(tx.commit(42)) }).await
    /// # }
    /// ```
    ///
    /// Work that does not say how its transaction ends does not compile:
    ///
    /// ```compile_fail
    /// # async fn answer(store: order_service::storage::Store, name: &'static str) -> order_service::Result<i32> {
    /// store.transaction(name, |tx| async move { Ok(42) }).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `work`, and of the commit; [`types::Failure::Contention`] when concurrent changes got in the way every time.
    pub async fn transaction<T, F, Fut>(&self, name: &'static str, mut work: F) -> Result<T>
    where
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<Finished<T>>>,
    {
        let mut retries = Retries::of(name);
        loop {
            fault::point!("business.beginning", name);
            let connection = self.begin_on_connection().await?;
            let returned = Returned::default();
            let tx = Tx::new(connection, Arc::clone(&self.signals), name, Some(returned.clone()));
            let result = match work(tx).await {
                Ok(finished) => finished.end().await,
                Err(error) => Err(error.with_effect(Effect::None)),
            };
            returned.roll_back().await;
            match result {
                Err(error) if is_tried_again(&error) => retries.pause(error).await?,
                result => return result,
            }
        }
    }

    async fn begin_on_connection(&self) -> Result<Connection> {
        // Idle sessions that the server has ended meanwhile are found out here; nothing was done yet.
        let mut connection = self.read().await?;
        if let Err(error) = connection.begin().await {
            if !connection.is_broken() {
                return Err(error.with_effect(Effect::None));
            }
            drop(connection);
            connection = self.read().await?;
            connection.begin().await.map_err(|error| error.with_effect(Effect::None))?;
        }
        Ok(connection)
    }
}

/// What to do when something got in the way that may be gone in a moment: again after a pause, but not for ever.
#[derive(Debug)]
pub(crate) struct Retries {
    name: &'static str,
    left: u32,
    backoff: Backoff,
}

impl Retries {
    /// Of something with this name, for logs.
    pub(crate) fn of(name: &'static str) -> Self {
        Self { name, left: ATTEMPTS, backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY) }
    }

    /// Waits until it is time to try again.
    ///
    /// # Errors
    /// The error itself when it was tried often enough.
    pub(crate) async fn pause(&mut self, error: Error) -> Result<()> {
        let name = self.name;
        tracing::debug!(
            name,
            error = &error as &dyn std::error::Error,
            "something got in the way; trying again"
        );
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            tracing::warn!(name, attempts = ATTEMPTS, "gave up: something got in the way every time");
            return Err(error);
        }
        tokio::time::sleep(self.backoff.next_delay()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_others_get_in_the_way_of_is_tried_again_after_pauses_and_not_for_ever() {
        let (mut retries, begun) = (Retries::of("test"), Instant::now());
        let mut before = begun;
        for bound in [10, 20, 40, 80, 160] {
            retries.pause(Error::contention("a deadlock")).await.unwrap();
            assert!(before.elapsed() <= Duration::from_millis(bound + 1));
            before = Instant::now();
        }
        assert!(begun.elapsed() > Duration::ZERO);
        let last = retries.pause(Error::contention("a deadlock")).await;
        assert!(matches!(last, Err(Error::Failure(types::Failure::Contention(_)))), "{last:?}");
    }
}
