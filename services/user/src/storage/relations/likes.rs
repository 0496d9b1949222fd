//! Who likes which post.

use bson::{Binary, Document, doc};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use types::{LikeId, PostId, UserId};

use super::pair::pair;
use crate::domain::relation::Like;
use crate::error::{Error, Result};
use crate::storage::writes::conflict;
use crate::storage::{SERVER_TIME, Store, Tx, bounded, from_time, to_time};

const COLLECTION: &str = "like";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LikeRow {
    #[serde(rename = "_id")]
    pair: Binary,
    like_id: bson::Uuid,
    post_id: bson::Uuid,
    user_id: bson::Uuid,
    create_time: bson::DateTime,
}

impl From<&Like> for LikeRow {
    fn from(like: &Like) -> Self {
        Self {
            pair: pair(like.user, like.post),
            like_id: like.id.uuid().into(),
            post_id: like.post.uuid().into(),
            user_id: like.user.uuid().into(),
            create_time: from_time(like.create_time),
        }
    }
}

impl From<LikeRow> for Like {
    fn from(row: LikeRow) -> Self {
        Self {
            id: LikeId::from_uuid(row.like_id.into()),
            post: PostId::from_uuid(row.post_id.into()),
            user: UserId::from_uuid(row.user_id.into()),
            create_time: to_time(row.create_time),
        }
    }
}

impl Store {
    /// A user's likes of these posts, in any order.
    pub(crate) async fn like_list_between(&self, user: UserId, posts: &[PostId]) -> Result<Vec<Like>> {
        let pairs: Vec<Binary> = posts.iter().map(|post| pair(user, *post)).collect();
        let likes = self.collection::<LikeRow>(COLLECTION);
        let find = likes.find(doc! { "_id": { "$in": pairs } }).max_time(SERVER_TIME);
        let rows: Vec<LikeRow> = bounded(bounded(find).await?.try_collect()).await?;
        Ok(rows.into_iter().map(Like::from).collect())
    }
}

impl Tx {
    /// A user's like of a post, as of this transaction's snapshot.
    pub(crate) async fn like_fetch(&mut self, user: UserId, post: PostId) -> Result<Option<Like>> {
        let (likes, session) = self.on::<LikeRow>(COLLECTION);
        let row = bounded(likes.find_one(doc! { "_id": pair(user, post) }).session(session)).await?;
        Ok(row.map(Like::from))
    }

    /// At most `limit` likes by a user, as of this transaction's snapshot.
    pub(crate) async fn like_list_some_of_user(&mut self, user: UserId, limit: usize) -> Result<Vec<Like>> {
        self.like_list_some(doc! { "user_id": bson::Uuid::from(user.uuid()) }, limit).await
    }

    /// At most `limit` likes of a post, as of this transaction's snapshot.
    pub(crate) async fn like_list_some_of_post(&mut self, post: PostId, limit: usize) -> Result<Vec<Like>> {
        self.like_list_some(doc! { "post_id": bson::Uuid::from(post.uuid()) }, limit).await
    }

    async fn like_list_some(&mut self, filter: Document, limit: usize) -> Result<Vec<Like>> {
        let (likes, session) = self.on::<LikeRow>(COLLECTION);
        let find = likes.find(filter).limit(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<LikeRow> = bounded(rows.stream(session).try_collect()).await?;
        Ok(rows.into_iter().map(Like::from).collect())
    }

    /// Inserts a new like. When another call has made one of the post by the user meanwhile, this comes to a conflict.
    pub(crate) fn like_insert(&mut self, like: &Like) -> Result<()> {
        let row = bson::serialize_to_document(&LikeRow::from(like)).map_err(Error::internal)?;
        self.insert(COLLECTION, row, Some(conflict));
        Ok(())
    }

    /// Deletes this like, and no other of the post by the user.
    pub(crate) fn like_delete(&mut self, like: &Like) {
        let filter = doc! { "_id": pair(like.user, like.post), "like_id": bson::Uuid::from(like.id.uuid()) };
        self.delete(COLLECTION, filter);
    }
}
