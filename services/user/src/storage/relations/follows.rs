//! Who follows whom.

use bson::{Binary, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, Collection};
use serde::{Deserialize, Serialize};
use types::{FollowId, UserId};

use super::pair::pair;
use crate::domain::relation::{Follow, FollowEnd};
use crate::error::{Error, Result};
use crate::storage::writes::conflict;
use crate::storage::{SERVER_TIME, Store, Tx, bounded, from_time, to_time};

const COLLECTION: &str = "follow";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FollowRow {
    #[serde(rename = "_id")]
    pair: Binary,
    follow_id: bson::Uuid,
    follower_id: bson::Uuid,
    followee_id: bson::Uuid,
    create_time: bson::DateTime,
}

impl From<&Follow> for FollowRow {
    fn from(follow: &Follow) -> Self {
        Self {
            pair: pair(follow.follower, follow.followee),
            follow_id: follow.id.uuid().into(),
            follower_id: follow.follower.uuid().into(),
            followee_id: follow.followee.uuid().into(),
            create_time: from_time(follow.create_time),
        }
    }
}

impl From<FollowRow> for Follow {
    fn from(row: FollowRow) -> Self {
        Self {
            id: FollowId::from_uuid(row.follow_id.into()),
            follower: UserId::from_uuid(row.follower_id.into()),
            followee: UserId::from_uuid(row.followee_id.into()),
            create_time: to_time(row.create_time),
        }
    }
}

impl Store {
    /// At most `limit` edges that begin or end at a user, behind `after`, newest first.
    pub(crate) async fn follow_list(
        &self,
        end: FollowEnd,
        after: Option<FollowId>,
        limit: u32,
    ) -> Result<Vec<Follow>> {
        let mut filter = at(end);
        if let Some(after) = after {
            filter.insert("follow_id", doc! { "$lt": bson::Uuid::from(after.uuid()) });
        }
        let follows = self.collection::<FollowRow>(COLLECTION);
        let find =
            follows.find(filter).sort(doc! { "follow_id": -1 }).limit(i64::from(limit)).max_time(SERVER_TIME);
        let rows: Vec<FollowRow> = bounded(bounded(find).await?.try_collect()).await?;
        Ok(rows.into_iter().map(Follow::from).collect())
    }

    /// The edges between a user and these others, both ways, in any order.
    pub(crate) async fn follow_list_between(&self, user: UserId, others: &[UserId]) -> Result<Vec<Follow>> {
        let pairs: Vec<Binary> =
            others.iter().flat_map(|other| [pair(user, *other), pair(*other, user)]).collect();
        let follows = self.collection::<FollowRow>(COLLECTION);
        let find = follows.find(doc! { "_id": { "$in": pairs } }).max_time(SERVER_TIME);
        let rows: Vec<FollowRow> = bounded(bounded(find).await?.try_collect()).await?;
        Ok(rows.into_iter().map(Follow::from).collect())
    }
}

impl Tx {
    /// The edge from one user to another, as of this transaction's snapshot.
    pub(crate) async fn follow_fetch(
        &mut self,
        follower: UserId,
        followee: UserId,
    ) -> Result<Option<Follow>> {
        let (follows, session) = self.on::<FollowRow>(COLLECTION);
        let row = bounded(follows.find_one(by_pair(follower, followee)).session(session)).await?;
        Ok(row.map(Follow::from))
    }

    /// At most `limit` edges that begin or end at a user, as of this transaction's snapshot.
    pub(crate) async fn follow_list_some(&mut self, end: FollowEnd, limit: usize) -> Result<Vec<Follow>> {
        let (follows, session) = self.on::<FollowRow>(COLLECTION);
        let find = follows.find(at(end)).limit(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<FollowRow> = bounded(rows.stream(session).try_collect()).await?;
        Ok(rows.into_iter().map(Follow::from).collect())
    }

    /// How many edges begin at a user, up to `limit`, as of this transaction's snapshot. It reads as many keys of an index.
    pub(crate) async fn follow_count(&mut self, follower: UserId, limit: i64) -> Result<i64> {
        let (follows, session): (Collection<Document>, &mut ClientSession) = self.on(COLLECTION);
        let limit = u64::try_from(limit).unwrap_or_default();
        let count = follows.count_documents(at(FollowEnd::Follower(follower))).limit(limit);
        let count = bounded(count.session(session)).await?;
        Ok(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Inserts a new edge. When another call has made one between the two meanwhile, this comes to a conflict.
    pub(crate) fn follow_insert(&mut self, follow: &Follow) -> Result<()> {
        let row = bson::serialize_to_document(&FollowRow::from(follow)).map_err(Error::internal)?;
        self.insert(COLLECTION, row, Some(conflict));
        Ok(())
    }

    /// Deletes this edge, and no other between the two.
    pub(crate) fn follow_delete(&mut self, follow: &Follow) {
        let mut filter = by_pair(follow.follower, follow.followee);
        filter.insert("follow_id", bson::Uuid::from(follow.id.uuid()));
        self.delete(COLLECTION, filter);
    }
}

fn by_pair(follower: UserId, followee: UserId) -> Document {
    doc! { "_id": pair(follower, followee) }
}

fn at(end: FollowEnd) -> Document {
    let user = bson::Uuid::from(end.user().uuid());
    match end {
        FollowEnd::Follower(_) => doc! { "follower_id": user },
        FollowEnd::Followee(_) => doc! { "followee_id": user },
    }
}
