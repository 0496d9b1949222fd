//! Rebuilding the read model of users from user service's snapshot, when its events cannot be replayed.
//!
//! What is known here may be newer than the snapshot and wrong: of a future that a restore of user service's
//! database took back. So versions decide nothing here, and users that are not in the snapshot are removed.

use events::admin::{BoxFuture, Rebuild, Snapshot};
use events::{ConsumerTx as _, Mark, RESYNC_HOLD, StoreError};

use super::CUSTOMERS;
use crate::clients::{UserSnapshot, Users};
use crate::error::{Error, Result};
use crate::storage::Store;

/// The snapshot of `order.customers`.
#[derive(Debug)]
pub(crate) struct CustomersSnapshot {
    pub(crate) users: Users,
    pub(crate) store: Store,
}

impl Snapshot for CustomersSnapshot {
    fn open(&self) -> BoxFuture<'_, Result<Box<dyn Rebuild>, StoreError>> {
        Box::pin(async {
            let (snapshot, store) = (self.users.snapshot().await?, self.store.clone());
            Ok(Box::new(Rebuilding { snapshot, store }) as Box<dyn Rebuild>)
        })
    }
}

/// A snapshot that is being read.
struct Rebuilding {
    snapshot: UserSnapshot,
    store: Store,
}

impl Rebuilding {
    async fn run(mut self, held: &str) -> Result<u64> {
        let begun = self.store.database_time().await?;
        let mut aggregates = 0;
        while let Some(page) = self.snapshot.next_page().await? {
            aggregates += page.len() as u64;
            let page = &page;
            self.store
                .transaction("rebuild_customers", |mut tx| async move {
                    if !tx.resync_holds(CUSTOMERS, held, RESYNC_HOLD).await? {
                        return Err(Error::unavailable("another resync took over"));
                    }
                    tx.customers_replace(page).await?;
                    Ok(tx.commit(()))
                })
                .await?;
        }
        self.store
            .transaction("rebuild_customers_end", |mut tx| async move {
                if !tx.resync_holds(CUSTOMERS, held, RESYNC_HOLD).await? {
                    return Err(Error::unavailable("another resync took over"));
                }
                tx.customers_remove_untouched(begun).await?;
                Ok(tx.commit(()))
            })
            .await?;
        Ok(aggregates)
    }
}

impl Rebuild for Rebuilding {
    fn mark(&self) -> Mark {
        let head = &self.snapshot.head;
        Mark::at(head.epoch, head.position, head.event_id)
    }

    fn write(self: Box<Self>, held: String) -> BoxFuture<'static, Result<u64, StoreError>> {
        Box::pin(async move { Ok(self.run(&held).await?) })
    }
}
