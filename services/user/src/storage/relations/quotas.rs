//! How many each user follows at the most: a number that is never below the count of the edges that begin at the user. It
//! is written by whatever the user does to their own follows and by nobody else, so that nobody meets anybody there. What
//! removes edges without being asked by the user leaves it too high, which a count mends when it matters.

use bson::{Document, doc};
use mongodb::options::UpdateOneModel;
use serde::{Deserialize, Serialize};
use types::UserId;

use crate::error::{Error, Result};
use crate::storage::writes::conflict;
use crate::storage::{Tx, bounded};

const COLLECTION: &str = "follow_quota";

#[derive(Debug, Serialize, Deserialize)]
struct QuotaRow {
    #[serde(rename = "_id")]
    user_id: bson::Uuid,
    at_most: i64,
}

impl Tx {
    /// How many a user follows at the most, as of this transaction's snapshot; `None` for who never followed anybody.
    pub(crate) async fn follow_quota_fetch(&mut self, user: UserId) -> Result<Option<i64>> {
        let (quotas, session) = self.on::<QuotaRow>(COLLECTION);
        let row = bounded(quotas.find_one(by_id(user)).session(session)).await?;
        Ok(row.map(|row| row.at_most))
    }

    /// Writes how many a user follows at the most, guarded by what was read.
    pub(crate) fn follow_quota_set(&mut self, user: UserId, before: Option<i64>, at_most: i64) -> Result<()> {
        let Some(before) = before else {
            let row = QuotaRow { user_id: user.uuid().into(), at_most };
            let row = bson::serialize_to_document(&row).map_err(Error::internal)?;
            self.insert(COLLECTION, row, Some(conflict));
            return Ok(());
        };
        let update = doc! { "$set": { "at_most": at_most } };
        self.follow_quota_update(as_read(user, before), update);
        Ok(())
    }

    /// Writes that a user follows one fewer at the most, which who follows somebody does.
    pub(crate) fn follow_quota_take(&mut self, user: UserId) {
        self.follow_quota_update(by_id(user), doc! { "$inc": { "at_most": -1_i64 } });
    }

    /// Deletes what is kept of somebody who follows nobody, guarded by what was read.
    pub(crate) fn follow_quota_delete(&mut self, user: UserId, before: i64) {
        self.delete(COLLECTION, as_read(user, before));
    }

    fn follow_quota_update(&mut self, filter: Document, update: Document) {
        let quotas = self.namespace(COLLECTION);
        self.update(UpdateOneModel::builder().namespace(quotas).filter(filter).update(update).build());
    }
}

fn by_id(user: UserId) -> Document {
    doc! { "_id": bson::Uuid::from(user.uuid()) }
}

fn as_read(user: UserId, at_most: i64) -> Document {
    doc! { "_id": bson::Uuid::from(user.uuid()), "at_most": at_most }
}
