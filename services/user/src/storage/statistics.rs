//! How many orders each user has placed, paid, cancelled and owns, counted from order service's events. They are kept
//! beside the user and not in it: their writes would conflict with those to the user, and change the user's etag though
//! nothing that an editor sees has changed.

use std::collections::HashMap;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use types::UserId;

use super::driver::bounded;
use super::{SERVER_TIME, Store, Tx};
use crate::domain::user::OrderStatistics;
use crate::error::{Error, Result};

const COLLECTION: &str = "order_statistics";
const REMOVED_AT_ONCE: i64 = 500;

/// Whose sums they are.
#[derive(Debug, Deserialize)]
struct IdRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
}

/// The sums of one of many users.
#[derive(Debug, Deserialize)]
struct UserSumsRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    #[serde(flatten)]
    sums: SumsRow,
}

/// The sums of one user as the database has them.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct SumsRow {
    placed_count: i64,
    paid_count: i64,
    cancelled_count: i64,
    owned_count: i64,
}

impl From<SumsRow> for OrderStatistics {
    fn from(row: SumsRow) -> Self {
        Self {
            placed_count: row.placed_count,
            paid_count: row.paid_count,
            cancelled_count: row.cancelled_count,
            owned_count: row.owned_count,
        }
    }
}

impl From<OrderStatistics> for SumsRow {
    fn from(sums: OrderStatistics) -> Self {
        Self {
            placed_count: sums.placed_count,
            paid_count: sums.paid_count,
            cancelled_count: sums.cancelled_count,
            owned_count: sums.owned_count,
        }
    }
}

impl Store {
    /// A user's sums; zeros as long as there is no order.
    pub(crate) async fn statistics_fetch(&self, user_id: UserId) -> Result<OrderStatistics> {
        let sums = self.collection::<SumsRow>(COLLECTION);
        let row = bounded(sums.find_one(by_id(user_id)).max_time(SERVER_TIME)).await?;
        Ok(row.unwrap_or_default().into())
    }
}

impl Store {
    /// The sums of those of these users who have any.
    pub(crate) async fn statistics_list(&self, users: &[UserId]) -> Result<HashMap<UserId, OrderStatistics>> {
        let ids: Vec<bson::Uuid> = users.iter().map(|id| id.uuid().into()).collect();
        let sums = self.collection::<UserSumsRow>(COLLECTION);
        let rows = bounded(sums.find(doc! { "_id": { "$in": ids } }).max_time(SERVER_TIME)).await?;
        let rows: Vec<UserSumsRow> = bounded(rows.try_collect()).await?;
        Ok(rows.into_iter().map(|row| (UserId::from_uuid(row.id.into()), row.sums.into())).collect())
    }
}

impl Tx {
    /// A user's sums, as of this transaction's snapshot.
    pub(crate) async fn statistics_fetch(&mut self, user_id: UserId) -> Result<OrderStatistics> {
        let (sums, session) = self.on::<SumsRow>(COLLECTION);
        let row = bounded(sums.find_one(by_id(user_id)).session(session)).await?;
        Ok(row.unwrap_or_default().into())
    }

    /// Adds to the sums of many users with one command.
    pub(crate) async fn statistics_add(
        &mut self,
        more: impl Iterator<Item = (UserId, OrderStatistics)>,
    ) -> Result<()> {
        let updates = more
            .map(|(user_id, sums)| {
                let sums = bson::serialize_to_document(&SumsRow::from(sums)).map_err(Error::internal)?;
                Ok(doc! { "q": by_id(user_id), "u": { "$inc": sums }, "upsert": true })
            })
            .collect::<Result<Vec<Document>>>()?;
        if updates.is_empty() {
            return Ok(());
        }
        self.update_all(COLLECTION, updates).await
    }

    /// Makes the sums of many users these, whatever they were, with one command.
    pub(crate) async fn statistics_replace(&mut self, sums: &[(UserId, OrderStatistics)]) -> Result<()> {
        let updates = sums
            .iter()
            .map(|(user_id, sums)| {
                let sums = bson::serialize_to_document(&SumsRow::from(*sums)).map_err(Error::internal)?;
                Ok(doc! { "q": by_id(*user_id), "u": { "$set": sums }, "upsert": true })
            })
            .collect::<Result<Vec<Document>>>()?;
        self.update_all(COLLECTION, updates).await
    }

    /// Removes some of the sums above one user and up to another, but for those of `known`; tells whether none are
    /// left. One transaction has little time.
    pub(crate) async fn statistics_remove_some(
        &mut self,
        after: Option<UserId>,
        through: Option<UserId>,
        known: &[UserId],
    ) -> Result<bool> {
        let id = |user_id: UserId| bson::Uuid::from(user_id.uuid());
        let mut range = doc! { "$nin": known.iter().map(|user_id| id(*user_id)).collect::<Vec<_>>() };
        range.extend(after.map(|after| ("$gt".to_owned(), id(after).into())));
        range.extend(through.map(|through| ("$lte".to_owned(), id(through).into())));
        let (sums, session) = self.on::<IdRow>(COLLECTION);
        let find = sums.find(doc! { "_id": range }).projection(doc! { "_id": 1 }).limit(REMOVED_AT_ONCE);
        let mut cursor = bounded(find.session(&mut *session)).await?;
        let rows: Vec<IdRow> = bounded(cursor.stream(&mut *session).try_collect()).await?;
        let is_done = i64::try_from(rows.len()).is_ok_and(|count| count < REMOVED_AT_ONCE);
        if !rows.is_empty() {
            let ids: Vec<bson::Uuid> = rows.into_iter().map(|row| row.id).collect();
            bounded(sums.delete_many(doc! { "_id": { "$in": ids } }).session(session)).await?;
        }
        Ok(is_done)
    }
}

fn by_id(user_id: UserId) -> Document {
    doc! { "_id": bson::Uuid::from(user_id.uuid()) }
}
