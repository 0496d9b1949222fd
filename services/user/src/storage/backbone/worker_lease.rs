//! Which replica does what only one need do. Going by it is thrift: whoever works without it does no harm,
//! because what is done excludes itself by other means.

use std::time::Duration;

use bson::doc;
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::lease;
use crate::error::Result;
use crate::storage::driver::{bounded, bounded_raw, classify, is_duplicate_key};
use crate::storage::{SERVER_TIME, Store, to_time};

const COLLECTION: &str = "worker_lease";

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "_id")]
    worker: String,
    owner: bson::Uuid,
    lease_until: bson::DateTime,
    /// The server's clock when the lease was last taken or renewed.
    renewed_at: bson::DateTime,
}

impl Store {
    /// Takes a worker's lease if it is free or run out, renews it if `owner` has it, and tells the server's
    /// time; `None` while another replica has it.
    pub(crate) async fn worker_lease(
        &self,
        worker: &str,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<OffsetDateTime>> {
        let owner = bson::Uuid::from(owner);
        let rows = self.collection::<Row>(COLLECTION);
        let free = doc! { "$or": [{ "$eq": ["$owner", owner] }, { "$lte": ["$lease_until", "$$NOW"] }] };
        let taken = doc! { "owner": owner, "lease_until": lease::until(duration), "renewed_at": "$$NOW" };
        let take = async || {
            let update = rows
                .find_one_and_update(doc! { "_id": worker, "$expr": &free }, vec![doc! { "$set": &taken }])
                .return_document(ReturnDocument::After)
                .max_time(SERVER_TIME);
            Ok(bounded(update).await?.map(|row| to_time(row.renewed_at)))
        };
        if let Some(now) = take().await? {
            return Ok(Some(now));
        }
        // Either another has it, or this is the first time that anybody asks.
        let long_ago = bson::DateTime::from_millis(0);
        let row = Row {
            worker: worker.to_owned(),
            owner: Uuid::nil().into(),
            lease_until: long_ago,
            renewed_at: long_ago,
        };
        match bounded_raw(rows.insert_one(row)).await {
            Ok(_) => take().await,
            Err(error) if is_duplicate_key(&error) => Ok(None),
            Err(error) => Err(classify(error).into()),
        }
    }
}
