//! Rebuilding the read model of users from user service's snapshot, when its events cannot be replayed.

use events::StoreError;
use events::admin::{BoxFuture, Rebuilt, Snapshot};

use crate::clients::Users;
use crate::error::Result;
use crate::storage::Store;

/// The snapshot of `order.customers`.
#[derive(Debug)]
pub(crate) struct CustomersSnapshot {
    pub(crate) users: Users,
    pub(crate) store: Store,
}

impl CustomersSnapshot {
    async fn run(&self) -> Result<Rebuilt> {
        let mut snapshot = self.users.snapshot().await?;
        let mut aggregates = 0;
        while let Some(page) = snapshot.next_page().await? {
            aggregates += page.len() as u64;
            let page = &page;
            self.store
                .transaction("rebuild_customers", |mut tx| async move {
                    tx.customers_upsert(page).await?;
                    tx.commit().await
                })
                .await?;
        }
        Ok(Rebuilt { aggregates, head: snapshot.head })
    }
}

impl Snapshot for CustomersSnapshot {
    fn rebuild(&self) -> BoxFuture<'_, Result<Rebuilt, StoreError>> {
        Box::pin(async { Ok(self.run().await?) })
    }
}
