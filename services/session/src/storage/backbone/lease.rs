//! Which replica publishes the streams, and how it notices that Redis is another server than before.

use std::time::Duration;

use events::{RelayLease, StoreError};
use futures_util::future::join_all;
use uuid::Uuid;

use crate::domain::Partition;
use crate::error::Result;
use crate::storage::driver::millis;
use crate::storage::{Store, keys, scripts};

impl RelayLease for Store {
    async fn hold(&self, owner: Uuid, duration: Duration) -> Result<bool, StoreError> {
        let held = self.relay_lease_take(owner, duration).await?;
        if held {
            self.streams_adopt().await?;
        }
        Ok(held)
    }

    async fn appended(&self) -> Vec<String> {
        self.options.appended.next().await.into_iter().map(Partition::stream).collect()
    }
}

impl Store {
    async fn relay_lease_take(&self, owner: Uuid, duration: Duration) -> Result<bool> {
        let mut script = scripts::LEASE_TAKE.key(keys::RELAY_LEASE);
        script.arg(owner.to_string()).arg(millis(duration));
        self.redis.script(&script).await
    }

    /// Gives the streams new epochs when they were last seen on another server. This is done whenever the relay's lease
    /// is renewed, so a failover, or a stream that is new after a flush, is noticed within a second.
    async fn streams_adopt(&self) -> Result<()> {
        let run_id = self.run_id().await?;
        let adoptions = Partition::all().map(|partition| self.stream_adopt(partition, &run_id));
        for adopted in join_all(adoptions).await {
            adopted?;
        }
        Ok(())
    }

    async fn stream_adopt(&self, partition: Partition, run_id: &str) -> Result<()> {
        let mut script = scripts::STREAM_ADOPT.key(keys::stream(partition));
        script.key(keys::events(partition)).arg(Uuid::new_v4().to_string()).arg(run_id);
        if self.redis.script::<bool>(&script).await? {
            let stream = partition.stream();
            tracing::warn!(stream, "Redis is another server: the stream has a new epoch");
        }
        Ok(())
    }
}
