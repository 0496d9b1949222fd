//! Rebuilding users' sums from order service's, when its events cannot be replayed.
//!
//! Sums have no version: one that is written late, over what the consumer has added since, would be wrong for ever. So
//! every write looks, in its transaction, whether the consumer is still held for this rebuild.

use events::admin::{BoxFuture, Rebuild, Snapshot};
use events::{ConsumerTx as _, Mark, RESYNC_HOLD, StoreError};
use types::UserId;

use super::STATISTICS_CONSUMER;
use crate::clients::order_statistics::{StatisticsClient, StatisticsSnapshot as Pages};
use crate::domain::user::OrderStatistics;
use crate::error::{Error, Result};
use crate::storage::Store;

/// The snapshot of `user.statistics`.
#[derive(Debug)]
pub(crate) struct StatisticsSnapshot {
    pub(crate) store: Store,
    pub(crate) orders: StatisticsClient,
}

impl Snapshot for StatisticsSnapshot {
    fn open(&self) -> BoxFuture<'_, Result<Box<dyn Rebuild>, StoreError>> {
        Box::pin(async {
            let (pages, store) = (self.orders.open().await?, self.store.clone());
            Ok(Box::new(Rebuilding { pages, store }) as Box<dyn Rebuild>)
        })
    }
}

/// Sums that are being read.
struct Rebuilding {
    pages: Pages,
    store: Store,
}

impl Rebuilding {
    async fn run(mut self, held: String) -> Result<u64> {
        let (mut users, mut after) = (0, None);
        while let Some(page) = self.pages.next_page().await? {
            let Some(end) = page.last().map(|(user_id, _)| *user_id) else { continue };
            users += page.len() as u64;
            let known = page.iter().map(|(user_id, _)| *user_id).collect();
            self.remove_others(&held, after, Some(end), known).await?;
            replace(&self.store, &held, &page).await?;
            after = Some(end);
        }
        self.remove_others(&held, after, None, Vec::new()).await?;
        Ok(users)
    }

    /// Removes the sums of whoever has none any more, between two users of the snapshot.
    async fn remove_others(
        &self,
        held: &str,
        after: Option<UserId>,
        through: Option<UserId>,
        known: Vec<UserId>,
    ) -> Result<()> {
        let known = &known;
        loop {
            let is_done = self.store.transaction("remove_statistics", |mut tx| async move {
                if !tx.resync_holds(STATISTICS_CONSUMER, held, RESYNC_HOLD).await? {
                    return Ok(tx.abandon(None));
                }
                let is_done = tx.statistics_remove_some(after, through, known).await?;
                Ok(tx.commit(Some(is_done)))
            });
            if is_done.await?.ok_or_else(taken_over)? {
                return Ok(());
            }
        }
    }
}

/// Makes these users' sums what the snapshot says.
async fn replace(store: &Store, held: &str, page: &[(UserId, OrderStatistics)]) -> Result<()> {
    let replaced = store.transaction("rebuild_statistics", |mut tx| async move {
        if !tx.resync_holds(STATISTICS_CONSUMER, held, RESYNC_HOLD).await? {
            return Ok(tx.abandon(None));
        }
        tx.statistics_replace(page).await?;
        Ok(tx.commit(Some(())))
    });
    replaced.await?.ok_or_else(taken_over)
}

/// An outcome and no conflict: it would be the same however often the transaction is tried.
fn taken_over() -> Error {
    Error::unavailable("another resync took over")
}

impl Rebuild for Rebuilding {
    fn mark(&self) -> Mark {
        self.pages.mark
    }

    fn write(self: Box<Self>, held: String) -> BoxFuture<'static, Result<u64, StoreError>> {
        Box::pin(async move { Ok(self.run(held).await?) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use testkit::TestMongo;

    use super::*;
    use crate::config::MongoConfig;
    use crate::storage::Shared;

    #[tokio::test]
    async fn whoever_lost_the_consumer_is_told_at_once() {
        let mongo = TestMongo::create().await.unwrap();
        let connect = async |url| Store::connect(&MongoConfig::for_tests(url), Shared::default()).await;
        connect(mongo.migrate_url()).await.unwrap().migrate().await.unwrap();
        let store = connect(mongo.url()).await.unwrap();
        let begun = Instant::now();
        let outcome = replace(&store, "another's", &[]).await;
        assert!(matches!(outcome, Err(Error::Failure(types::Failure::Unavailable { .. }))), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}
