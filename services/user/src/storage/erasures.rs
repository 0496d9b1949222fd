//! What is still to be removed of users who are gone. The document is made with the tombstone and is there until all is
//! done, so that no process that dies leaves a rest. Its own state is all that is written here besides: nothing that a
//! transaction has read depends on it, and what it is about may be done twice.

use bson::{Document, doc};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use types::UserId;

use super::{SERVER_TIME, Store, Tx, bounded, from_time};
use crate::domain::leaving::Erasure;
use crate::error::{Error, Result};

const COLLECTION: &str = "erasure";

#[derive(Debug, Serialize, Deserialize)]
struct ErasureRow {
    #[serde(rename = "_id")]
    user_id: bson::Uuid,
    delete_posts: bool,
    is_second: bool,
    /// When it is looked at next.
    due_time: bson::DateTime,
    create_time: bson::DateTime,
}

impl From<ErasureRow> for Erasure {
    fn from(row: ErasureRow) -> Self {
        Self {
            user_id: UserId::from_uuid(row.user_id.into()),
            delete_posts: row.delete_posts,
            is_second: row.is_second,
        }
    }
}

impl Tx {
    /// Notes what is to be removed of a user, from now on.
    pub(crate) fn erasure_insert(&mut self, erasure: &Erasure, now: OffsetDateTime) -> Result<()> {
        let row = ErasureRow {
            user_id: erasure.user_id.uuid().into(),
            delete_posts: erasure.delete_posts,
            is_second: erasure.is_second,
            due_time: from_time(now),
            create_time: from_time(now),
        };
        let row = bson::serialize_to_document(&row).map_err(Error::internal)?;
        self.insert(COLLECTION, row, None);
        Ok(())
    }
}

impl Store {
    /// What has been due for longest.
    pub(crate) async fn erasure_next(&self, now: OffsetDateTime) -> Result<Option<Erasure>> {
        let erasures = self.collection::<ErasureRow>(COLLECTION);
        let due =
            erasures.find_one(doc! { "due_time": { "$lte": from_time(now) } }).sort(doc! { "due_time": 1 });
        let row = bounded(due.max_time(SERVER_TIME)).await?;
        Ok(row.map(Erasure::from))
    }

    /// Has it looked at at another time, for the first or the second time.
    pub(crate) async fn erasure_put_off(&self, erasure: &Erasure, until: OffsetDateTime) -> Result<()> {
        let erasures = self.collection::<Document>(COLLECTION);
        let change = doc! { "$set": { "is_second": erasure.is_second, "due_time": from_time(until) } };
        bounded(erasures.update_one(by_id(erasure.user_id), change)).await.map(drop)
    }

    /// All is done.
    pub(crate) async fn erasure_delete(&self, user: UserId) -> Result<()> {
        let erasures = self.collection::<Document>(COLLECTION);
        bounded(erasures.delete_one(by_id(user))).await.map(drop)
    }
}

fn by_id(id: UserId) -> Document {
    doc! { "_id": bson::Uuid::from(id.uuid()) }
}
